# Writes the manual pages of the library from the published headers, xonce.h first: awk -v dir=FOLDER -f manpages.awk HEADER...
# A comment '---- NAME(3): what it is ----' begins a page; the comment on top of a header that has none does too, and that of xonce.h makes xonce.h(3),
# which lists all functions.
# Each other comment belongs to the declarations right below it; before an empty line it introduces its page. Every name gets a page that sends to the one that describes it.

function fail(what) { print "manpages: " FILENAME ":" FNR ": " what >"/dev/stderr"; failed = 1; exit 1 }
function trim(s) { gsub(/[ \t]+/, " ", s); sub(/^ /, "", s); sub(/ $/, "", s); return s }

# ---- reading: pages, and their entries with text, prototypes, types and members

function page_begin(name, what) {
    gsub(/`/, "", what)
    page = name; pages[++page_count] = name; about[name] = what; include[name] = header; entry = 0
}
function entry_begin(text) {
    entry = ++entry_count; of_page[entry] = page; text_of[entry] = text; names_in[entry] = functions_in[entry] = notes_in[entry] = 0
}
function name_add(name, kind) {
    if (!entry) entry_begin("")
    name_of[entry, ++names_in[entry]] = name; kind_of[name] = kind; where[name] = page; names[++name_count] = name
    if (kind == "function") functions_in[entry]++
}
# A part of the entry's body: code, or what a comment says of a name or a member
function note(kind, head, text) { note_kind[entry, ++notes_in[entry]] = kind; note_head[entry, notes_in[entry]] = head; note_text[entry, notes_in[entry]] = text }
function prototype_add(code) { prototypes[page, ++prototype_count[page]] = code }

# Takes the comments out of a line of code: what they say is left in said, the rest returned
function code_of(line,    at, end) {
    said = ""
    while ((at = index(line, "/*")) > 0) {
        end = index(substr(line, at), "*/")
        if (!end) fail("a comment behind code must end on its line")
        said = said (said == "" ? "" : " ") trim(substr(line, at + 2, end - 3))
        line = substr(line, 1, at - 1) substr(line, at + end + 1)
    }
    return line
}
# The name that a declaration declares
function declared(code,    s) {
    s = code
    if (match(s, /^[^(]*\(\*[a-z_0-9]+\)/)) { sub(/^[^(]*\(\*/, "", s); sub(/\).*/, "", s); return s }
    sub(/\(.*/, "", s); sub(/;.*/, "", s); sub(/ = .*/, "", s)
    if (match(s, /[A-Za-z_0-9]+ *$/)) { s = substr(s, RSTART, RLENGTH); sub(/ +$/, "", s); return s }
    return ""
}
# A whole declaration without comments
function declaration(code,    s, name, i, n, part) {
    s = code
    gsub(/XONCE_API |XONCE_PRINTF_\([^)]*\)/, "", s)
    if (s ~ /^static inline/) { sub(/^static inline /, "", s); sub(/ *\{.*/, ";", s) }
    sub(/ +;$/, ";", s)
    if (s ~ /^(typedef )?(struct|enum) ?\{/) {
        if (s ~ /\} *[a-z_]+;$/) { name = s; sub(/;$/, "", name); sub(/.*\} */, "", name); name_add(name, "type") }
        if (s ~ /^(typedef )?enum/) {
            part = s; sub(/^[^{]*\{/, "", part); sub(/\}[^}]*$/, "", part); n = split(part, constant, ",")
            for (i = 1; i <= n; i++) {
                code_word = trim(constant[i]); sub(/ *=.*/, "", code_word); kind_of[code_word] = "constant"; where[code_word] = page
                if (s ~ /^enum/) name_add(code_word, "constant") # an enum without a name goes by its constants
            }
        }
    } else if (s ~ /^typedef struct/) { name_add(declared(s), "handle"); note("member", declared(s), said); said = ""; return }
    else if (s ~ /^typedef/) { name_add(declared(s), "callback"); prototype_add(trim(s)) }
    else { name = declared(s); if (name == "") fail("no name in: " s); name_add(name, "function"); prototype_add(trim(s)) }
    if (said != "" && name != "") note("member", name (kind_of[name] == "function" ? "()" : ""), said)
}
function depth_of(s,    t) { t = s; return gsub(/\{/, "", t) - gsub(/\}/, "", t) }

FNR == 1 { header = FILENAME; sub(/.*include\//, "", header); page = ""; hidden = 0; comment = code = "" }
# what is for C++ alone is not shown
hidden { if (/^#if/) hidden++; if (/^#endif/ || (hidden == 1 && /^#else/)) hidden--; next }
/^#ifdef __cplusplus/ { hidden = 1; next }
in_comment || (code == "" && /^ *\/\*/ && !/\*\/ *[^ ]/) || (code != "" && /^ +\/\*/) {
    line = $0
    if (!in_comment) { comment = ""; sub(/^ *\/\* ?/, "", line) } else sub(/^ +\* ?/, "", line)
    in_comment = line !~ /\*\/ *$/
    if (!in_comment && line ~ /^\/$/) line = "*/"
    sub(/ *\*\/ *$/, "", line)
    line = trim(line)
    comment = comment (comment == "" ? "" : line == "" || comment ~ /\n$/ ? "\n" : " ") line
    if (in_comment) next
    if (code != "") { above = comment; next }
    if (match(comment, /^---- [a-z_.]+\(3\): /)) {
        name = substr(comment, 6, RLENGTH - 10); what = substr(comment, RLENGTH + 1); sub(/ -+$/, "", what)
        page_begin(name, what)
    } else if (page == "") {
        name = header; sub(/.*\//, "", name); if (name != "xonce.h") { sub(/\.h$/, "", name); name = "xonce_" name }
        what = comment; sub(/\n.*/, "", what); sub(/^[^:]*: /, "", what); sub(/\. .*/, "", what); sub(/\.$/, "", what)
        page_begin(name, what); entry_begin(comment); entry = 0
    } else entry_begin(comment)
    next
}
/^$/ && code == "" { entry = 0; next }
/^#define/ && entry {
    line = $0; while (line ~ /\\$/) { sub(/ *\\$/, "", line); if ((getline rest) <= 0) break; line = line " " trim(rest) }
    name = line; sub(/^#define /, "", name); rest = name; sub(/[( ].*/, "", name)
    if (name ~ /_$/) next
    name_add(name, rest ~ /^[a-z_]+\(/ ? "function" : "constant")
    if (rest ~ /^[a-z_]+\(/) { sub(/\).*/, ")", rest); prototype_add(rest ";") } else note("code", "", line)
    next
}
/^#/ || /^}$/ || /^extern "C"/ || page == "" { while ($0 ~ /\\$/) if ((getline) <= 0) break; next }
{
    line = code_of($0); sub(/[ \t]+$/, "", line)
    if (code == "") { depth = members = 0; shown = above = "" }
    code = code (code == "" ? "" : " ") trim(line)
    shown = shown (shown == "" ? "" : "\n") line
    if (depth > 0 && (said != "" || above != "") && line !~ /^}/) {
        member[++members] = trim(line); member_text[members] = above (above != "" && said != "" ? " " : "") said
        above = said = ""
    } else if (depth > 0 && above != "") fail("a comment that belongs to no member")
    depth += depth_of(line)
    if (depth > 0 || (code !~ /;$/ && code !~ /\}$/)) next
    declaration(code)
    # a list of constants that are all explained needs no second list
    if (code ~ /^(typedef )?(struct|enum) ?\{/ && !(code ~ /enum ?\{/ && members && gsub(/,/, ",", code) == members - 1)) note("code", "", shown)
    for (i = 1; i <= members; i++) { sub(/( = [0-9]+)?[;,]?$/, "", member[i]); note("member", member[i], member_text[i]) }
    code = ""
}

# ---- writing

function esc(s) { gsub(/\\/, "\\e", s); gsub(/-/, "\\-", s); gsub(/\^/, "\\(ha", s); gsub(/~/, "\\(ti", s); gsub(/`/, "\\(ga", s); return s }
function put(line) { print (line ~ /^[.\047]/ ? "\\&" : "") line >out }
# The parameters named in a prototype: in[...]
function parameters(code,    n, i, part, name) {
    sub(/^[^(]*\(/, "", code)
    if (code ~ /^\*/) sub(/^[^)]*\)\(/, "", code)
    n = split(code, part, ",")
    for (i = 1; i <= n; i++) { sub(/[);]+$/, "", part[i]); name = declared(part[i]); if (name ~ /^[a-z_]+$/ && name != "void") given[name] = 1 }
}
# One word of a text: names are bold, parameters slanted where they cannot be taken for a word of the sentence
function word(w,    head, core, tail) {
    if (match(w, /xonce[a-z0-9_.-]*|XONCE_[A-Z0-9_]+/) && substr(w, 1, RSTART - 1) !~ /[a-zA-Z0-9_\/:]$/) {
        head = substr(w, 1, RSTART - 1); core = substr(w, RSTART, RLENGTH); tail = substr(w, RSTART + RLENGTH)
        while (core ~ /[.-]$/) { tail = substr(core, length(core)) tail; core = substr(core, 1, length(core) - 1) }
        if (core in where && where[core] != page) related[where[core]] = 1
        if (core ~ /^XONCE_E_/) if (!index(", " codes[core] ",", ", " subject ",")) codes[core] = codes[core] (codes[core] == "" ? "" : ", ") subject
        if (!(core in kind_of) && match(tail, /^\([0-9]\)/)) related[core substr(tail, 2, 1)] = 0
        if (core in kind_of || tail ~ /^\([0-9]\)/) return esc(head) "\\fB" esc(core) "\\fR" word(tail)
        return esc(head core) word(tail)
    }
    if (match(w, /[a-z_]+/)) {
        head = substr(w, 1, RSTART - 1); core = substr(w, RSTART, RLENGTH); tail = substr(w, RSTART + RLENGTH)
        alone = core in given && head !~ /[a-zA-Z0-9.\/$:"]$/ && tail !~ /^[.:=\/][a-zA-Z\/]|^["0-9A-Z]/
        if (alone && (core ~ /_/ || core !~ /[aeiou]/ || core ~ /^(arg|len|uri|tags|hooks)$/ || head ~ /\*$/ || tail ~ /^(\[|->)/))
            return esc(head) "\\fI" esc(core) "\\fR" esc(tail)
    }
    return esc(w)
}
# A text in lines of at most 80 columns; `...` is bold, a long URI may be broken
function text_put(text,    n, i, p, lines, words, line, w, bold, first) {
    lines = split(text, paragraph, "\n")
    for (p = first = 1; p <= lines; p++) {
        if (paragraph[p] == "") continue
        if (!first) print ".PP" >out
        first = 0
        n = split(paragraph[p], words, " "); line = ""; bold = 0
        for (i = 1; i <= n; i++) {
            w = words[i]
            if (w ~ /^[("]?`/) { bold = 1; sub(/`/, "", w) }
            if (bold) { bold = w !~ /`/; sub(/`/, "", w); w = "\\fB" esc(w) "\\fR" } else w = word(w)
            if (length(w) > 60) gsub(/[]&]/, "&\\:", w)
            if (line != "" && length(line) + length(w) >= 80) { put(line); line = w } else line = line (line == "" ? "" : " ") w
        }
        put(line)
    }
}
# Plain words in such lines
function lines_put(text,    n, i, words, line) {
    n = split(esc(text), words, " "); line = ""
    for (i = 1; i <= n; i++) if (line != "" && length(line) + length(words[i]) >= 80) { put(line); line = words[i] } else line = line (line == "" ? "" : " ") words[i]
    put(line)
}
# A prototype: broken behind commas, its parameters slanted
function prototype_put(code,    n, i, piece, line) {
    n = split(code, piece, ", "); line = ""
    for (i = 1; i <= n; i++) {
        if (line != "" && length(line) + length(piece[i]) > 74) { put(slanted(line) ","); line = "        " piece[i] } else line = line (line == "" ? "" : ", ") piece[i]
    }
    put(slanted(line))
}
function slanted(s,    done) {
    done = ""
    while (match(s, /[a-z_0-9]+[,)]|[a-z_0-9]+$/)) {
        code_word = substr(s, RSTART, RLENGTH); ending = ""
        if (code_word ~ /[,)]$/) { ending = substr(code_word, length(code_word)); code_word = substr(code_word, 1, length(code_word) - 1) }
        done = done "\\fB" esc(substr(s, 1, RSTART - 1)) "\\fR"
        done = done (code_word ~ /^(void|int|size_t)$/ || substr(s, RSTART - 2, 2) == "(*" ? "\\fB" code_word "\\fR" : "\\fI" code_word "\\fR")
        done = done "\\fB" ending "\\fR"
        s = substr(s, RSTART + RLENGTH)
    }
    done = done "\\fB" esc(s) "\\fR"
    while (sub(/\\fB\\fR/, "", done)) {}
    while (sub(/\\fR\\fB/, "", done)) {}
    return done
}
function entry_put(e,    i, n, heading, bare) {
    heading = ""
    for (i = 1; i <= names_in[e]; i++) {
        n = name_of[e, i]
        if (functions_in[e] && kind_of[n] != "function") continue
        if (kind_of[n] == "handle") { heading = "Handles"; continue }
        heading = heading (heading == "" ? "" : ", ") n (kind_of[n] == "function" ? "()" : "")
    }
    subject = heading
    if (heading != "") print ".SS " esc(heading) >out
    if (text_of[e] != "") text_put(text_of[e])
    for (i = 1; i <= notes_in[e]; i++) {
        if (note_kind[e, i] == "code") {
            if (text_of[e] != "" || i > 1) print ".PP" >out
            print ".nf" >out
            n = split(note_head[e, i] note_text[e, i], code_line, "\n")
            for (bare = 1; bare <= n; bare++) if (code_line[bare] != "") put(esc(code_line[bare]))
            print ".fi" >out
        } else { print ".TP" >out; put("\\fB" esc(note_head[e, i]) "\\fR"); text_put(note_text[e, i]) }
    }
}
function list_put(all,    n, i, item) {
    n = split(all, item, ",")
    for (i = 1; i <= n; i++) put("\\fB" esc(item[i]) "\\fR(" (item[i] in section ? section[item[i]] : 3) ")" (i < n ? "," : ""))
}
function page_put(name,    i, e, all, k, statuses, values) {
    page = name; out = dir "/" name ".3"; split("", related); split("", codes); split("", given); subject = ""
    for (i = 1; i <= prototype_count[name]; i++) {
        parameters(prototypes[name, i])
        if (prototypes[name, i] ~ /^xonce_status /) statuses = 1
        else if (prototypes[name, i] !~ /^(void [^*]|typedef)/) values = 1
    }
    print ".TH " toupper(name) " 3 \"\" \"xonce\" \"xonce\"\n.ad l\n.nh\n.\\\" made from " include[name] " by docs/manpages.awk\n.SH NAME" >out
    all = name
    for (i = 1; i <= name_count; i++) if (where[names[i]] == name && kind_of[names[i]] == "function" && names[i] != name) all = all ", " names[i]
    lines_put(all " - " about[name])
    print ".SH SYNOPSIS\n.nf\n\\fB#include <" include[name] ">\\fR" >out
    if (prototype_count[name]) print ".PP" >out
    for (i = 1; i <= prototype_count[name]; i++) prototype_put(prototypes[name, i])
    print ".fi\n.SH DESCRIPTION" >out
    for (e = 1; e <= entry_count; e++) if (of_page[e] == name) entry_put(e)
    if (name == "xonce.h") index_put()
    if (statuses && name != "xonce_errors") {
        print ".SH RETURN VALUE" >out
        subject = ""
        text_put("A function that returns a xonce_status returns XONCE_OK when all went well. Any other value says what kind of failure it was, and " \
            "xonce_error_last() tells more of it in this thread." (values ? " What the others return is said above." : ""))
        errors_put()
    }
    print ".SH SEE ALSO" >out
    related["libxonce3"] = 0; related["xonce.h"] = 1; delete related[name]
    all = ""
    for (i = 1; i <= page_count; i++) if (related[pages[i]] == 1 && pages[i] != name) all = all (all == "" ? "" : ",") pages[i]
    for (k in related) if (related[k] == 0 && k ~ /[0-9]$/) {
        e = substr(k, 1, length(k) - 1)
        if (e != name && !(e in about)) { section[e] = substr(k, length(k)); others[e] = 1 }
    }
    list_put(sorted(all))
    close(out)
}
# Sorts the related pages, with the others of this page, by insertion
function sorted(all,    k, n, i, j, item) {
    for (k in others) { all = all (all == "" ? "" : ",") k; delete others[k] }
    n = split(all, item, ",")
    for (i = 2; i <= n; i++) { k = item[i]; for (j = i - 1; j > 0 && item[j] > k; j--) item[j + 1] = item[j]; item[j + 1] = k }
    all = ""
    for (i = 1; i <= n; i++) all = all (i > 1 ? "," : "") item[i]
    return all
}
# The errors that a page's text names, with what they mean, in the order of their numbers
function errors_put(    e, i, code, begun) {
    for (e = 1; e <= entry_count; e++) for (i = 1; i <= notes_in[e]; i++) {
        code = note_head[e, i]
        if (name_of[e, 1] != "xonce_status" || !(code in codes)) continue
        if (!begun++) print ".SH ERRORS\nThose named above; each call may meet others too." >out
        print ".TP\n\\fB" esc(code) "\\fR" >out
        text_put(note_text[e, i] " (" codes[code] ")")
    }
}
# All functions by page
function index_put(    i, j) {
    print ".SH FUNCTIONS" >out
    for (i = 1; i <= page_count; i++) {
        if (!prototype_count[pages[i]]) continue
        print ".SS " esc(pages[i]) "(3): " esc(about[pages[i]]) "\n.nf" >out
        related[pages[i]] = 1
        for (j = 1; j <= prototype_count[pages[i]]; j++) prototype_put(prototypes[pages[i], j])
        print ".fi" >out
    }
}
END {
    if (failed) exit 1
    if (in_comment || code != "") { print "manpages: the last header ends in the middle" >"/dev/stderr"; exit 1 }
    for (i = 1; i <= page_count; i++) page_put(pages[i])
    for (i = 1; i <= name_count; i++) {
        if (names[i] in about) continue
        print ".so man3/" where[names[i]] ".3" >(dir "/" names[i] ".3")
        close(dir "/" names[i] ".3")
    }
}
