#!/usr/bin/env bash
# Makes sure that programs are there: PostgreSQL (14 or newer) and redis-server, which `make run` needs, or those named.
#
#   scripts/deps.sh [postgres] [redis] [ffmpeg] [wrk]
#
# What the machine lacks is fetched as the distribution's packages and unpacked into the project's own ignored folder,
# .deps/postgres and so on: nothing is installed and no system service starts. Works as root and as an ordinary user.
# Quick when nothing is missing. When it cannot, it prints one line with the command to type, and exits 1.
#
#   DEPS_DIR=<folder>             unpack there instead of .deps
#   HSI_DEPS_FORCE=postgres,redis treat these as missing from the machine (to try the unpacked ones)
set -euo pipefail
export LC_ALL=C DEBIAN_FRONTEND=noninteractive

readonly min_postgres=14
readonly system_deps=/var/lib/hsi/deps # for root, when the servers' user cannot reach the project; see embedded/internal/child
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

# reachable <path>: as root, can the unprivileged user that the servers run as execute it?
reachable() {
  [ -x "$1" ] || return 1
  if [ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null; then
    setpriv --reuid=65534 --regid=65534 --clear-groups test -x "$1" 2>/dev/null
  fi
}

# postgres_in <glob of bin folders>: is there a PostgreSQL that is new enough?
postgres_in() {
  local bin major
  for bin in $1; do
    major=$(basename "$(dirname "$bin")")
    case $major in '' | *[!0-9]*) continue ;; esac
    if [ "$major" -ge "$min_postgres" ] && [ -x "$bin/initdb" ] && reachable "$bin/postgres"; then return 0; fi
  done
  return 1
}

have_postgres() {
  local dir path
  if [[ $forced != *,postgres,* ]]; then
    if postgres_in '/usr/lib/postgresql/*/bin'; then return 0; fi
    path=$(command -v postgres || true) # another distribution's, or one built by hand
    if [ -n "$path" ] && [ -x "$(dirname "$(readlink -f "$path")")/initdb" ] && reachable "$path"; then
      local version
      version=$("$path" --version 2>/dev/null | sed -n 's/.*(PostgreSQL) \([0-9]*\).*/\1/p') || true
      if [ "${version:-0}" -ge "$min_postgres" ]; then return 0; fi
    fi
  fi
  for dir in "$deps" "$system_deps"; do
    if postgres_in "$dir/postgres/usr/lib/postgresql/*/bin"; then return 0; fi
  done
  return 1
}

# have_program <name> <program>: is the program on the search path, or unpacked?
have_program() {
  local dir path
  if [[ $forced != *,$1,* ]]; then
    path=$(command -v "$2" || true)
    if [ -n "$path" ] && reachable "$path"; then return 0; fi
  fi
  for dir in "$deps" "$system_deps"; do
    if reachable "$dir/$1/usr/bin/$2"; then return 0; fi
  done
  return 1
}

have() {
  case $1 in
    postgres) have_postgres ;;
    redis) have_program redis redis-server ;;
    ffmpeg | wrk) have_program "$1" "$1" ;;
    *) say "no such program: $1" && exit 2 ;;
  esac
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

# direct <package...>: what they depend on, one level.
direct() {
  apt-cache "${apt_options[@]}" depends --no-pre-depends --no-recommends --no-suggests --no-conflicts --no-breaks \
    --no-replaces --no-enhances "$@" 2>/dev/null | sed -n 's/^ *|\{0,1\}Depends: \([a-z0-9][^ <:]*\).*/\1/p' | sort -u
}

installed() { dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null | grep -q '^installed'; }

# closure <package...>: they and the shared libraries under them that this machine lacks. Maintainer tools (perl, debconf,
# postgresql-common) are for installed packages; LLVM is for the just-in-time compiler, which we switch off, and for the drivers
# of graphics cards, which nothing here draws on.
closure() {
  local todo=("$@") next name
  declare -A seen=()
  printf '%s\n' "$@"
  while [ ${#todo[@]} -gt 0 ]; do
    next=()
    while read -r name; do
      case $name in lib*-perl | libllvm* | libgl1-mesa-dri | libc6 | libgcc-s1) continue ;; lib* | ocl-icd-libopencl1 | redis-tools | postgresql-client-[0-9]*) ;; *) continue ;; esac
      if [ -z "${seen[$name]:-}" ]; then
        seen[$name]=1
        if ! installed "$name"; then
          next+=("$name")
          printf '%s\n' "$name"
        fi
      fi
    done < <(direct "${todo[@]}")
    todo=("${next[@]}")
  done
}

# seeds <name>: the package to begin with, empty when the lists do not know it.
seeds() {
  local package=$1
  if [ "$1" = postgres ]; then
    direct postgresql | grep -E '^postgresql-[0-9]+$' | head -n 1
    return
  fi
  [ "$1" != redis ] || package=redis-server
  apt-cache "${apt_options[@]}" show "$package" 2>/dev/null | sed -n 's/^Package: //p' | head -n 1
}

# library_path <root>: the folders of shared libraries, also those that installed packages reach by links.
library_path() {
  find "$1/usr/lib" "$1/lib" -maxdepth 3 -name 'lib*.so*' -path '*-linux-gnu*' -printf '%h\n' 2>/dev/null | sort -u | paste -sd:
}

# works <root> <option> <program...>: do the unpacked programs find all their libraries?
works() {
  local root=$1 option=$2 program output
  shift 2
  for program in "$@"; do
    output=$(LD_LIBRARY_PATH=$(library_path "$root") "$program" "$option" 2>&1) || { say "$program: $output"; return 1; }
  done
}

# provide <name>: fetch and unpack into $deps/<name>, in place only when it works.
provide() {
  local name=$1 seed packages root=$work/$1
  seed=$(seeds "$name")
  if [ -z "$seed" ]; then fetch_lists || return 1; seed=$(seeds "$name"); fi
  [ -n "$seed" ] || return 1
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
  local deb
  for deb in ./*.deb; do dpkg -x "$deb" "$root"; done
  cd "$project"
  chmod 755 "$root"
  case $name in
    postgres) works "$root" --version "$root"/usr/lib/postgresql/*/bin/{postgres,initdb} || return 1 ;;
    redis) works "$root" --version "$root/usr/bin/redis-server" || return 1 ;;
    ffmpeg) works "$root" -version "$root/usr/bin/ffmpeg" || return 1 ;;
    wrk) [ -x "$root/usr/bin/wrk" ] || return 1 ;; # asked for its version it fails
  esac
  rm -rf "${deps:?}/$name"
  mv "$root" "$deps/$name"
}

wanted=("$@")
[ ${#wanted[@]} -gt 0 ] || wanted=(postgres redis)
missing=()
for name in "${wanted[@]}"; do have "$name" || missing+=("$name"); done
if [ ${#missing[@]} -eq 0 ]; then exit 0; fi

for tool in apt-get apt-cache dpkg dpkg-query; do
  command -v "$tool" >/dev/null || fail "${missing[*]} missing and no $tool to fetch it with"
done
mkdir -p "$deps" 2>/dev/null || fail "${missing[*]} missing and $deps cannot be made"
if ! { [ "$(id -u)" -ne 0 ] || reachable "$deps"; }; then
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
trap 'rm -rf "$work"' EXIT
apt_options=()
use_cache
trap 'exit 1' HUP INT TERM
for name in "${missing[@]}"; do
  if have "$name"; then continue; fi # the other make fetched it
  if ! provide "$name"; then
    reason=$(grep -E '^E: ' "$work/log" 2>/dev/null | head -n 1 || true)
    fail "cannot fetch $name${reason:+ ($reason)}"
  fi
done
