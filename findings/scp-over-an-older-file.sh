#!/usr/bin/env bash
# scp that is cut off over an older file leaves a file of the old size: new at its head, old at its tail.
#
# Version:  openssh-client and openssh-sftp-server 1:9.2p1-2+deb12u10 (Debian 12), scp by SFTP, its default since 9.0
# Expected: a file is emptied when the copy begins, so that a cut one is short (cp, curl and lftp do it that way).
# Seen:     the old bytes stay until they are overwritten, and the size is set only at the end. A watcher that waits for
#           a stable size, or that looks at the first and last bytes of a picture, takes the mixture for a whole file.
set -euo pipefail
cd "$(mktemp -d)"
chmod 755 .
trap 'rm -rf "$PWD"' EXIT
changed() { echo "changed: $*" && exit 1; }

apt-get -qq -y -d --reinstall -o Dir::Cache::archives="$PWD" -o Debug::NoLocking=1 \
  install 'openssh-client=1:9.2p1-*' 'openssh-sftp-server=1:9.2p1-*' >/dev/null
for deb in *.deb; do dpkg -x "$deb" .; done
LD_LIBRARY_PATH=$(echo "$PWD"/usr/lib/*-linux-gnu)
export LD_LIBRARY_PATH

head -c 2000000 /dev/zero | tr '\0' o >old
head -c 2000000 /dev/zero | tr '\0' n >new
mkdir camera
cp old camera/snap.jpg
# No network: scp starts the server beside it. 4 Mbit/s take 4 s, of which the copy gets a part.
usr/bin/scp -s -q -l 4000 -D "$PWD/usr/lib/openssh/sftp-server" new "any:$PWD/camera/snap.jpg" &
scp=$!
for _ in $(seq 300); do
  [ "$(head -c 1 camera/snap.jpg)" = o ] || break
  sleep 0.1
done
{ kill -KILL "$scp" && ! wait "$scp"; } 2>/dev/null || changed 'the copy was over before it could be cut'

new=$(tr -cd n <camera/snap.jpg | wc -c) old=$(tr -cd o <camera/snap.jpg | wc -c)
[ "$new" -gt 0 ] || changed 'nothing was copied'
[ "$((new + old))" -eq 2000000 ] && [ "$old" -gt 0 ] || changed "$new new bytes and $old old ones are there"
[ "$(head -c 1 camera/snap.jpg)$(tail -c 1 camera/snap.jpg)" = no ] || changed 'the old bytes are not at the tail'
echo "as seen: $new new bytes, then $old old ones, together the old size"
