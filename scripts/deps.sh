#!/usr/bin/env bash
# Makes sure that programs are there: PostgreSQL (14 or newer) and redis-server, which `make run` needs, or those named.
#
#   scripts/deps.sh [postgres] [redis] [ffmpeg] [wrk]
#
# What the machine lacks is fetched as the distribution's packages and unpacked into the project's own ignored folder,
# .deps/postgres and so on: nothing is installed and no system service starts. Works as root and as an ordinary user.
# A program counts when it starts, an unpacked one with the libraries beside it: nothing else is put in place.
# Quick when nothing is missing. When it cannot, it says why in one line, with the command to type, and exits 1.
#
#   DEPS_DIR=<folder>             unpack there instead of .deps
#   SYSTEM_DEPS_DIR=<folder>      for root, when the servers' user cannot reach the project; see embedded/internal/child
#   HSI_DEPS_FORCE=postgres,redis treat these as missing from the machine (to try the unpacked ones)
set -euo pipefail
export LC_ALL=C DEBIAN_FRONTEND=noninteractive

readonly min_postgres=14
readonly system_deps=${SYSTEM_DEPS_DIR:-/var/lib/hsi/deps}
project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly project
deps=${DEPS_DIR:-$project/.deps}
forced=,${HSI_DEPS_FORCE:-},

say() { printf 'deps: %s\n' "$*" >&2; }

fail() {
  local sudo='sudo '
  [ "$(id -u)" -ne 0 ] || sudo=''
  local names packages
  names=$(printf '%s, ' "${wanted[@]}" | sed "s/postgres/PostgreSQL ($min_postgres or newer)/; s/redis/redis-server/; s/, \$//; s/\(.*\), /\1 and /")
  packages=$(printf ' %s' "${wanted[@]}" | sed 's/postgres/postgresql/; s/redis/redis-server/')
  if command -v apt-get >/dev/null; then
    say "$1; type: ${sudo}apt-get update && ${sudo}apt-get install$packages"
  else
    say "$1; install $names with this system's package manager"
  fi
  exit 1
}

# unprivileged: as root, what begins a command of the user that the servers run as.
unprivileged=()
if [ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null; then unprivileged=(setpriv --reuid=65534 --regid=65534 --clear-groups); fi

# library_path <root>: the folders of shared libraries, also those that installed packages reach by links.
library_path() {
  find "$1/usr/lib" "$1/lib" -maxdepth 3 -name 'lib*.so*' -path '*-linux-gnu*' -printf '%h\n' 2>/dev/null | sort -u | paste -sd:
}

# starts <root> <program>: does it start, with the libraries unpacked below the root ('' for the machine's own)? What it
# prints decides, since wrk has no harmless start that exits with 0. If it does not, $reason says what is missing.
starts() {
  local name arguments proof output libraries environment=()
  name=$(basename "$2")
  case $name in
    postgres | initdb) arguments=(--version) proof='(PostgreSQL)' ;;
    redis-server) arguments=(--version) proof='server v=' ;;
    ffmpeg) arguments=(-version) proof='ffmpeg version' ;;
    wrk) arguments=(-t1 -c1 -d1 http://127.0.0.1:1/) proof='unable to connect' ;; # a port where nothing listens
  esac
  if [ -n "$1" ]; then environment=("LD_LIBRARY_PATH=$(library_path "$1")"); fi
  output=$("${unprivileged[@]}" env "${environment[@]}" "$2" "${arguments[@]}" 2>&1 </dev/null) || true
  if [[ $output == *"$proof"* ]]; then return 0; fi
  libraries=$(env "${environment[@]}" ldd "$2" 2>/dev/null | awk '/=> not found$/ { print $1 }' | sort -u | paste -sd' ') || true
  if [ -n "$libraries" ]; then
    reason="$name lacks ${libraries// /, }"
  else
    reason="$name does not start: $(tail -n 1 <<<"$output")"
  fi
  return 1
}

# postgres_in <root> <bin folder...>: is one of them a PostgreSQL that is new enough?
postgres_in() {
  local root=$1 bin major
  shift
  for bin in "$@"; do
    major=$(basename "$(dirname "$bin")")
    case $major in '' | *[!0-9]*) continue ;; esac
    if [ "$major" -ge "$min_postgres" ] && starts "$root" "$bin/postgres" && starts "$root" "$bin/initdb"; then return 0; fi
  done
  return 1
}

# installed_here <name>: has the machine itself a program that will do?
installed_here() {
  local path version program=$1
  if [[ $forced == *,$1,* ]]; then return 1; fi
  case $1 in
    postgres) if postgres_in '' /usr/lib/postgresql/*/bin; then return 0; fi ;;
    redis) program=redis-server ;;
  esac
  path=$(command -v "$program" || true)
  if [ -z "$path" ] || ! starts '' "$path"; then return 1; fi
  if [ "$1" != postgres ]; then return 0; fi
  # Another distribution's, or one built by hand.
  version=$("$path" --version | sed -n 's/.*(PostgreSQL) \([0-9]*\).*/\1/p')
  [ "${version:-0}" -ge "$min_postgres" ] && starts '' "$(dirname "$(readlink -f "$path")")/initdb"
}

# unpacked <name> <root>: are the programs below the root, and do they start?
unpacked() {
  case $1 in
    postgres) postgres_in "$2" "$2"/usr/lib/postgresql/*/bin || { reason=${reason:-PostgreSQL is older than $min_postgres} && return 1; } ;;
    redis) starts "$2" "$2/usr/bin/redis-server" ;;
    *) starts "$2" "$2/usr/bin/$1" ;;
  esac
}

# have <name>: is it here? If there is one that does not start, $reason says why.
have() {
  local dir
  reason=''
  case $1 in
    postgres | redis | ffmpeg | wrk) ;;
    *) say "no such program: $1" && exit 2 ;;
  esac
  if installed_here "$1"; then return 0; fi
  for dir in "$deps" "$system_deps"; do
    if [ -d "$dir/$1" ] && unpacked "$1" "$dir/$1"; then return 0; fi
  done
  return 1
}

# use_cache: container images switch apt's package cache off; without one each question takes a second.
use_cache() { apt_options+=(-o "Dir::Cache::pkgcache=$work/pkgcache.bin" -o "Dir::Cache::srcpkgcache=$work/srcpkgcache.bin"); }

# private_lists: package lists of our own, for an ordinary user on a machine whose lists are missing or old.
private_lists() {
  mkdir -p "$work/lists/partial" "$work/archives/partial"
  apt_options+=(-o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work" -o APT::Sandbox::User="$(id -un 2>/dev/null || id -u)")
}

# thrice <command...>: network steps get three tries.
thrice() {
  local try
  for try in 1 2 3; do
    if "$@" >"$work/log" 2>&1; then return 0; fi
    [ "$try" -eq 3 ] || sleep "$try"
  done
  return 1
}

fetch_lists() {
  if [ "$(id -u)" -ne 0 ]; then private_lists; fi
  thrice apt-get "${apt_options[@]}" -o APT::Update::Error-Mode=any update
}

# direct <package...>: what they depend on, one level. A line has what may stand for each other, the preferred first.
direct() {
  apt-cache "${apt_options[@]}" depends --no-pre-depends --no-recommends --no-suggests --no-conflicts --no-breaks \
    --no-replaces --no-enhances "$@" 2>/dev/null | awk '
      /^ *\|?Depends: [a-z0-9]/ { sub(/:.*/, "", $2); line = line $2 " " }
      /^ *Depends: / { if (line != "") print line; line = "" }' | sort -u
}

# closure <package...>: they and the shared libraries under them that this machine lacks. Maintainer tools (perl, debconf,
# postgresql-common) are for installed packages; LLVM is for the just-in-time compiler, which we switch off, and for the drivers
# of graphics cards, which nothing here draws on.
closure() {
  local todo=("$@") next name alternatives
  declare -A seen=() installed=()
  while read -r name; do installed[$name]=1; done < <(dpkg-query -W -f='${db:Status-Status} ${Package}\n' | sed -n 's/^installed //p')
  printf '%s\n' "$@"
  while [ ${#todo[@]} -gt 0 ]; do
    next=()
    while read -r -a alternatives; do
      for name in "${alternatives[@]}"; do
        if [ -n "${installed[$name]:-}" ]; then continue 2; fi
      done
      name=${alternatives[0]}
      case $name in lib*-perl | libllvm* | libgl1-mesa-dri | libc6 | libgcc-s1) continue ;; lib* | ocl-icd-libopencl1 | redis-tools | postgresql-client-[0-9]*) ;; *) continue ;; esac
      if [ -z "${seen[$name]:-}" ]; then
        seen[$name]=1
        next+=("$name")
        printf '%s\n' "$name"
      fi
    done < <(direct "${todo[@]}")
    todo=("${next[@]}")
  done
}

# seeds <name>: the package to begin with, empty when the lists do not know it.
seeds() {
  local package=$1
  if [ "$1" = postgres ]; then
    direct postgresql | grep -oE '^postgresql-[0-9]+' | head -n 1
    return
  fi
  [ "$1" != redis ] || package=redis-server
  apt-cache "${apt_options[@]}" show "$package" 2>/dev/null | sed -n 's/^Package: //p' | head -n 1
}

# provide <name>: fetch and unpack into $deps/<name>, in place only when it works. If it does not, $reason may say why.
provide() {
  local name=$1 seed packages deb root=$work/$1
  reason=''
  seed=$(seeds "$name")
  if [ -z "$seed" ]; then fetch_lists || return 1; seed=$(seeds "$name"); fi
  if [ -z "$seed" ]; then reason='no package source has it' && return 1; fi
  mapfile -t packages < <(closure "$seed")
  say "fetching $seed (${#packages[@]} packages) into $deps/$name"
  mkdir -p "$work/debs-$name" "$root"
  cd "$work/debs-$name"
  if ! thrice apt-get "${apt_options[@]}" download "${packages[@]}"; then
    # Old lists name files that the mirrors no longer have.
    fetch_lists || return 1
    seed=$(seeds "$name")
    [ -n "$seed" ] || return 1
    mapfile -t packages < <(closure "$seed")
    thrice apt-get "${apt_options[@]}" download "${packages[@]}" || return 1
  fi
  for deb in ./*.deb; do
    if ! dpkg -x "$deb" "$root" >"$work/log" 2>&1; then
      reason="${deb#./} cannot be unpacked: $(tail -n 1 "$work/log")"
      return 1
    fi
  done
  cd "$project"
  chmod 755 "$root"
  unpacked "$name" "$root" || return 1
  if [ -e "$deps/$name" ]; then mv "$deps/$name" "$work/old-$name"; fi # it no longer starts
  mv "$root" "$deps/$name"
}

wanted=("$@")
[ ${#wanted[@]} -gt 0 ] || wanted=(postgres redis)
missing=()
for name in "${wanted[@]}"; do
  if have "$name"; then continue; fi
  [ -z "$reason" ] || say "$reason"
  missing+=("$name")
done
if [ ${#missing[@]} -eq 0 ]; then exit 0; fi

for tool in apt-get apt-cache dpkg dpkg-query; do
  command -v "$tool" >/dev/null || fail "${missing[*]} missing and no $tool to fetch it with"
done
{ mkdir -p "$deps" && [ -w "$deps" ]; } 2>/dev/null || fail "${missing[*]} missing and $deps cannot be written"
if ! "${unprivileged[@]}" test -x "$deps"; then
  # The servers run as an unprivileged user, which cannot come here.
  deps=$system_deps
  mkdir -p "$deps"
  chmod 755 "$(dirname "$deps")" "$deps"
fi
if command -v flock >/dev/null; then # two makes at once
  exec 9>"$deps/.lock"
  flock 9
fi
work=$(mktemp -d "$deps/.work.XXXXXX")
chmod 755 "$work" # the servers' user tries the programs in it
trap 'rm -rf "$work"' EXIT
apt_options=()
use_cache
trap 'exit 1' HUP INT TERM
for name in "${missing[@]}"; do
  if have "$name"; then continue; fi # the other make fetched it
  if ! provide "$name"; then
    [ -n "$reason" ] || reason=$(grep -E '^E: ' "$work/log" 2>/dev/null | head -n 1 || true)
    fail "cannot provide $name${reason:+ ($reason)}"
  fi
done
