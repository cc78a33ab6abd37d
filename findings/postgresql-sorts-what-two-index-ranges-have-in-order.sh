#!/usr/bin/env bash
# The newest rows of two ranges of one index, by UNION ALL: PostgreSQL reads both whole and sorts, unless each says
# its order.
#
# Version:  postgresql-15 15.20-0+deb12u1 (Debian 12)
# Expected: for (kind = 'a') UNION ALL (kind = 'b') ORDER BY at DESC LIMIT 50 and an index on (kind, at) the two
#           ranges of the index, each of which is in that order, are merged. A list of one kind is read so.
# Seen:     both ranges, 200,000 rows, are appended and sorted, even with enable_sort = off. With ORDER BY at DESC
#           in each branch as well, which changes nothing about the result, it is a Merge Append of 50 rows.
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
CREATE TABLE seen (kind text, at timestamptz);
INSERT INTO seen SELECT CASE n % 2 WHEN 0 THEN 'a' ELSE 'b' END, timestamptz '2026-01-01' + n * interval '1 s'
FROM generate_series(1, 200000) AS n;
CREATE INDEX ON seen (kind, at);
VACUUM ANALYZE seen;
END
plan() { # $1: what stands at the end of each branch
  sql -c 'SET enable_sort = off; SET jit = off; SET max_parallel_workers_per_gather = 0' -c "
    EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off) SELECT at FROM (
      (SELECT at FROM seen WHERE kind = 'a' $1) UNION ALL (SELECT at FROM seen WHERE kind = 'b' $1)) AS both_kinds
    ORDER BY at DESC LIMIT 50"
}
silent=$(plan '') said=$(plan 'ORDER BY at DESC')
grep -q 'Merge Append' <<<"$silent" && changed 'two ranges are merged without a word about their order'
grep -q 'Sort (actual rows=50' <<<"$silent" || changed "another plan: $silent"
grep -q 'Merge Append (actual rows=50' <<<"$said" || changed "not merged: $said"
echo "as seen: without $(grep -c 'rows=100000' <<<"$silent") times 100000 rows and a sort, with ORDER BY in the branches a Merge Append"
