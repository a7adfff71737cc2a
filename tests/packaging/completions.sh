# The completions offer every command and every option that --help has, in each of the three shells, asked as a user would by the tab key.
. "${TOP_SRCDIR:?}/tests/lib/tap.sh"
made=$TOP_BUILDDIR/packaging/completions
cd "$T" || exit 1
mkdir folder && touch folder/consumer.conf shop.db

"$XONCE" --help | awk '/^commands:$/ { on = 1; next } on && /^$/ { exit } on { print $1 }' >commands
for command in $(cat commands); do
    { echo --help; "$XONCE" "$command" --help | awk '/^options:$/ { on = 1; next } on && /^$/ { exit } on && /^  --/ { print $1 }'; } | sort >"options.$command"
done
settings=$(grep -cE '^#[a-z][A-Za-z0-9.-]* =' "$TOP_SRCDIR/docs/xonce.conf")

# every SHELL: its function ask SHELL LINE prints what is offered at the end of LINE, one a line
every() {
    local shell=$1 command wrong=""
    is "$(ask "$shell" 'xonce ' | grep -v '^help$' | sort)" "$(sort commands)" "$shell: every command"
    is "$(ask "$shell" 'xonce conv' | head -n 1)$(ask "$shell" 'xonce cons')" "$(grep '^conv' commands)consume" "$shell: a command that is begun"
    for command in $(cat commands); do
        [ "$(ask "$shell" "xonce $command --" | sort)" = "$(cat "options.$command")" ] || wrong+=" $command: $(ask "$shell" "xonce $command --" | sort | diff - "options.$command" | tr '\n' ' ')"
    done
    is "$wrong" "" "$shell: every option of every command ($(cat options.* | wc -l))"
    is "$(ask "$shell" 'xonce init --store ' | sort | tr '\n' ' ')" "mysql:// postgresql:// sqlite: " "$shell: how a store's URI may begin"
    is "$(ask "$shell" 'xonce topic ' | sort | tr '\n' ' ')" "create stats " "$shell: what a command may do"
    like "$(ask "$shell" 'xonce consume --config fol')" '^folder/?$' "$shell: a file"
    is "$(ask "$shell" 'xonce consume --set ' | grep -c '=$')" "$settings" "$shell: every key of the configuration"
    is "$(ask "$shell" 'xonce consume --set claim=' | sort | tr '\n' ' ')" "claim= claim=offset claim=record " "$shell: what a key may be"
}

ask_bash() {
    env -i PATH="$PATH" bash --norc --noprofile -c '
        . "$1"
        COMP_LINE=$2 COMP_POINT=${#2} rest=$2 COMP_WORDS=()
        # parts the line as bash does: at blanks, and at : and = that are words of their own
        while [ -n "$rest" ]; do
            case $rest in
            " "*) rest=${rest#" "} ;;
            [:=]*) word=${rest%%[!:=]*} COMP_WORDS+=("$word") rest=${rest#"$word"} ;;
            *) word=${rest%%[ :=]*} COMP_WORDS+=("$word") rest=${rest#"$word"} ;;
            esac
        done
        case $2 in *[" :="]) COMP_WORDS+=("") ;; esac
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        _xonce
        # what readline keeps in front of it
        part=${2##* }
        case $part in *[:=]*) part=${part%"${part##*[:=]}"} ;; *) part= ;; esac
        for word in "${COMPREPLY[@]}"; do printf "%s%s\n" "$part" "$word"; done' bash "$made/xonce" "$1" 2>&1
}
ask_fish() { HOME=$T XDG_CONFIG_HOME=$T XDG_DATA_HOME=$T fish --no-config -c 'source $argv[1]; complete -C"$argv[2]"' "$made/xonce.fish" "$1" 2>&1 | cut -f 1; }
# one zsh answers every line that is asked for, as it takes long to start
ask_zsh() {
    [ -e zsh.answers ] || {
        printf '%s\n' 'xonce ' 'xonce conv' 'xonce cons' 'xonce init --store ' 'xonce topic ' 'xonce consume --config fol' 'xonce consume --set ' 'xonce consume --set claim='
        sed 's/.*/xonce & --/' commands
    } >zsh.lines
    [ -e zsh.answers ] || env -i PATH="$PATH" HOME="$T" TERM=dumb zsh -f "$TOP_SRCDIR/tests/packaging/complete.zsh" "$made" zsh.lines >zsh.answers 2>&1
    awk -F '\t' -v line="$1" '$1 == line { print $2 } !/\t/' zsh.answers
}
ask() { "ask_$1" "$2"; }

every bash
is "$(ask bash 'xonce init --store sqlite:sh')" "sqlite:shop.db" "bash: the file of a SQLite store"
is "$(ask bash 'xonce init --store=sqlite:sh')" "--store=sqlite:shop.db" "bash: and behind an equals sign"
is "$(ask bash 'xonce init --store=postg')" "--store=postgresql://" "bash: a value behind an equals sign"
is "$(ask bash 'xonce consume --sql ')" "" "bash: nothing where it knows nothing"
for shell in fish zsh; do
    if command -v "$shell" >/dev/null; then every "$shell"; else skip "$shell is missing (package $shell)" "$shell"; fi
done
done_testing
