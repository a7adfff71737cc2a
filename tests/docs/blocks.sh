# The commands that a page shows, sourced by bash after tap.sh: taken out, run in the order in which they stand there, compared with what the page says they print.
#
# A block ```sh is run, ```sh postgres with a PostgreSQL server too; ```sh build and ```sh packages change the machine: newcomer.sh alone runs them.
# ```c NAME is a file of that name, and each line of a ```text block must be in the output of the block before it.

# blocks_split PAGE FOLDER: its blocks as files 01, 02..., with what stands behind their fences in 01.kind and the heading above them in 01.section
blocks_split() {
    awk -v dir="$2" '
        /^```/ && !inside { inside = 1; n++; file = sprintf("%s/%02d", dir, n); print substr($0, 4) >(file ".kind"); print section >(file ".section"); printf "" >file; next }
        /^```/ { inside = 0; close(file); next }
        inside { print >file }
        !inside && /^##? / { section = $0; sub(/^#+ /, "", section) }
        END { exit inside }' "$1"
}
# blocks_run FOLDER WORK PORT SECONDS KIND...: runs the blocks of these kinds in one shell in the folder WORK, the endpoint on PORT, each with its output in N.out;
# N.began has the time of its begin, and N.ok that of its end when all its commands have ended well
blocks_run() {
    local dir=$1 work=$2 port=$3 seconds=$4 block kind
    shift 4
    sed -i "s/127\.0\.0\.1:8080/127.0.0.1:$port/g" "$dir"/[0-9][0-9]
    {
        echo "set -e; cd '$work'; trap 'kill \$(jobs -p) 2>/dev/null || :' EXIT"
        for block in "$dir"/[0-9][0-9]; do
            kind=$(cat "$block.kind")
            case $kind in 'c '*) echo "cp '$block' './${kind#c }'" ;; esac
            blocks_has "$kind" "$@" || continue
            printf 'exec >"%s.out" 2>&1\nprintf %%s "$EPOCHREALTIME" >"%s.began"\n' "$block" "$block"
            # what a reader types slowly enough for: the endpoint listens
            sed "/^xonce serve .*&\$/a for i in \$(seq 400); do (exec 3<>/dev/tcp/127.0.0.1/$port) 2>/dev/null && break; read -rt 0.05 <> <(:) || :; done" "$block"
            printf 'printf %%s "$EPOCHREALTIME" >"%s.ok"\n' "$block"
        done
    } >"$dir/all"
    timeout "$seconds" "$BASH" "$dir/all" </dev/null >"$dir/end" 2>&1
}
# blocks_judge NAME FOLDER KIND...: one result for each block of these kinds and for each line that is to be printed; their number in $BLOCKS
blocks_judge() {
    local name=$1 dir=$2 block kind line last=''
    BLOCKS=0
    shift 2
    for block in "$dir"/[0-9][0-9]; do
        kind=$(cat "$block.kind")
        if blocks_has "$kind" "$@"; then
            BLOCKS=$((BLOCKS + 1))
            last=$block
            if [ -e "$block.ok" ]; then ok "$name: $(head -n 1 "$block")"; else not_ok "$name: $(head -n 1 "$block")" "$(cat "$block"; echo; tail -n 20 "$block.out")"; fi
            continue
        fi
        case $kind in
            text)
                [ -z "$last" ] || while IFS= read -r line; do
                    if blocks_printed "$line" "$last"; then ok "$name: it prints $line"; else not_ok "$name: it prints $line" "$(tail -n 20 "$last.out" 2>&1)"; fi
                done <"$block"
                ;;
            'sh '*) last= ;;
            c | 'c '* | cmake | ini) ;;
            *) not_ok "$name: a block of a kind that nobody tests: $kind" ;;
        esac
    done
}
# The figures of a build and of the demo differ from run to run: of these the words are compared.
blocks_printed() {
    case $(cat "$2.kind") in
        sh | 'sh postgres') grep -qF -- "$1" "$2.out" 2>/dev/null ;;
        *) tr -d '0-9. ' <"$2.out" | grep -qF -- "$(printf %s "$1" | tr -d '0-9. ')" ;;
    esac
}
blocks_has() {
    local kind=$1 one
    shift
    for one; do [ "$one" != "$kind" ] || return 0; done
    return 1
}
