#!/usr/bin/env bash
# A video that ffmpeg records reaches the disk in pieces of 256 KiB: a quiet camera's file does not grow for minutes.
#
# Version:  ffmpeg 7:5.1.9-0+deb12u1 (Debian 12)
# Expected: what was muxed is in the file soon, at the latest after a second or 32 KiB.
# Seen:     with a minute of video and over 100 kB taken in, an mp4 has 44 bytes and an mkv none, until 262144 bytes are
#           together or the input ends. "Its size has not changed for a while" does not tell that a video is complete.
set -euo pipefail
cd "$(mktemp -d)"
chmod 755 .
trap 'rm -rf "$PWD"' EXIT
changed() { echo "changed: $*" && exit 1; }

apt-get -qq -y -d --reinstall --no-install-recommends -o Dir::Cache::archives="$PWD" -o Debug::NoLocking=1 \
  install 'ffmpeg=7:5.1.9-*' >/dev/null
for deb in *.deb; do dpkg -x "$deb" .; done
LD_LIBRARY_PATH=$(find "$PWD" -name 'lib*.so*' -printf '%h\n' | sort -u | paste -sd:)
export LD_LIBRARY_PATH
ffmpeg() { usr/bin/ffmpeg -nostdin -loglevel error "$@"; }

ffmpeg -f lavfi -i testsrc=size=160x120:rate=5 -t 60 -c:v mpeg4 -b:v 16k camera.mkv
size=$(stat -c %s camera.mkv)
[ "$size" -gt 170000 ] && [ "$size" -lt 250000 ] || changed "the sample has $size bytes"
for kind in mp4 mkv; do
  mkfifo more
  { cat camera.mkv && : >taken-in && cat more; } | usr/bin/ffmpeg -loglevel error -f matroska -i - -c copy "out.$kind" &
  exec 3>more # the camera stays connected
  # A pipe holds 64 KiB: when the sample is in the pipe, ffmpeg has read all but these.
  while [ ! -e taken-in ]; do sleep 0.1; done
  sleep 3
  quiet=$(stat -c %s "out.$kind")
  exec 3>&-
  wait
  whole=$(stat -c %s "out.$kind")
  [ "$quiet" -le 48 ] || changed "$kind: $quiet bytes while the camera is quiet"
  [ "$whole" -gt 100000 ] || changed "$kind: $whole bytes at the end"
  echo "as seen: $kind: $quiet bytes while the camera is quiet, $whole when it is gone"
  rm more taken-in
done
