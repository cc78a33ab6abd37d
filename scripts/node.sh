#!/usr/bin/env bash
# Fails with the command to type when Node.js or npm is missing or too old for web/. The Go part does not need them.
set -euo pipefail

readonly min_major=20 min_minor=19

if command -v node >/dev/null && command -v npm >/dev/null; then
  found=$(node --version) # v20.19.0
  IFS=. read -r major minor _ <<<"${found#v}"
  if [ "$major" -gt "$min_major" ] || { [ "$major" -eq "$min_major" ] && [ "$minor" -ge "$min_minor" ]; }; then exit 0; fi
else
  found=none
fi

offered=$(apt-cache policy nodejs 2>/dev/null | sed -n 's/^ *Candidate: \([0-9]*\)\..*/\1/p' || true)
if [ "${offered:-0}" -gt "$min_major" ]; then
  command='sudo apt-get install nodejs npm'
else
  command='nvm install 22 (see https://nodejs.org/en/download for other ways)'
fi
printf 'web: Node.js %s.%s or newer with npm is needed, found: %s; type: %s\n' "$min_major" "$min_minor" "$found" "$command" >&2
exit 1
