#!/usr/bin/env bash
# Runs inside a fresh Debian that has the packages in /packages: installs them, uses them as a newcomer would, removes them, and looks for what is left.
set -eu
packages=(xonce libxonce-dev libxonce1)
says() { printf 'ok %s\n' "$*"; }
fail() { printf 'not ok %s\n' "$*"; exit 1; }
everything() { find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /tmp -o -path /packages -o -path /var/log -o -path /var/cache -o -path /var/lib/apt \
    -o -path /var/lib/dpkg \) -prune -o -print | sort; }

apt-get -q update
apt-get -q install -y --no-install-recommends /packages/*.deb
says "installed with what they depend on"
# once without them, but with all that they depend on
dpkg --purge "${packages[@]}"
everything >/packages/before
dpkg -i /packages/*.deb
[ -z "$(dpkg --audit)" ] || fail "dpkg --audit: $(dpkg --audit)"
says "installed again"

mkdir /tmp/use
cd /tmp/use
xonce --version
for page in man1/xonce.1 man1/xonce-consume.1 man1/xonce-init.1 man5/xonce.conf.5 man3/libxonce.3 man3/xonce_store.3 man3/xonce_once.3; do [ -e "/usr/share/man/$page.gz" ] || fail "no manual page $page"; done
for file in /lib/systemd/system/xonce@.service /usr/share/bash-completion/completions/xonce /usr/share/zsh/vendor-completions/_xonce \
    /usr/share/fish/vendor_completions.d/xonce.fish /usr/share/xonce/sql/sqlite/001-record.sql; do [ -e "$file" ] || fail "no $file"; done
says "manual pages, unit, completions and SQL are there"

# the program: a local endpoint, twenty messages, each applied once although all come twice
export XONCE_STORE=sqlite:/tmp/use/shop.db
xonce init
xonce serve --listen 127.0.0.1:0 --data /tmp/use/queues --no-auth --duplicate 100% >serve.out 2>serve.err &
serve=$!
trap 'kill $serve 2>/dev/null || :' EXIT
for _ in $(seq 200); do url=$(sed -n 's/^listening on //p' serve.out); [ -z "$url" ] || break; sleep 0.05; done
[ -n "$url" ] || fail "xonce serve: $(cat serve.err)"
export ALIBABA_CLOUD_ACCESS_KEY_ID=id ALIBABA_CLOUD_ACCESS_KEY_SECRET=secret
seq 1 20 | sed 's/.*/{"id":&}/' | xonce send --to "$url" --topic orders
said=$(xonce consume --from "$url" --topic orders --group GID_orders --exit-when-idle 3s --exec /bin/true | tail -n 1)
case $said in "consumed 20 fresh, "*) ;; *) fail "xonce consume: $said" ;; esac
kill $serve
wait $serve || fail "xonce serve ended with $?"
says "xonce init, serve, send, consume: $said"

# the library: an installed example by pkg-config, in C and from C++, and by CMake
example=/usr/share/doc/libxonce-dev/examples/01-quickstart.c
[ -e "$example" ] || { gunzip -c "$example.gz" >quickstart.c && example=quickstart.c; }
[ "$example" = quickstart.c ] || cp "$example" quickstart.c
gcc -o quickstart quickstart.c $(pkg-config --cflags --libs xonce)
./quickstart >first
./quickstart >second
[ "$(grep -c ': applied' first) $(grep -c ': applied' second)" = "3 0" ] || fail "the example: $(cat first second)"
printf '#include <xonce/xonce.h>\n#include <xonce/postgres.h>\n#include <xonce/mysql.h>\n#include <xonce/sqlite.h>\nint main() { return xonce_version() ? 0 : 1; }\n' >use.cc
g++ -o use use.cc $(pkg-config --cflags --libs xonce libpq libmariadb sqlite3)
./use
printf 'cmake_minimum_required(VERSION 3.13)\nproject(use C)\nfind_package(xonce 0.1 REQUIRED)\nadd_executable(quickstart quickstart.c)\ntarget_link_libraries(quickstart xonce::xonce)\n' >CMakeLists.txt
cmake -S . -B cmake >cmake.log
make -s -C cmake
cmake/quickstart sqlite:cmake.db >third
cmp first third
gcc -o static quickstart.c $(pkg-config --cflags xonce) -Wl,-Bstatic -lxonce -Wl,-Bdynamic $(pkg-config --libs $(pkg-config --print-requires-private xonce)) -pthread -lm
./static sqlite:static.db >fourth
cmp first fourth
cat >endpoint.c <<'C'
#include <stdio.h>
#include <xonce/test.h>
int main(void)
{
    xonce_test *t;
    if (xonce_test_start(&t, NULL) != XONCE_OK) return 1;
    puts(xonce_test_uri(t));
    xonce_test_stop(t);
    return 0;
}
C
gcc -o endpoint endpoint.c $(pkg-config --cflags --libs xonce-test)
case $(./endpoint) in http://127.0.0.1:*) ;; *) fail "libxonce-test does not start" ;; esac
says "the installed example runs: pkg-config, C++, CMake, static library"
cd /

dpkg --purge "${packages[@]}"
everything >/packages/after
diff /packages/before /packages/after || fail "removal left or took files"
says "removed, nothing is left"
