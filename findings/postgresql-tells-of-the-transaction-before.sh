#!/usr/bin/env bash
# pg_stat_xact_user_tables, "within the current transaction", tells of transactions that ended before it.
#
# Version:  postgresql-15 15.20-0+deb12u1 (Debian 12)
# Expected: in a transaction that has read nothing yet, 0 rows read: a test that wants to know what one query reads
#           asks at its end. So the manual has it: "actions taken so far within the current transaction".
# Seen:     the 5,000 rows that the transaction before it in the same session has read. A session's figures stay
#           there until it hands them over, which it does at most once a second. Only a difference of two looks
#           within the transaction says what the query between them has read.
set -euo pipefail
cd "$(mktemp -d)"
chmod 755 .
changed() { echo "changed: $*" && exit 1; }
as=()
[ "$(id -u)" -ne 0 ] || as=(setpriv --reuid=65534 --regid=65534 --clear-groups) # it refuses to run as root
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$PWD"' EXIT

apt-get -qq -y -d --reinstall --no-install-recommends -o Dir::Cache::archives="$PWD" -o Debug::NoLocking=1 \
  install 'postgresql-15=15.*' 'postgresql-client-15=15.*' >/dev/null
for deb in *.deb; do dpkg -x "$deb" .; done
LD_LIBRARY_PATH=$(find "$PWD" -name 'lib*.so*' -printf '%h\n' | sort -u | paste -sd:)
export LD_LIBRARY_PATH
bin=$PWD/usr/lib/postgresql/15/bin
install -d ${as:+-o 65534 -g 65534} run
"${as[@]}" "$bin/initdb" -D run/data -U app --auth=trust --locale=C --no-sync >/dev/null
"${as[@]}" "$bin/postgres" -D run/data -k "$PWD/run" -c listen_addresses= -c fsync=off 2>/dev/null &
sql() { "$bin/psql" -h "$PWD/run" -U app -qAt postgres "$@"; }
for _ in $(seq 100); do sql -c 'SELECT 1' >/dev/null 2>&1 && break || sleep 0.1; done

sql <<'END'
CREATE TABLE seen AS SELECT n FROM generate_series(1, 5000) AS n;
END
# One session: a transaction that reads all rows, then one that reads none, then one that reads them between two looks.
looks=$(sql <<'END'
BEGIN; SELECT count(*) FROM seen; COMMIT;
BEGIN; SELECT 'none ' || seq_tup_read FROM pg_stat_xact_user_tables WHERE relname = 'seen'; COMMIT;
BEGIN; SELECT 'before ' || seq_tup_read FROM pg_stat_xact_user_tables WHERE relname = 'seen';
SELECT count(*) FROM seen;
SELECT 'behind ' || seq_tup_read FROM pg_stat_xact_user_tables WHERE relname = 'seen'; COMMIT;
END
)
look() { sed -n "s/^$1 //p" <<<"$looks"; }
[ "$(look none)" = 5000 ] || changed "a transaction that has read nothing tells of $(look none) rows"
[ $(($(look behind) - $(look before))) -eq 5000 ] || changed "the difference is $(look before) to $(look behind)"
echo "as seen: $(look none) rows in a transaction that has read none; $(look before) and $(look behind) around a query of 5000"
