#!/usr/bin/env bash
# Makes sure that a Chromium is there for `make browser-test`, and prints its path. As root on Debian and its relatives it is
# installed when it is missing; an ordinary user gets the command to type.
#
#   CHROMIUM=<path>  use this one
set -euo pipefail
export LC_ALL=C DEBIAN_FRONTEND=noninteractive

say() { printf 'browser: %s\n' "$*" >&2; }

find_browser() {
  local candidate
  for candidate in "${CHROMIUM:-}" chromium chromium-browser google-chrome-stable google-chrome; do
    # Started, since some distributions put a script there that only says how to get one.
    if [ -n "$candidate" ] && "$candidate" --version >/dev/null 2>&1; then command -v "$candidate" && return 0; fi
  done
  return 1
}

fail() {
  local sudo='sudo '
  [ "$(id -u)" -ne 0 ] || sudo=''
  if command -v apt-get >/dev/null; then
    say "$1; type: ${sudo}apt-get update && ${sudo}apt-get install --no-install-recommends chromium"
  else
    say "$1; install Chromium with this system's package manager, or set CHROMIUM to the path of one"
  fi
  exit 1
}

if [ -n "${CHROMIUM:-}" ] && ! output=$("$CHROMIUM" --version 2>&1); then
  say "CHROMIUM=$CHROMIUM does not start: $(tail -n 1 <<<"$output")"
  exit 1
fi
if find_browser; then exit 0; fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then fail 'no Chromium'; fi
say 'installing chromium'
log=$(mktemp)
trap 'rm -f "$log"' EXIT
install() { apt-get install -y --no-install-recommends chromium; }
{ install || { apt-get update && install; }; } >"$log" 2>&1 || fail "cannot install chromium ($(grep -E '^E: ' "$log" | head -n 1))"
find_browser || fail 'the Chromium that was installed does not start'
