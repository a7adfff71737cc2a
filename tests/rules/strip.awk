# Prints "FILE:LINE:code" for C sources, with comments gone and the insides of strings and character constants blanked; include lines stay as they are.
function flush_line() { printf "%s:%d:%s\n", FILENAME, FNR, out }
FNR == 1 { state = 0 }
{
    out = ""
    if (state == 0 && $0 ~ /^[ \t]*#[ \t]*include/) { out = $0; flush_line(); next }
    n = length($0)
    for (i = 1; i <= n; i++) {
        c = substr($0, i, 1)
        two = substr($0, i, 2)
        if (state == 1) { if (two == "*/") { state = 0; i++ } }
        else if (state == 2 || state == 3) {
            if (c == "\\") i++
            else if (c == (state == 2 ? "\"" : "'")) { state = 0; out = out c }
        }
        else if (two == "/*") { state = 1; i++; out = out " " }
        else if (two == "//") { out = out "//"; i = n }
        else if (c == "\"") { state = 2; out = out c }
        else if (c == "'") { state = 3; out = out c }
        else out = out c
    }
    if (state > 1) state = 0 # a string goes on after a backslash at the line's end only
    flush_line()
}
