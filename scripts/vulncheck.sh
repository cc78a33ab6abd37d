#!/usr/bin/env bash
# Fails when the code calls what has a known vulnerability. Where the vulnerability database cannot be reached it says so,
# and how to run it, and does not fail.
#
#   VULN_DB=<URL>  ask another database, for example a copy: file:///path
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=v1.9.0
tool=$PWD/.tools/govulncheck-$version
database=(${VULN_DB:+-db "$VULN_DB"})
if [ ! -x "$tool" ]; then
  mkdir -p .tools
  GOBIN=$PWD/.tools go install "golang.org/x/vuln/cmd/govulncheck@$version"
  mv .tools/govulncheck "$tool"
fi
git ls-files 'go.mod' '*/go.mod' | while read -r module; do
  status=0
  output=$("$tool" "${database[@]}" -C "$(dirname "$module")" ./... 2>&1) || status=$?
  if [ "$status" -eq 1 ] && [ -z "${VULN_DB:-}" ] && grep -q 'fetching vulnerabilities' <<<"$output"; then
    echo 'vulncheck: not done, the vulnerability database cannot be reached; where it can: scripts/vulncheck.sh' >&2
    exit 0
  fi
  printf '%s\n' "$output"
  [ "$status" -eq 0 ] || exit "$status"
done
