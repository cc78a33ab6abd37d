#!/bin/sh
# Writes the settings that docker-compose.yml needs: random passwords, and one API key. The key is printed once and only its hash is
# stored. An existing file is never touched, because the databases keep the passwords that they were made with.
#
#   scripts/env.sh [--gpu] [--ai] [FILE]
#
#   FILE   .env beside docker-compose.yml unless given
#   --gpu  hand an NVIDIA GPU to the server, so that it can show its figures
#   --ai   that, and start RT-DETR and llama.cpp beside it (the profile ai)
set -eu
umask 077

say() { printf 'env: %s\n' "$*" >&2; }
fail() {
  say "$@"
  exit 1
}

project=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
file=$project/.env
gpu=''
ai=''
for argument; do
  case $argument in
    --gpu) gpu=yes ;;
    --ai) ai=yes gpu=yes ;;
    -*) fail "unknown option $argument" ;;
    *) file=$argument ;;
  esac
done

# random: 256 bits in hexadecimal digits, which need no quoting anywhere.
random() { od -An -v -tx1 -N32 /dev/urandom | tr -d ' \n'; }

sha256() {
  if command -v sha256sum >/dev/null; then
    sha256sum
  elif command -v shasum >/dev/null; then
    shasum -a 256
  else
    openssl dgst -sha256 -r
  fi | cut -d ' ' -f 1
}

settings() {
  cat <<END
# Settings of docker-compose.yml, made by scripts/env.sh. More settings of the README may be added, but for those of addresses, folders and
# databases; after a change: docker compose up -d
POSTGRES_PASSWORD=$(random)
REDIS_PASSWORD=$(random)
NEMOTRON_API_KEY=$(random)
# The hash of the key that was printed; more keys are separated by commas.
API_KEYS=sha256:$hash
# One folder per camera. Where the server may not read the files, CAMERAS_GID gives it their group.
CAMERAS_DIR=./data/cameras
END
  if [ -n "$gpu" ]; then
    printf 'COMPOSE_FILE=docker-compose.yml:docker-compose.gpu.yml\n'
  fi
  if [ -n "$ai" ]; then
    cat <<END
COMPOSE_PROFILES=ai
RTDETR_URL=http://rtdetr:8090
NEMOTRON_URL=http://nemotron:8091
# The image of the detector, and the model of llama.cpp: a file in MODELS_DIR.
RTDETR_IMAGE=hsi-rtdetr
MODELS_DIR=./data/models
NEMOTRON_MODEL=nemotron.gguf
END
  fi
}

key=$(random)
[ ${#key} -eq 64 ] || fail 'cannot read random numbers'
hash=$(printf %s "$key" | sha256)
[ ${#hash} -eq 64 ] || fail 'needs sha256sum, shasum or openssl'
if [ -e "$file" ]; then
  fail "$file exists and is left alone (docs/OPERATIONS.md says what to add for a GPU or AI services); to begin anew, without any data, remove it and the volumes (docker compose down --volumes)"
fi
content=$(settings)
(
  set -C # refuses a file that came into being meanwhile
  printf '%s\n' "$content" >"$file"
) || fail "cannot write $file"
# The cameras and their upload server are other users.
(umask 022 && mkdir -p "$project/data/cameras")

say "wrote $file"
printf 'API key (give it to the client, it is not stored): %s\n' "$key"
