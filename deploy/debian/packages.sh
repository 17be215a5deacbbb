# Debian's packages. Sourced, not run.
# shellcheck shell=bash

# What this host needs from Debian: python for the worker, the rest unless it has only a worker.
packages() {
  printf '%s\n' python3-venv ca-certificates
  [ "$1" = worker ] || printf '%s\n' rabbitmq-server postgresql prometheus
}

# Installs what is missing; nothing is removed or upgraded.
install_packages() {
  local name missing=()
  for name in $(packages "$1"); do
    has_package "$name" || missing+=("$name")
  done
  [ "${#missing[@]}" -gt 0 ] || return 0
  step packages "${missing[*]}"
  # A broker of this script's own is for this host alone; one that was here stays as it is.
  if [[ " ${missing[*]} " == *" rabbitmq-server "* ]]; then
    mkdir -p /etc/rabbitmq/conf.d
    put /etc/rabbitmq/conf.d/20-postmeter.conf root:root 0644 < "$here/rabbitmq.conf" > /dev/null
    put /etc/rabbitmq/rabbitmq-env.conf root:root 0644 < "$here/rabbitmq-env.conf" > /dev/null
  fi
  quietly apt-get update
  # A file that you or this script wrote before its package came is kept.
  DEBIAN_FRONTEND=noninteractive quietly apt-get install --yes --no-remove --no-install-recommends \
    -o Dpkg::Options::=--force-confold "${missing[@]}"
}
