#!/usr/bin/env bash
# Fails with the command to type when Node.js or npm is missing or too old for web/. The Go part does not need them.
set -euo pipefail

if command -v node >/dev/null && command -v npm >/dev/null; then
  found=$(node --version 2>&1) || found="one that does not start ($found)" # v20.19.0
  IFS=. read -r major minor _ <<<"${found#v}"
  case $major in # the versions that vite takes
    *[!0-9]*) ;;
    20) [ "$minor" -lt 19 ] || exit 0 ;;
    22) [ "$minor" -lt 12 ] || exit 0 ;;
    *) [ "$major" -lt 23 ] || exit 0 ;;
  esac
else
  found=none
fi

offered=$(apt-cache policy nodejs 2>/dev/null | sed -n 's/^ *Candidate: \([0-9]*\)\..*/\1/p' || true)
if [ "${offered:-0}" -gt 22 ]; then
  command='sudo apt-get install nodejs npm'
else
  command='nvm install 22 (see https://nodejs.org/en/download for other ways)'
fi
printf 'web: Node.js 20.19, or 22.12 and newer, with npm is needed, found: %s; type: %s\n' "$found" "$command" >&2
exit 1
