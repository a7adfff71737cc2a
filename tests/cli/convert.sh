#!/usr/bin/env bash
# xonce convert: Spring files of many forms become settings that are taken and programs that compile; hostile and broken ones end with a clear error.
. "${TOP_SRCDIR:?}/tests/lib/tap.sh"
unset XONCE_STORE ALIBABA_CLOUD_ACCESS_KEY_ID ALIBABA_CLOUD_ACCESS_KEY_SECRET
cd "$T" || exit 1
x=$XONCE
in=$TOP_SRCDIR/tests/cli/convert
compiles() { "${CC:-cc}" -std=c99 -pedantic -D_POSIX_C_SOURCE=200809L -Wall -Wextra -Wshadow -Werror -I"$TOP_SRCDIR/include" -c -o /dev/null "$1"; }
# converted NAME STATUS ARGS...: into a folder of its own; what it wrote has to be sound
converted() {
    local name=$1 status=$2 f
    shift 2
    rm -rf "$name"
    exits "$status" "$name: convert" timeout 60 "$x" convert "$@" --dir "$name"
    for f in "$name"/*.c; do check "$name: $(basename "$f") compiles without a warning" compiles "$f"; done
    for f in "$name"/*.conf; do
        sed -n '/^# \[consume\]/,$s/^# \{0,1\}//p' "$f" >"$f.sections"
        # unset variables are told by name; anything else that is wrong with the file is a fault
        (set -a; for v in $(grep -ohE '\$\{[A-Z0-9_]+\}' "$f" | tr -d '${}'); do declare "$v=100"; done
         "$x" check --config "$f" --store sqlite:none.db --group g) >check.out 2>&1
        unlike "$(cat check.out)" '--config' "$name: $(basename "$f") is taken"
    done
}
conf() { sed -n "s/^$2 = //p" "$1"; }

# ---- wrong use ----
exits 2 "no file" "$x" convert
exits 1 "a file that is not there" "$x" convert none.xml --dir o
like "$(cat err)" 'none.xml: cannot be opened' "is told"
exits 2 "an option that is not there" "$x" convert none.xml --dri o
[ ! -e o ] && ok "nothing was made" || not_ok "nothing was made"

# ---- the usual form ----
converted bean 0 "$in/consumer-bean.xml"
is "$(ls bean | tr '\n' ' ')" "consumer.c report.md xonce.conf xonce.conf.sections xonce.env " "settings, environment, program, report"
is "$(conf bean/xonce.conf workers)/$(conf bean/xonce.conf handler.timeout)/$(conf bean/xonce.conf attempts)/$(conf bean/xonce.conf buffer.size)/$(conf bean/xonce.conf prune.every)" \
    30/20m/8/64M/0 "settings in their own units"
like "$(cat bean/consumer.c)" 'rocketmq://MQ_INST_1_abc.mq.example.com:80"' "an http:// in front of a TCP address"
like "$(cat bean/consumer.c)" 'xonce_on\(consumer, "orders", "new\|\|paid", orderListener, NULL\)' "the subscription"
like "$(cat bean/report.md)" 'serverTimezone in the JDBC URL' "the report has the URL's parameters"
unlike "$(cat bean/report.md)" 'characterEncoding|#38|amp;' "but not those that need nothing"
like "$(cat bean/report.md)" 'exactlyOnceRmRefreshInterval = 5000: records are written inside of the transaction' "and what has no counterpart"
is "$(stat -c %a bean/xonce.env)" 600 "the environment is for its user alone"
is "$(grep -lE 'example-secret|LTAI|p@ss|p%40ss' bean/* out err)" "" "no secret is copied or told"
like "$(cat bean/xonce.env)" 'XONCE_STORE="mysql://app:<PASSWORD>@db.example.com:3307/shop"' "the store waits for its password"
exits 1 "a second time" "$x" convert "$in/consumer-bean.xml" --dir bean
like "$(cat err)" 'there already; --force' "nothing is overwritten"
rm bean/xonce.conf
exits 1 "one file in the way is enough" "$x" convert "$in/consumer-bean.xml" --dir bean
[ ! -e bean/xonce.conf ] && ok "then nothing is written" || not_ok "then nothing is written"
ln -s /dev/null bean/xonce.conf
exits 0 "unless --force; with --secrets" "$x" convert "$in/consumer-bean.xml" --dir bean --force --secrets
{ [ -f bean/xonce.conf ] && [ ! -L bean/xonce.conf ]; } && ok "a link is replaced, not followed" || not_ok "a link is replaced, not followed"
is "$(set -a; . bean/xonce.env; echo "$XONCE_STORE $ALIBABA_CLOUD_ACCESS_KEY_ID $ALIBABA_CLOUD_ACCESS_KEY_SECRET")" \
    "mysql://app:p%40ss%3Aw%2Frd@db.example.com:3307/shop LTAI-example-id example-secret" "the environment has the secrets then"
is "$(grep -lE 'example-secret|p@ss|p%40ss' bean/*)" bean/xonce.env "and nothing else has"

# ---- placeholders ----
converted open 3 "$in/placeholders.xml"
like "$(cat open/consumer.c)" 'xonce_on\(consumer, value\("MQ_ENV_ORDERS"\), value\("PROPS_MQ_TAGS"\), created, NULL\)' "an open placeholder is asked of the environment"
is "$(conf open/xonce.conf workers)/$(conf open/xonce.conf suspend)" '16/${MQ_SUSPEND}ms' "a default is taken, an open one is a variable"
like "$(cat open/xonce.env)" '#MQ_GROUP=""' "which xonce.env names"
converted closed 0 "$in/placeholders.xml" --properties "$in/mq.properties" --secrets
like "$(cat closed/consumer.c)" '"test-orders", "new \|\| paid", created' "--properties closes them"
like "$(cat closed/consumer.c)" 'xonce_on\(consumer, "payments", "\*", paid' "both subscriptions"
is "$(set -a; . closed/xonce.env; echo "$XONCE_STORE $ALIBABA_CLOUD_ACCESS_KEY_SECRET")" "mysql://app:h%26nter%20%232@db.example.com:3306/shop secret=1" "also the pool that MQDataSource wraps"

# ---- several consumers, parents, an outer DTD ----
converted two 0 "$in/two-consumers.xml"
is "$(cd two && echo *.c *.env)" "in_batches.c in_order.c in_batches.env in_order.env" "each has its files"
like "$(cat two/in_order.c)" 'xonce_on_ordered\(consumer, "ledger", "\*", LedgerListener' "an OrderConsumerBean"
like "$(cat two/in_batches.c)" 'xonce_on_batch\(consumer, "clicks", "\*", clickListener' "a BatchConsumerBean"
is "$(conf two/in_order.conf instance)/$(conf two/in_order.conf suspend)/$(conf two/in_batches.conf batch.linger)" MQ_INST_2_xyz/100ms/3s "settings of the parent and its own"
like "$(cat two/in_order.c)" 'rocketmq://ns1:9876;ns2:9876' "commas between name servers"

# ---- a factory, calls, lines of properties, another database ----
converted factory 3 "$in/factory.xml"
like "$(cat factory/consumer.c)" 'xonce_on\(consumer, "accounts", "\*", handle_int, NULL' "subscribed by a call; a word of C is no name"
like "$(cat factory/xonce.conf)" '# workers = 5000' "a value out of range is written as a comment"
like "$(cat out)" 'to decide: factory.xml:6: ConsumeThreadNums = 5000.*1 to 1000' "and told"
like "$(cat out)" 'jdbc:sqlserver://mssql:1433: no store for this database' "so is a database that has no store"
is "$(grep -l hunter2 factory/* out)" "" "its password is not"

# ---- Apache's consumer, profiles, a pool without MQDataSource ----
exits 1 "consumers in profiles" "$x" convert "$in/apache.xml" --dir apache
like "$(cat err)" '2 consumers stand in profiles: name one by --profile' "are asked for"
converted apache 3 "$in/apache.xml" --profile prod
like "$(cat apache/consumer.c)" '"stock", "in \|\| out", listener, NULL\) == XONCE_OK &&'$'\n'' +xonce_on\(consumer, "returns"' "two topics, one handler"
like "$(cat apache/report.md)" 'MessageModel = BROADCASTING: .*refused' "broadcasting is refused"
like "$(cat apache/xonce.env)" 'postgresql://app:<PASSWORD>@pg:5432/stock' "PostgreSQL"
converted both 0 "$in/consumer-bean.xml" "$in/two-consumers.xml" --data-source ds
is "$(cd both && echo *.c)" "consumer.c in_batches.c in_order.c" "several files are one"

# ---- files of other hands ----
sed 's/encoding="UTF-8"/encoding="GBK"/' "$in/old-ons.xml" | iconv -f UTF-8 -t GBK >old-ons.xml
converted old 3 old-ons.xml
like "$(cat old/consumer.c)" '"CID_shop_order".*xonce_on\(consumer, "shop_order", "create \|\| pay", orderMsgListener' "an old ConsumerBean with a map, a CDATA and comments in GBK"
like "$(cat out)" 'ONSAddr = http://onsaddr.* is not a name server but a page' "its address server is told"
converted made 3 "$in/constructor.xml"
like "$(cat made/stockConsumer.c)" '"stock-group".*"stock", "in \|\| out", StockListener' "Apache's consumer is made with its group"
like "$(cat made/priceConsumer.c)" '"price-group".*"price", "\*", priceListener' "c: and p: attributes"
is "$(grep -c 'GROUP_ID' out)" 0 "nothing asks for the group"
converted constants 0 "$in/constants.xml"
like "$(cat constants/consumer.c)" '"GID_bills".*"bills", "\*", billsListener' "util:constant, a value of util:properties, and ?: behind one that is not there"
is "$(conf constants/xonce.conf workers)/$(conf constants/xonce.conf attempts)" 12/7 "FieldRetrievingFactoryBean and T(...) as names"
like "$(cat constants/xonce.env)" 'XONCE_STORE="mysql://app:<PASSWORD>@db:3306/bills"' "arguments of a constructor in any order of their indexes"
converted nested 0 "$in/nested.xml" --secrets
like "$(cat nested/consumer.c)" '"GID_shop".*"shop", "\*", Listener' "beans inside of beans, prefixes, and a second name"
is "$(set -a; . nested/xonce.env; echo "$XONCE_STORE")" "mysql://root:p%3Cw%3E@h1:3306/shop" "the pool inside of the pool's settings"
converted import 3 "$in/import.xml" "$in/import-base.xml" --profile dev
like "$(cat import/consumer.c)" '"GID_dev".*"dev", "\*", l' "a parent from a file that is imported, and a profile"
unlike "$(cat out)" 'imports' "which was given"
converted half 3 "$in/import.xml" --profile prod
like "$(cat out)" 'to decide: import.xml:3: imports classpath:import-base.xml, which was not read: name that file' "or else is asked for"

# ---- texts that would like to be code ----
converted hostile 3 "$in/hostile.xml"
is "$(grep -v '^#' hostile/xonce.conf | grep -cE 'workers|evil')" 0 "nothing leaves its line of the settings"
is "$(grep -v '^ *[/"x#]' hostile/consumer.c | grep -c 'evil')" 1 "nothing leaves its comment or string in C" # the one is the handler's name
is "$(conf hostile/xonce.conf rocketmq.instance-name)$(conf hostile/xonce.conf rocketmq.ons-channel)" "" "a value that a settings file would cut off is not taken"
is "$(grep -l hunter2 hostile/* out)" "" "what looks like a password is not told"
"$x" convert "$in/hostile.xml" --dir hostile --force --secrets >/dev/null 2>&1
is "$(set -a; . hostile/xonce.env; printf %s "$ALIBABA_CLOUD_ACCESS_KEY_ID")" 'a"b$(id)`id`\' "nothing leaves its quotes in the shell"
like "$(cat out)" 'filtered by SQL92 "a > 1": .*left out' "an expression is left out, and told"

# ---- encodings ----
gbk() { printf '<?xml version="1.0" encoding="%s"?>\n' "$1"; sed 1d "$in/consumer-bean.xml" | LC_ALL=C sed 's/"orders"/"'$'\xb6\xa9\xb5\xa5''"/'; }
gbk GBK >gbk.xml
gbk gb2312 >gb2312.xml
gbk UTF-8 >wrong.xml
sed 's/"orders"/"订单"/' "$in/consumer-bean.xml" >utf8.xml
for f in gbk gb2312 utf8; do
    converted "$f" 0 "$f.xml"
    like "$(cat "$f/consumer.c")" 'xonce_on\(consumer, "订单"' "$f is read"
done
exits 1 "GBK that says it is UTF-8" "$x" convert wrong.xml --dir wrong
like "$(cat err)" 'wrong.xml:[0-9]+: byte 0xb6 is no UTF-8 text.*--encoding' "is told with its line"
converted right 0 wrong.xml --encoding GBK
like "$(cat right/consumer.c)" '"订单"' "--encoding says what it is"
for e in UTF-16LE UTF-16BE; do
    sed 's/encoding="UTF-8"/encoding="UTF-16"/' utf8.xml | iconv -f UTF-8 -t $e >plain.xml
    { [ $e = UTF-16LE ] && printf '\xff\xfe' || printf '\xfe\xff'; cat plain.xml; } >marked.xml
    converted "$e" 0 marked.xml
    like "$(cat "$e/consumer.c")" '"订单"' "$e with a mark"
    converted "$e-plain" 0 plain.xml
done
{ printf '\xef\xbb\xbf'; cat utf8.xml; } >bom.xml
converted bom 0 bom.xml
{ printf '\xef\xbb\xbf'; cat gbk.xml; } >contrary.xml
# refused REGEX NAME FILE ARGS...
refused() {
    local regex=$1 name=$2
    shift 2
    exits 1 "$name" timeout 20 "$x" convert "$@" --dir refused
    like "$(cat err)" "$regex" "$name: it says why"
    [ ! -e refused ] || not_ok "$name: nothing is written"
}
refused 'mark of UTF-8 but declares GBK' "two encodings at once" contrary.xml
sed 's/encoding="UTF-8"/encoding="UTF-16"/' utf8.xml >narrow.xml
refused 'declares UTF-16 but has one byte' "UTF-16 that is none" narrow.xml
sed 's/encoding="UTF-8"/encoding="KLINGON-1"/' utf8.xml >klingon.xml
refused 'encoding KLINGON-1 is not known' "an unknown encoding" klingon.xml
iconv -f UTF-8 -t UTF-32 utf8.xml >utf32.xml
refused 'UTF-32' "UTF-32" utf32.xml

# ---- broken and hostile files ----
: >empty.xml
refused 'empty XML document' "an empty file" empty.xml
head -c 900 "$in/consumer-bean.xml" >cut.xml
refused 'cut.xml:[0-9]+: .*not well-formed' "a file that is cut off" cut.xml
sed 's#</props>##' "$in/consumer-bean.xml" >tags.xml
refused 'tags.xml:[0-9]+: .*mismatch.*not well-formed' "tags that do not match" tags.xml
refused 'no consumer among 1 beans' "a Spring file without a consumer" <(echo '<beans><bean id="a" class="b.C"/></beans>')
refused 'no consumer among 0 beans' "another XML file" <(echo '<project><dependencies/></project>')
{ echo '<!DOCTYPE beans [<!ENTITY a "ha">'; for i in b c d e f g h i j; do echo "<!ENTITY $i \"&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;\">"; done; echo ']><beans>&j;</beans>'; } >laughs.xml
refused 'document type with declarations of its own' "an entity bomb" laughs.xml
echo '<!DOCTYPE beans SYSTEM "file:///etc/passwd" [<!ENTITY % p SYSTEM "file:///etc/passwd"> %p;]><beans/>' >outer.xml
refused 'document type with declarations of its own' "an outer entity" outer.xml
echo '<beans><bean id="&who;"/></beans>' >entity.xml
refused "entity.xml:1: .*who" "an entity that nobody declared" entity.xml
echo '<!DOCTYPE beans SYSTEM "http://127.0.0.1:1/x.dtd"><beans>&nbsp;</beans>' >dtd.xml
refused 'dtd.xml:1: .*nbsp' "an entity of a DTD that is not fetched" dtd.xml
printf '<beans>\0</beans>' >zero.xml
refused 'zero byte' "a zero byte" zero.xml
{ echo '<beans>'; head -c 5000000 /dev/zero | tr '\0' ' '; echo '</beans>'; } >huge.xml
refused 'larger than 4 MiB' "a huge file" huge.xml
{ for ((i = 0; i < 100; i++)); do printf '<beans>'; done; } >deep.xml
refused 'nested more than 64 deep' "a deep file" deep.xml
{ printf '<beans '; for ((i = 0; i < 20000; i++)); do printf 'a%d="" ' $i; done; echo '/>'; } >attributes.xml
refused 'tag is longer' "a tag of many attributes" attributes.xml
{ echo '<beans>'; for ((i = 0; i < 60000; i++)); do echo '<b/>'; done; echo '</beans>'; } >many.xml
refused 'more than (50000 elements|[0-9]+ bytes of tags)' "very many elements" many.xml
{ echo '<beans>'; seq 7000 | awk '{ printf "<bean id=\"b%d\" parent=\"b%d\"/>\n", $1, $1 + 1 }'; echo '</beans>'; } >parents.xml
refused 'no consumer among 7000 beans' "a long line of parents" parents.xml
{ printf 'mq.group=${a}\n'; for i in a b c d e f g h; do n=$(tr 'a-h' 'b-i' <<<$i); printf '%s=' $i; for ((k = 0; k < 200; k++)); do printf '${%s}' $n; done; echo; done; echo i=; } >bomb.properties
check "a bomb of placeholders ends" timeout 20 bash -c '"$1" convert "$2" --properties bomb.properties --dir bomb >/dev/null; [ $? -eq 3 ]' - "$x" "$in/placeholders.xml"
echo '<beans><bean id="a" parent="b" class=""/><bean id="b" parent="a"/><bean id="c" parent="a" class="ConsumerBean"><property name="properties" ref="c"/><property name="subscriptionTable" ref="d"/></bean><alias name="d" alias="d"/></beans>' >circle.xml
converted circle 3 circle.xml

# ---- it runs: the sections with SQL, and the program with a handler ----
start_serve serve --topic orders --no-auth --data "$T/queues" || bail "xonce serve does not start"
printf '%s\n' one two three | "$x" send --to "$SERVE_URL" --topic orders --tag new >sent 2>&1 || note "$(cat sent)"
export ALIBABA_CLOUD_ACCESS_KEY_ID=id ALIBABA_CLOUD_ACCESS_KEY_SECRET=secret
"$x" init --store sqlite:shop.db >/dev/null
sqlite shop.db "CREATE TABLE orders (id TEXT, body TEXT)"
sed -n '/^# \[consume\]/,$ { s/^# \{0,1\}//p; d; }; /^[a-z]/p' bean/xonce.conf | sed "s|^from = .*|from = $SERVE_URL|" >run.conf
exits 0 "xonce consume --config, with the sections that convert wrote" timeout 60 "$x" consume --config run.conf --store sqlite:shop.db --exit-when-idle 2s
is "$(sqlite shop.db 'SELECT group_concat(body) FROM (SELECT body FROM orders ORDER BY body)')" one,three,two "applies the messages"
if [ -e "$TOP_BUILDDIR/.libs/libxonce.so" ] && ! "${NM:-nm}" -D "$TOP_BUILDDIR/.libs/libxonce.so" | grep -q '__[at]san_'; then
    sed -e 's/"GID_orders"/"GID_program"/' -e '/_fail(/d' -e 's/    return XONCE_RETRY;/    return xonce_exec(tx, "INSERT INTO orders VALUES ($1, $2)", xonce_text("program"), xonce_body(m)) == XONCE_OK ? XONCE_DONE : XONCE_RETRY;/' bean/consumer.c >program.c
    check "the program links" "${CC:-cc}" -std=c99 -D_POSIX_C_SOURCE=200809L -Wall -Werror -I"$TOP_SRCDIR/include" -o program program.c -L"$TOP_BUILDDIR/.libs" -lxonce -Wl,-rpath,"$TOP_BUILDDIR/.libs"
    { grep -E '^[a-z]' bean/xonce.conf; echo 'exit-when-idle = 2s'; } >program.conf
    exits 0 "the program runs" env XONCE_STORE=sqlite:shop.db timeout 60 ./program program.conf "$SERVE_URL"
    is "$(sqlite shop.db "SELECT count(*), count(DISTINCT body) FROM orders WHERE id = 'program'")" "3|3" "and applies the messages"
else
    skip "this build has no shared library without sanitizers" "the program runs"
fi
done_testing
