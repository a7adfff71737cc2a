# What zsh offers at the end of each line of a file, as "LINE<tab>WORD": complete.zsh FOLDER FILE. A second zsh on a terminal of its own completes; its compadd tells what it is given.
zmodload zsh/zpty || exit 2
zpty -b child zsh -f -i
say() { zpty -w child "$1" }
# reads until the mark, which the commands themselves do not show, came once more
await() {
    local text= part
    repeat 500; do
        if zpty -r -t child part; then text+=$part; else sleep 0.02; fi
        [[ $text == *$1* ]] && return 0
    done
    print -u2 "no answer: $text"
    exit 2
}
say "LISTMAX=100000; PROMPT= RPROMPT=; stty -echo; unsetopt zle_bracketed_paste beep; fpath=(${(q)1} \$fpath)"
say 'autoload -Uz compinit && compinit -u -D'
say 'compadd() {
    local -a offered; local i
    if [[ ${@[1,(i)(-|--)]} == *-(O|A|D)\ * ]]; then builtin compadd "$@"; return; fi
    builtin compadd -O offered "$@"
    for i in "${offered[@]}"; do print -r -- "$i" >>$TOLD; done
    builtin compadd "$@"
}'
say 'tell() { zle complete-word; BUFFER=; print -r -- "all""told" }; zle -N tell; bindkey "^I" tell'
say "TOLD=${(q)PWD}/zsh.told; print -r -- rea''dy"
await ready
while IFS= read -r line; do
    : >zsh.told
    zpty -w -n child "$line"$'\t'
    await alltold
    while IFS= read -r word; do print -r -- "$line"$'\t'"$word"; done <zsh.told
done <$2
zpty -d child
