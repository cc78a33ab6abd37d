#!/usr/bin/env bash
# Guards the users of the contract.
#
#   contract.sh check     fails when openapi.yaml breaks a user of the last release, api/baseline.yaml
#   contract.sh release   makes openapi.yaml the baseline; part of a release. After a breaking change it wants a higher major version.
#
# The baseline is a file and not a git revision: in CI the revision to compare with would be the one that is tested, and a change in two
# steps would pass. Every warning counts, and api/severity-levels.txt adds what breaks generated clients: names of operations and schemas,
# default values, and statuses that a client distinguishes. What is meant goes into api/approved-changes.txt.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
: "${OASDIFF:?}"

breaking() { "$OASDIFF" breaking api/baseline.yaml openapi.yaml --severity-levels api/severity-levels.txt --fail-on WARN --format singleline "$@"; }

version() { sed -n 's/^  version: *\([0-9.]*\).*/\1/p' "$1" | head -n 1; }

case ${1:-} in
  check)
    breaking --err-ignore api/approved-changes.txt --warn-ignore api/approved-changes.txt || {
      echo 'openapi.yaml breaks users of the last release: make it compatible, or approve it in api/approved-changes.txt' >&2
      exit 1
    }
    ;;
  release)
    old=$(version api/baseline.yaml) new=$(version openapi.yaml)
    status=0
    breaking >/dev/null || status=$?
    [ "$status" -le 1 ] || exit "$status" # the tool could not read them
    if [ "$status" -eq 1 ] && [ "${old%%.*}" = "${new%%.*}" ]; then
      echo "openapi.yaml breaks users of $old: raise the major version in its info (now $new)" >&2
      exit 1
    fi
    cp openapi.yaml api/baseline.yaml
    sed -i '/^#/!d; 3,$d' api/approved-changes.txt
    ;;
  *)
    sed -n '2,6p' "$0" >&2
    exit 2
    ;;
esac
