#!/usr/bin/env bash
# Behind PgBouncer's transaction pooling a statement that lib/pq prepared runs as one of another client, without an error.
#
# Version:  pgbouncer 1.18.0-1+deb12u1, postgresql-15 15.20-0+deb12u1 (Debian 12), github.com/lib/pq v1.12.3
# Expected: prepared statements do not work there: an error says that there is no such statement, or already one.
# Seen:     lib/pq calls the first statement of each connection "1". Where another client's "1" takes as many parameters,
#           it runs in its place: the client that prepared $1 + 1 gets 700 for 7, and no error.
set -euo pipefail
cd "$(mktemp -d)"
chmod 755 .
changed() { echo "changed: $*" && exit 1; }
as=()
[ "$(id -u)" -ne 0 ] || as=(setpriv --reuid=65534 --regid=65534 --clear-groups) # both refuse to run as root
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$PWD"' EXIT

apt-get -qq -y -d --reinstall --no-install-recommends -o Dir::Cache::archives="$PWD" -o Debug::NoLocking=1 \
  install 'pgbouncer=1.18.0-*' 'postgresql-15=15.*' >/dev/null
for deb in *.deb; do dpkg -x "$deb" .; done
LD_LIBRARY_PATH=$(find "$PWD" -name 'lib*.so*' -printf '%h\n' | sort -u | paste -sd:)
export LD_LIBRARY_PATH
bin=$PWD/usr/lib/postgresql/15/bin
install -d ${as:+-o 65534 -g 65534} run
printf '%s\n' '[databases]' "postgres = host=$PWD/run port=15432 user=app" '[pgbouncer]' 'listen_addr = 127.0.0.1' \
  'listen_port = 16432' 'unix_socket_dir =' 'auth_type = any' 'pool_mode = transaction' >pgbouncer.ini
"${as[@]}" "$bin/initdb" -D run/data -U app --auth=trust --locale=C --no-sync >/dev/null
"${as[@]}" "$bin/postgres" -D run/data -k "$PWD/run" -p 15432 -c listen_addresses= 2>/dev/null &
"${as[@]}" usr/sbin/pgbouncer -q pgbouncer.ini 2>/dev/null &

cat >main.go <<'END'
package main

import ("context"; "database/sql"; "fmt"; "time"; _ "github.com/lib/pq")

func must[T any](v T, err error) T { if err != nil { panic(err) }; return v }

func main() {
	ctx := context.Background()
	open := func() *sql.Conn {
		db := must(sql.Open("postgres", "postgres://app@127.0.0.1:16432/postgres?sslmode=disable"))
		for range 100 { if db.Ping() == nil { break }; time.Sleep(100 * time.Millisecond) }
		c := must(db.Conn(ctx)); must(c.ExecContext(ctx, "BEGIN")); return c
	}
	a, b := open(), open() // each holds a server connection
	plus := must(a.PrepareContext(ctx, "SELECT $1::int + 1"))
	must(b.PrepareContext(ctx, "SELECT $1::int * 100"))
	must(a.ExecContext(ctx, "COMMIT"))
	must(b.ExecContext(ctx, "COMMIT")) // the one that was given back last is lent first
	var n int
	err := plus.QueryRowContext(ctx, 7).Scan(&n)
	fmt.Println(n, err)
}
END
go mod init pooler 2>/dev/null && go get github.com/lib/pq@v1.12.3 2>/dev/null
output=$(LD_LIBRARY_PATH='' go run .) || changed 'the program fails'
[ "$output" = '700 <nil>' ] || changed "7 + 1 = $output"
echo "as seen: 7 + 1 = $output"
