#!/usr/bin/env bash
# A short BLOCK on a quiet Redis takes as long as the server's own beat.
#
# Version:  redis-server and redis-tools 5:7.0.15-1~deb12u10 (Debian 12)
# Expected: BLOCK is in milliseconds, so a reader that asks a quiet stream with BLOCK 100 again and again waits 100 ms each time.
# Seen:     whose time is over is told only when the server wakes, on a quiet one hz times a second. With the default hz 10
#           it is 200 ms each time: a read that begins right after one beat is not due at the next. Shown with hz 1, where
#           it is about 1 s and the load of the machine does not matter.
set -euo pipefail
cd "$(mktemp -d)"
chmod 755 .
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$PWD"' EXIT
changed() { echo "changed: $*" && exit 1; }

apt-get -qq -y -d --reinstall --no-install-recommends -o Dir::Cache::archives="$PWD" -o Debug::NoLocking=1 \
  install 'redis-server=5:7.0.15-*' 'redis-tools=5:7.0.15-*' >/dev/null
for deb in *.deb; do dpkg -x "$deb" .; done
LD_LIBRARY_PATH=$(find "$PWD" -name 'lib*.so*' -printf '%h\n' | sort -u | paste -sd:)
export LD_LIBRARY_PATH
usr/bin/redis-server --port 0 --unixsocket "$PWD/s" --save '' --hz 1 >/dev/null &
cli() { usr/bin/redis-cli -s s "$@"; }
until cli PING 2>/dev/null | grep -q PONG; do sleep 0.1; done

begun=${EPOCHREALTIME/./}
cli -r 5 XREAD BLOCK 100 STREAMS stream '$' >/dev/null # one connection
each=$(((${EPOCHREALTIME/./} - begun) / 5000))
[ "$each" -ge 600 ] || changed "$each ms each"
echo "as seen: $each ms each"
