#!/usr/bin/env bash
# The pages in a real browser (headless Chromium): what they show of an endpoint and of a consumer, also when its database is dead; text from messages
# stays text; structure for keyboards and screen readers. The judge is the document as the browser has it after the page's script ran.
. "${TOP_SRCDIR:?}/tests/lib/tap.sh"
for tool in chromium:chromium curl:curl xmllint:libxml2-utils; do
    command -v "${tool%%:*}" >/dev/null || skip_all "the pages need the Debian package ${tool#*:}"
done
[ -z "$(servers_missing postgres)" ] || skip_all "the consumer's page needs the Debian package $(servers_missing postgres)"
[ -n "${XONCE_TEST_POSTGRES_URI:-}" ] && [ -n "${XONCE_SERVERS_DIR:-}" ] || { rm -rf "$T"; exec "$BASH" "$TOP_SRCDIR/tests/lib/with-servers.sh" --only postgres "$BASH" "$0"; }
export ALIBABA_CLOUD_ACCESS_KEY_ID=key ALIBABA_CLOUD_ACCESS_KEY_SECRET=secret
unset ALIBABA_CLOUD_SECURITY_TOKEN

# browse NAME URL [OPTION]...: the document after three seconds of the page's own time in $T/NAME.html, what it complains about in $T/NAME.log
browse() {
    timeout -k 5 90 chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --disable-extensions --disable-background-networking \
        --user-data-dir="$T/profile" --enable-logging=stderr --virtual-time-budget=3000 "${@:3}" --dump-dom "$2" >"$T/$1.html" 2>"$T/$1.log" </dev/null
    is "$(grep -E 'CONSOLE' "$T/$1.log")" "" "$1: the browser has nothing to complain about"
}
# The same as a picture, for people, when XONCE_SCREENSHOTS names a folder: picture NAME URL WIDTH HEIGHT [OPTION]...
picture() {
    [ -n "${XONCE_SCREENSHOTS:-}" ] || return 0
    timeout -k 5 90 chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --user-data-dir="$T/profile" --hide-scrollbars \
        --virtual-time-budget=3000 --screenshot="$XONCE_SCREENSHOTS/$1.png" --window-size="$3,$4" "${@:5}" "$2" >/dev/null 2>&1 </dev/null
}
# fits NAME PAGE DATA [MESSAGES]: on a screen of 320 pixels nothing but tables scrolls sideways. A copy of the page gets its data from files.
fits() {
    local data
    data=$(printf '{"status": %s, "messages": %s}' "$(curl -s "$3")" "$(if [ -n "${4:-}" ]; then curl -s "$4"; else echo null; fi)" | sed 's/</\\u003c/g')
    echo "<script>const GIVEN = $data; window.fetch = async a => ({ok: true, json: async () => GIVEN[a.split('.')[0]]});</script>" >"$T/given"
    curl -s "$2" | awk -v given="$T/given" '$0 == "<script>" { while ((getline line <given) > 0) print line } { print }' >"$T/narrow.html"
    echo '<iframe src="narrow.html" width="320" height="900"></iframe><p id="wide"></p><script>setTimeout(() => { const d = frames[0].document.documentElement;
        document.getElementById("wide").textContent = (d.scrollWidth <= d.clientWidth) + " " + frames[0].document.querySelectorAll("tbody tr").length; }, 2000)</script>' >"$T/outer.html"
    browse "$1-narrow" "file://$T/outer.html" --allow-file-access-from-files
    like "$(at "$1-narrow" 'string(//*[@id="wide"])')" '^true [1-9]' "$1: fits a phone"
}
# at NAME XPATH: its value in that document
at() { xmllint --html --nowarning --recover --xpath "$2" "$T/$1.html" 2>/dev/null; }
cell() { at "$1" "normalize-space(//table[@id='$2']/tbody/tr[$3]/*[$4])"; }
tile() { at "$1" "normalize-space(//dl[@id='$2']/div[dt='$3']/dd[1])"; }
# What a screen reader and a keyboard need, counted.
usable() {
    is "$(at "$1" "string(/html/@lang)") $(at "$1" 'count(//h1)') $(at "$1" 'count(//main)')" "en 1 1" "$1: a language, one first heading, one main part"
    is "$(at "$1" 'count(//table[not(caption)]) + count(//thead//th[not(@scope="col")]) + count(//tbody/tr[not(th[@scope="row"]) and count(td) > 1])')" 0 \
        "$1: tables have captions, columns and rows have headers"
    is "$(at "$1" 'count(//table[not(ancestor::*[@role="region" and @tabindex="0" and @aria-labelledby])])')" 0 "$1: what scrolls can be reached by keyboard and has a name"
    is "$(at "$1" 'count(//*[local-name()="svg"][not(@role="img") or string-length(@aria-label) < 10])')" 0 "$1: charts have words"
    is "$(at "$1" 'count(//*[local-name()="svg"]) > 2')" true "$1: there are charts"
    is "$(at "$1" 'count(//select[not(@id = //label/@for)]) + count(//input[not(ancestor::label)]) + count(//button[normalize-space()=""])')" 0 "$1: controls have labels"
    is "$(at "$1" '//@id' | tr ' ' '\n' | grep . | sort | uniq -d)" "" "$1: no id stands twice"
    is "$(at "$1" 'count(//h3[not(preceding::h2)]) + count(//h2[not(preceding::h1)]) + count(//h4)')" 0 "$1: headings go down step by step"
    is "$(at "$1" 'count(//*[@role="status" or @aria-live]) < 4')" true "$1: it speaks up sparingly"
    is "$(at "$1" 'count(//@style) + count(//script[@src]) + count(//link[not(starts-with(@href, "data:"))]) + count(//img) + count(//iframe)')" 0 "$1: it asks nobody else"
}

# ---- serve
start_serve serve --data "$T/queues" --no-auth --duplicate 100% --redeliver 10m || bail "no endpoint"
printf '%s\n' '<script>document.title="owned"</script><b>bold</b> & "x"' second third >"$T/lines"
check "messages are sent" "$XONCE" send --to "$SERVE_URL" --topic orders --tag '<i>tag' "$T/lines"
for _ in 1 2; do curl -s "$SERVE_URL/topics/orders/messages?consumer=GID_x&numOfMessages=2" >"$T/taken"; done
is "$(grep -c '<ConsumedTimes>2<' "$T/taken")" 2 "two are in flight, each handed out twice"
page=$(sed -n 's/^page at //p' "$T/serve.out")
is "$page" "$SERVE_URL/xonce/" "serve tells the page's address"
check "some seconds have passed" wait_for 20 eval 'curl -s "${page}status.json" | grep -qE "\"accepted\":\[[0-9]"'
browse serve "$page"
picture serve "$page" 1000 1900
usable serve
fits serve "$page" "${page}status.json" "${page}messages.json?topic=orders"
is "$(at serve "string(//*[@id='state'])")" running "serve: it runs"
like "$(at serve "string(//*[@id='chart-in']/figcaption)")" 'accepted: [^,]*, highest 0\.[246]0/s' "serve: the chart begins before the page was opened"
is "$(tile serve tiles accepted) $(tile serve tiles 'handed out') $(tile serve tiles duplicates)" "3 4 2" "serve: what was sent, handed out, handed out twice"
is "$(cell serve faults 1 1)|$(cell serve faults 1 2)|$(cell serve faults 1 3)" "a message handed to two polls|100 %|2" "serve: the fault on order and how often it happened"
is "$(cell serve groups 1 1) $(cell serve groups 1 6) $(cell serve groups 1 7) $(cell serve groups 1 8)" "orders GID_x 3 2" "serve: topic, group, not done, in flight"
is "$(at serve "sum(//table[@id='queues']/tbody/tr[2]/td[position() > 1])")" 3 "serve: its queues"
is "$(at serve "count(//table[@id='flights']/tbody/tr)") $(cell serve flights 1 6)" "4 2" "serve: messages in flight by their handles"
is "$(at serve "count(//table[@id='messages']/tbody/tr)")" 3 "serve: messages to look into"
is "$(at serve "string(//table[@id='messages']//pre[starts-with(., '<')])")" "$(head -n 1 "$T/lines")" "serve: HTML in a body stays text"
is "$(at serve 'count(//pre/*) + count(//summary/*) + count(//b[.="bold"]) + count(//i)') $(at serve 'string(//title)')" "0 xonce serve" "serve: and does nothing"
stop "$SERVE_PID"

# ---- serve that checks signatures
start_serve signed --data "$T/queues" || bail "no endpoint"
page=$(sed -n 's/^page at //p' "$T/signed.out")
like "$page" '/xonce/#[0-9a-f]{32}$' "with credentials the address holds a token"
browse token "$page"
is "$(at token "string(//*[@id='state'])") $(at token "count(//table[@id='messages']/tbody/tr)")" "running 3" "with it the page shows all"
browse without "${page%#*}" 2>/dev/null
is "$(at without "string(//*[@id='state'])") $(at without "count(//pre)")" "no answer 0" "without it nothing"
like "$(at without "string(//*[@id='trouble'])")" 'the address with #' "but what to do"
stop "$SERVE_PID"

# ---- consume
psql() { "$(servers_postgres_bin)/psql" -XAtq "$XONCE_TEST_POSTGRES_URI" -c "$1"; }
asks() { curl -s --max-time 5 "$STATUS_URL/$1"; }
shows() { [[ $(asks status.json) =~ $1 ]]; }
answers() { [ "$(curl -s --max-time 5 -o /dev/null -w '%{http_code}' "$STATUS_URL/readyz")" = "$1" ]; }
psql 'CREATE TABLE pages_paid(id bigint, amount bigint NOT NULL)'
check "tables" "$XONCE" init --store "$XONCE_TEST_POSTGRES_URI"
start_serve paid --data "$T/paid" --no-auth --duplicate 100% || bail "no endpoint"
{ seq -f '{"id":%.0f,"amount":7}' 1 40; echo '{"id":41,"amount":"<b>bold</b>"}'; } >"$T/lines"
start consume "$XONCE" consume --from "$SERVE_URL" --topic paid --group GID_pages --store "$XONCE_TEST_POSTGRES_URI" --status 127.0.0.1:0 \
    --sql 'INSERT INTO pages_paid VALUES (CAST(:body.id AS bigint), CAST(:body.amount AS bigint))'
consume_pid=$STARTED
line=$(wait_for_line 20 "$T/consume.out" '^status on ') || bail "no status: $(tail -n 5 "$T/consume.err")"
STATUS_URL=${line#status on }
check "payments are sent" "$XONCE" send --to "$SERVE_URL" --topic paid "$T/lines"
check "they are applied, their duplicates known, one rejected, and all of it told" wait_for 60 shows \
    '"latest":\[\{"id":.*"fresh":40,"duplicate":[1-9][0-9]*,"rejected":1.*"series":\{[^}]*"fresh":\[[0-9]'
browse consume "$STATUS_URL/"
picture consume "$STATUS_URL/" 1000 2350
picture phone "$STATUS_URL/" 500 1500 --force-dark-mode
usable consume
fits consume "$STATUS_URL/" "$STATUS_URL/status.json"
is "$(at consume "concat(//*[@id='state'], ', ', //*[@id='state']/@class)")" "healthy, badge good" "consume: it is healthy"
is "$(tile consume tiles applied) $(tile consume tiles rejected) $(psql 'SELECT count(*) FROM pages_paid')" "40 1 40" "consume: applied and rejected, as the database has it"
duplicates=$(tile consume tiles duplicates)
[[ $duplicates =~ ^[1-9] ]] && ok "consume: duplicates are counted ($duplicates)" || not_ok "consume: duplicates are counted" "$duplicates"
is "$(at consume "count(//table[@id='rejected']/tbody/tr)") $(cell consume rejected 1 2)" "1 paid" "consume: the rejected message is listed"
like "$(cell consume rejected 1 3)" '<b>bold</b>' "consume: with its reason, in which HTML stays text"
is "$(at consume 'count(//td/b)') $(at consume 'count(//b[.="bold"])')" "0 0" "consume: and does nothing"
is "$(at consume "count(//table[@id='latency']/tbody/tr)") $(cell consume latency 5 6)" "5 40" "consume: latency of each step, end to end of each message"
is "$(cell consume topics 1 1) $(cell consume topics 1 4) $(cell consume topics 1 6)" "paid 40 1" "consume: topics"
is "$(at consume "count(//table[@id='config']/tbody/tr) > 0")" true "consume: the configuration in force"
is "$(at consume "string(//table[@id='force']/tbody/tr[td[1]='topic']/td[2])") $(at consume "string(//table[@id='force']/tbody/tr[td[1]='from']/td[2])")" "paid $SERVE_URL" \
    "consume: and what is read"
like "$(at consume "string(//table[@id='force']/tbody/tr[td[1]='uri']/td[2])")" '^postgresql://.*\*\*\*@' "consume: and where it goes"
is "$(grep -c xonce:xonce@ "$T/consume.html"; asks status.json | grep -c xonce:xonce@)" "0
0" "consume: without the password"
servers_kill postgres
check "the database is dead" wait_for 60 answers 503
browse dead "$STATUS_URL/"
picture dead "$STATUS_URL/" 1000 900
is "$(at dead "concat(//*[@id='state'], ', ', //*[@id='state']/@class)")" "not ready, badge bad" "dead: health is red"
like "$(at dead "string(//*[@id='trouble'])")" 'database' "dead: and says why"
is "$(cell dead health 2 2), $(at dead "string(//table[@id='health']/tbody/tr[2]/td[1]/@class)")" "not usable, bad" "dead: which part"
is "$(tile dead tiles applied)" 40 "dead: what is known is still there"
servers_start postgres >/dev/null
check "it is back" wait_for 60 answers 200
browse back "$STATUS_URL/"
is "$(at back "string(//*[@id='state'])") $(at back "count(//*[@id='trouble'][@hidden])")" "healthy 1" "back: green again"
stop "$consume_pid"
stop "$SERVE_PID"
done_testing
