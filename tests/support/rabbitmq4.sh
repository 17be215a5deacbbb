#!/usr/bin/env bash
# Runs a command with the RabbitMQ 4 of Debian trixie in RABBITMQ_ROOT, for tests/support/rabbitmq.py.
#
#   tests/support/rabbitmq4.sh pytest -m rabbitmq
#
# The first run makes a small trixie in POSTMETER_RABBITMQ4_ROOT (370 MB, less than a minute); later
# ones use it again. Needs root. /proc and /dev are bound into it in a mount namespace of this
# command's own, so that they are gone with its last process, however that ends.
set -euo pipefail

root=${POSTMETER_RABBITMQ4_ROOT:-/var/tmp/postmeter-rabbitmq4}

if [ "${1:-}" = --inside ]; then
  shift
  for folder in proc dev; do mount --rbind "/$folder" "$root/$folder"; done
  RABBITMQ_ROOT=$root exec "$@"
fi

if [ "$#" = 0 ]; then
  echo "usage: $0 COMMAND …" >&2
  exit 2
fi
if [ "$(id -u)" != 0 ]; then
  echo "RabbitMQ 4 runs in a Debian trixie of its own, which needs root" >&2
  exit 1
fi

exec 9> "$root.lock" # two runs must not make it at the same time
flock 9
if [ ! -d "$root" ]; then
  if ! command -v debootstrap >/dev/null; then
    echo "no debootstrap: run tests/support/packages.sh --rabbitmq4" >&2
    exit 1
  fi
  echo "making a Debian trixie with RabbitMQ 4 in $root (first run only)" >&2
  rm -rf "$root.making"
  if ! debootstrap --variant=minbase --include=rabbitmq-server trixie "$root.making" > "$root.log" 2>&1; then
    tail -n 20 "$root.log" >&2
    exit 1
  fi
  mv "$root.making" "$root" # only a whole one has the name
fi
flock --unlock 9
exec 9>&-

exec unshare --mount --propagation private "$0" --inside "$@"
