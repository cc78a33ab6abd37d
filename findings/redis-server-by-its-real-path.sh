#!/usr/bin/env bash
# Debian's redis-server started by its resolved path is another program.
#
# Version:  redis-server and redis-tools 5:7.0.15-1~deb12u10 (Debian 12)
# Expected: the path with all links resolved, as realpath or a supervisor's look-up gives it, starts the same program.
# Seen:     redis-server is a link to redis-check-rdb, one file that goes by the name it was started with. By the resolved
#           path --version still ends with 0, so that a look whether it runs passes; a configuration is read as a dump
#           and refused.
set -euo pipefail
cd "$(mktemp -d)"
chmod 755 .
trap 'rm -rf "$PWD"' EXIT
changed() { echo "changed: $*" && exit 1; }

apt-get -qq -y -d --reinstall -o Dir::Cache::archives="$PWD" -o Debug::NoLocking=1 \
  install 'redis-server=5:7.0.15-*' 'redis-tools=5:7.0.15-*' >/dev/null
for deb in *.deb; do dpkg -x "$deb" .; done
LD_LIBRARY_PATH=$(echo "$PWD"/usr/lib/*-linux-gnu)
export LD_LIBRARY_PATH

usr/bin/redis-server --version | grep -q 'Redis server v=7.0.15' || changed 'the link does not start the server'
real=$(readlink -f usr/bin/redis-server)
[ "$(basename "$real")" = redis-check-rdb ] || changed "the link leads to $real"
version=$("$real" --version) || changed "asked for its version, the resolved path ends with $?"
[ "$version" = 'redis-check-rdb 7.0.15' ] || changed "the resolved path says $version"
printf 'port 0\n' >redis.conf
if output=$(timeout 10 "$real" redis.conf 2>&1); then changed "the resolved path takes a configuration: $output"; fi
grep -q 'Checking RDB file' <<<"$output" || changed "the resolved path says of a configuration: $output"
echo "as seen: $version, and of a configuration: $(head -n 1 <<<"$output")"
