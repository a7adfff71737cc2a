#!/bin/sh
# Prints the completions of a shell for the program, from what its --help says, which comes from the tables of options: completions.sh XONCE XONCE.CONF bash|zsh|fish
set -eu
LC_ALL=C
export LC_ALL
xonce=${1:?} conf=${2:?} shell=${3:?}

# What there is to complete, in lines of fields separated by tabs:
#   command NAME SUMMARY    sub COMMAND WORDS    file COMMAND    option COMMAND NAME VALUE KIND WORDS AGAIN TEXT    setting KEY WORDS
# KIND is switch, file, words, uri (WORDS are how it may begin), setting or text; an empty field is "-".
facts() {
    "$xonce" --help | awk -v OFS='\t' '/^commands:$/ { on = 1; next } on && /^$/ { exit } on { name = $1; sub(/^ *[^ ]+ +/, ""); print "command", name, $0 }' >"$work/commands"
    cat "$work/commands"
    while read -r _ command _; do
        "$xonce" "$command" --help >"$work/help" || { echo "completions.sh: xonce $command --help failed" >&2; exit 1; }
        awk -v OFS='\t' -v command="$command" '
            function words(text, re,    out) {
                out = ""
                while (match(text, re)) {
                    out = out (out == "" ? "" : " ") substr(text, RSTART, RLENGTH)
                    text = substr(text, RSTART + RLENGTH)
                }
                return out
            }
            function put(    kind, list, again) {
                if (name == "") return
                again = text ~ /again and again|repeatable/ ? "again" : "-"
                list = "-"
                kind = "text"
                if (value == "-") kind = "switch"
                else if (value ~ /^(FILE|DIR|PROGRAM|PATH)$/) kind = "file"
                else if (value == "KEY=VALUE") kind = "setting"
                else if (value ~ /^[a-z0-9-]+(\|[a-z0-9-]+)+$/) { kind = "words"; list = value; gsub(/\|/, " ", list) }
                else if (value == "URI" && (list = words(text, "(sqlite:|[a-z]+://)")) != "") kind = "uri"
                if (list == "") list = "-"
                print "option", command, name, value, kind, list, again, text
                name = ""
            }
            /^usage: / {
                if ($4 ~ /^[a-z]+(\|[a-z]+)+$/) { list = $4; gsub(/\|/, " ", list); print "sub", command, list }
                for (i = 4; i <= NF; i++) if ($i ~ /^\[?FILE(\.[a-z]+)?(\.\.\.)?\]?(\.\.\.)?$/ && $(i - 1) !~ /--/) { print "file", command; break }
            }
            /^options:$/ { on = 1; next }
            on && /^$/ { exit }
            on && /^  --/ {
                put()
                line = substr($0, 5)
                text = ""
                if (match(line, /  +/)) { text = substr(line, RSTART + RLENGTH); line = substr(line, 1, RSTART - 1) }
                name = line; value = "-"
                if (i = index(line, " ")) { name = substr(line, 1, i - 1); value = substr(line, i + 1) }
                next
            }
            on { sub(/^ +/, ""); text = text (text == "" ? "" : " ") $0 }
            END { put(); print "option", command, "help", "-", "switch", "-", "-", "tell the options, with an example" }' "$work/help"
    done <"$work/commands"
    awk -v OFS='\t' '
        /^# one of / { list = $4; gsub(/\|/, " ", list); next }
        /^#[a-z][A-Za-z0-9.-]* =/ { print "setting", substr($1, 2), list == "" ? "-" : list; list = "" }' "$conf"
}

bash_completions() {
    awk -F '\t' '
        $1 == "command" { commands = commands " " $2 }
        $1 == "sub" { subs[$2] = $3 }
        $1 == "file" { files = files (files == "" ? "" : " | ") $2 }
        $1 == "option" {
            if (!($2 in options)) order[++n] = $2
            options[$2] = options[$2] " --" $3
            if ($5 == "file") file = file (file == "" ? "" : " | ") $2 "--" $3
            else if ($5 == "setting") setting = setting (setting == "" ? "" : " | ") $2 "--" $3
            else if ($5 == "words" || $5 == "uri") values = values "    " $2 "--" $3 ") set -- " $6 " ;;\n"
            else if ($5 == "text") any = any (any == "" ? "" : " | ") $2 "--" $3
        }
        $1 == "setting" { settings = settings " " $2 "="; k = split($3, w, " "); for (i = 1; i <= k && $3 != "-"; i++) settings = settings " " $2 "=" w[i] }
        function either(list) { return list == "" ? "none" : list }
        END {
            print "# bash completion for xonce; made from its --help"
            print "_xonce_files() { local IFS=$\047\\n\047; COMPREPLY=($(compgen -P \"$2\" -f -- \"$1\")); compopt -o filenames 2>/dev/null; }"
            print "_xonce() {"
            print "    local line=${COMP_LINE:0:COMP_POINT} words=() word gap i command prev cur"
            print "    # the words as typed: bash parts them at : and = too"
            print "    for ((i = 0; i <= COMP_CWORD; i++)); do"
            print "        word=${COMP_WORDS[i]} gap=$line"
            print "        [ -z \"$word\" ] || gap=${line%%\"$word\"*}"
            print "        if [ -z \"$gap\" ] && [ \"$i\" -gt 0 ]; then words[${#words[@]} - 1]+=$word; else words+=(\"$word\"); fi"
            print "        line=${line#\"$gap\"} line=${line#\"$word\"}"
            print "    done"
            print "    i=$((${#words[@]} - 1)) command=${words[1]:-} cur=${words[i]} COMPREPLY=()"
            print "    prev=${words[i - 1]}"
            print "    if [ \"$i\" -le 1 ]; then"
            print "        case $cur in -*) set -- --help --version ;; *) set -- help" commands " ;; esac"
            print "        COMPREPLY=($(compgen -W \"$*\" -- \"$cur\"))"
            print "        return"
            print "    fi"
            print "    if [ \"$command\" = help ]; then"
            print "        [ \"$i\" -ne 2 ] || COMPREPLY=($(compgen -W \"" substr(commands, 2) "\" -- \"$cur\"))"
            print "        return"
            print "    fi"
            print "    local start=  # what stands in front of a value: --option="
            print "    case $cur in --*=*) prev=${cur%%=*} start=$prev= cur=${cur#*=} ;; esac"
            print "    set --"
            print "    case $command$prev in"
            print "    " either(file) ") _xonce_files \"$cur\" ;;"
            print "    " either(setting) ") set -- " substr(settings, 2) " ;;"
            printf "%s", values
            print "    " either(any) ") ;;"
            print "    *)"
            print "        start="
            print "        case $command:$i:${cur:0:1} in"
            for (c in subs) print "        " c ":2:[!-]* | " c ":2:) set -- " subs[c] " ;;"
            print "        *) case $cur in"
            print "            -*) case $command in"
            for (i = 1; i <= n; i++) print "                " order[i] ") set --" options[order[i]] " ;;"
            print "                esac ;;"
            print "            *) case $command in " either(files) ") _xonce_files \"$cur\" ;; esac ;;"
            print "            esac ;;"
            print "        esac ;;"
            print "    esac"
            print "    case \" $* \" in"
            print "    *\" sqlite: \"*) case $cur in sqlite:*) _xonce_files \"${cur#sqlite:}\" sqlite:; set -- ;; esac ;;"
            print "    esac"
            print "    [ $# -eq 0 ] || COMPREPLY=($(compgen -W \"$*\" -- \"$cur\"))"
            print "    case \"${#COMPREPLY[@]}${COMPREPLY[0]-}\" in 1*[:=/]) compopt -o nospace 2>/dev/null ;; esac"
            print "    # bash replaces only what stands behind the last : or ="
            print "    local typed=$start$cur part="
            print "    case $typed in *[:=]*) part=${typed%\"${typed##*[:=]}\"} ;; esac"
            print "    for i in \"${!COMPREPLY[@]}\"; do word=$start${COMPREPLY[i]} COMPREPLY[i]=${word#\"$part\"}; done"
            print "}"
            print "complete -F _xonce xonce"
        }' "$work/facts"
}

zsh_completions() {
    awk -F '\t' '
        function quoted(s) { gsub(/\047/, "\047\\\047\047", s); return "\047" s "\047" }
        function plain(s) { gsub(/[\\:\[\]]/, "\\\\&", s); return s }
        $1 == "command" { commands = commands "        " quoted(plain($2) ":" $3) "\n"; names = names " " $2 }
        $1 == "sub" { subs[$2] = $3 }
        $1 == "file" { files[$2] = 1 }
        $1 == "option" {
            if (!($2 in options)) order[++n] = $2
            spec = ($7 == "again" ? "*" : "") "--" $3
            if ($5 != "switch") spec = spec "="
            spec = spec "[" plain($8) "]"
            if ($5 != "switch") spec = spec ":" plain($4) ":"
            if ($5 == "file") spec = spec "_files"
            if ($5 == "words") spec = spec "(" $6 ")"
            if ($5 == "uri") { spec = spec " _xonce_uri " $6; gsub(/:\/\//, "\\://", spec); sub(/sqlite:/, "sqlite\\:", spec) }
            if ($5 == "setting") spec = spec " _xonce_settings"
            options[$2] = options[$2] " \\\n            " quoted(spec)
        }
        $1 == "setting" { settings = settings " " $2 "="; k = split($3, w, " "); for (i = 1; i <= k && $3 != "-"; i++) settings = settings " " $2 "=" w[i] }
        END {
            print "#compdef xonce"
            print "# zsh completion for xonce; made from its --help"
            print "_xonce_settings() { compadd -S \"\" --" settings " }"
            print "_xonce_uri() {"
            print "    if compset -P \"sqlite:\"; then _files; else compadd -S \"\" -- \"${@//\\\\/}\"; fi"
            print "}"
            print "_xonce() {"
            print "    local curcontext=$curcontext context state state_descr line"
            print "    local -A opt_args"
            print "    local -a commands=("
            printf "%s", commands
            print "        \047help:tell the options of a command\047"
            print "    )"
            print "    _arguments -C \047--help[list the commands]\047 \047--version[tell the version]\047 \0471:command:->command\047 \047*::argument:->rest\047"
            print "    case $state in"
            print "    command) _describe -t commands command commands ;;"
            print "    rest)"
            print "        curcontext=${curcontext%:*:*}:xonce-$words[1]:"
            print "        case $words[1] in"
            print "        help) _arguments \0471:command:(" substr(names, 2) ")\047 ;;"
            for (i = 1; i <= n; i++) {
                c = order[i]
                rest = (c in subs) ? quoted("1:what:(" subs[c] ")") : (c in files) ? quoted("*:file:_files") : quoted("*:argument: ")
                print "        " c ")\n            _arguments" options[c] " \\\n            " rest " ;;"
            }
            print "        esac ;;"
            print "    esac"
            print "}"
            print "_xonce \"$@\""
        }' "$work/facts"
}

fish_completions() {
    awk -F '\t' '
        function quoted(s) { gsub(/[\\\047]/, "\\\\&", s); return "\047" s "\047" }
        BEGIN {
            print "# fish completion for xonce; made from its --help"
            print "function __xonce_command"
            print "    set -l words (commandline -opc)"
            print "    test (count $words) -gt 1; and test \"$words[2]\" = \"$argv[1]\""
            print "end"
            print "function __xonce_first"
            print "    test (count (commandline -opc)) -eq $argv[1]"
            print "end"
            print "complete -c xonce -f"
            print "complete -c xonce -n \047__xonce_first 1\047 -l help -d \047list the commands\047"
            print "complete -c xonce -n \047__xonce_first 1\047 -l version -d \047tell the version\047"
            print "complete -c xonce -n \047__xonce_first 1\047 -a help -d \047tell the options of a command\047"
        }
        $1 == "command" {
            print "complete -c xonce -n \047__xonce_first 1\047 -a " $2 " -d " quoted($3)
            print "complete -c xonce -n \047__xonce_command help; and __xonce_first 2\047 -a " $2 " -d " quoted($3)
        }
        $1 == "sub" { print "complete -c xonce -n \047__xonce_command " $2 "; and __xonce_first 2\047 -a " quoted($3) }
        $1 == "file" { print "complete -c xonce -n \047__xonce_command " $2 "\047 -F" }
        $1 == "option" {
            line = "complete -c xonce -n \047__xonce_command " $2 "\047 -l " $3
            if ($5 == "file") line = line " -r -F"
            else if ($5 == "words" || $5 == "uri") line = line " -x -a " quoted($6)
            else if ($5 == "setting") { settings[++n] = line " -d " quoted($8) " -x -a "; next }
            else if ($5 == "text") line = line " -x"
            print line " -d " quoted($8)
        }
        $1 == "setting" { keys = keys " " $2 "="; k = split($3, w, " "); for (i = 1; i <= k && $3 != "-"; i++) keys = keys " " $2 "=" w[i] }
        END { for (i = 1; i <= n; i++) print settings[i] quoted(substr(keys, 2)) }' "$work/facts"
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
facts >"$work/facts"
case $shell in
    bash) bash_completions ;;
    zsh) zsh_completions ;;
    fish) fish_completions ;;
    *) echo "completions.sh: bash, zsh or fish, not $shell" >&2; exit 2 ;;
esac
