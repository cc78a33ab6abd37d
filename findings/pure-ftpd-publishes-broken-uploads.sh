#!/usr/bin/env bash
# pure-ftpd's atomic uploads (-0) put a broken upload in place under its final name.
#
# Version:  pure-ftpd 1.0.50-2.1+b2 (Debian 12), started with -0 (--notruncate); run as root
# Expected: the temporary file .pureftpd-upload.* is renamed when the upload is complete; what a broken connection leaves
#           keeps the temporary name or is removed.
# Seen:     a data connection that is reset in the middle (answered 451, not 226) is renamed all the same: half a picture
#           appears by a rename, the very sign by which others tell a whole one.
set -euo pipefail
cd "$(mktemp -d)"
chmod 755 .
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$PWD"' EXIT
changed() { echo "changed: $*" && exit 1; }

apt-get -qq -y -d --reinstall --no-install-recommends -o Dir::Cache::archives="$PWD" -o Debug::NoLocking=1 \
  install 'pure-ftpd=1.0.50-*' 'pure-ftpd-common=1.0.50-*' >/dev/null
for deb in *.deb; do dpkg -x "$deb" .; done
LD_LIBRARY_PATH=$(find "$PWD" -name 'lib*.so*' -printf '%h\n' | sort -u | paste -sd:)
export LD_LIBRARY_PATH
install -d -o 65534 camera
printf 'pw\npw\n' | usr/bin/pure-pw useradd camera -u 65534 -g 65534 -d "$PWD/camera" -f users -F "$PWD/users.pdb" -m >/dev/null
usr/sbin/pure-ftpd -0 -l "puredb:$PWD/users.pdb" -S 127.0.0.1,12121 -u 1 -g "$PWD/pid" &

cat >main.go <<'END'
package main

import ("fmt"; "net"; "net/textproto"; "path/filepath"; "strings"; "time")

func main() {
	c, err := textproto.Dial("tcp", "127.0.0.1:12121")
	for ; err != nil; c, err = textproto.Dial("tcp", "127.0.0.1:12121") { time.Sleep(100 * time.Millisecond) }
	read := func(code int) string {
		_, text, err := c.ReadResponse(code)
		if err != nil { panic(err) }
		return text
	}
	say := func(code int, command string) string { c.PrintfLine("%s", command); return read(code) }
	read(220); say(331, "USER camera"); say(230, "PASS pw"); say(200, "TYPE I")
	port := strings.Split(say(229, "EPSV"), "|")[3]
	data, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil { panic(err) }
	say(150, "STOR snap.jpg")
	data.Write(make([]byte, 100000))
	for found := []string{}; len(found) == 0; found, _ = filepath.Glob("camera/.pureftpd-upload.*") { time.Sleep(10 * time.Millisecond) }
	data.(*net.TCPConn).SetLinger(0) // a reset, as of a camera that lost its network
	data.Close()
	code, _, _ := c.ReadResponse(0)
	fmt.Print(code)
	say(221, "QUIT")
}
END
answer=$(timeout 60 go run main.go) || changed 'the upload fails otherwise'
left=$(ls -A camera)
[ "$answer" = 451 ] || changed "the broken upload is answered with $answer"
[ "$left" = snap.jpg ] || changed "it leaves ${left:-nothing}"
echo "as seen: answered with $answer, and $left is there with $(stat -c %s camera/snap.jpg) bytes"
