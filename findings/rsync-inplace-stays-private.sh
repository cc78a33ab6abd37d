#!/usr/bin/env bash
# A file that rsync --inplace makes stays unreadable for others, also when a later run completes it.
#
# Version:  rsync 3.5.0+ds1-0+deb12u1 (Debian 12)
# Expected: with umask 022 a copied file of mode 0644 has mode 0644; after an interruption the next run brings what is missing.
# Seen:     it has mode 0600 until the run ends. A run that is cut off leaves it so, and the next one completes the bytes,
#           ends with status 0 and keeps 0600, because it keeps the mode of files that are there (no -p, no -a).
set -euo pipefail
cd "$(mktemp -d)"
chmod 755 .
trap 'rm -rf "$PWD"' EXIT
umask 022
changed() { echo "changed: $*" && exit 1; }

apt-get -qq -y -d --reinstall -o Dir::Cache::archives="$PWD" -o Debug::NoLocking=1 install 'rsync=3.5.0*' >/dev/null
for deb in *.deb; do dpkg -x "$deb" .; done
LD_LIBRARY_PATH=$(echo "$PWD"/usr/lib/*-linux-gnu)
export LD_LIBRARY_PATH
mode() { stat -c %a camera/snap.jpg; }

head -c 3000000 /dev/urandom >snap.jpg
mkdir camera
usr/bin/rsync --inplace snap.jpg camera/
[ "$(mode)" = 644 ] || changed "a whole run gives mode $(mode)"
rm camera/snap.jpg

setsid usr/bin/rsync --inplace --bwlimit=400 snap.jpg camera/ 2>/dev/null &
rsync=$!
for _ in $(seq 300); do
  [ ! -s camera/snap.jpg ] || break
  sleep 0.1
done
during=$(mode)
{ kill -KILL -- "-$rsync" && ! wait "$rsync"; } 2>/dev/null || changed 'the run was over before it could be cut'
[ "$(stat -c %s camera/snap.jpg)" -lt 3000000 ] || changed 'the run was over before it could be cut'
[ "$during" = 600 ] && [ "$(mode)" = 600 ] || changed "mode $during while it is written, $(mode) after the cut"

usr/bin/rsync --inplace snap.jpg camera/ || changed "the second run ends with status $?"
cmp -s snap.jpg camera/snap.jpg || changed 'the second run does not complete the file'
[ "$(mode)" = 600 ] || changed "mode $(mode) after the second run"
echo 'as seen: complete, status 0, mode 600'
