# The program: each version in a folder of its own, `current` leads to the one in force. Sourced, not run.
# shellcheck shell=bash

# Makes the version of this checkout, beside the one that works; prints its folder.
make_release() {
  local release
  release=$program/releases/$(version_of "$checkout")
  if [ ! -e "$release/complete" ]; then
    step program "${release#"$program"/}, from the pinned packages" >&2
    rm -rf "$release"
    mkdir -p "$program/releases"
    python3 -m venv "$release"
    local pip=("$release/bin/pip" --quiet --disable-pip-version-check --no-cache-dir install)
    "${pip[@]}" --require-hashes --requirement "$checkout/requirements.txt" >&2
    "${pip[@]}" --no-deps --no-build-isolation "$checkout" >&2
    touch "$release/complete"
  fi
  printf '%s\n' "$release"
}

# A version's name: its number, and a fingerprint of what it is made from.
version_of() {
  local number fingerprint
  number=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$1/pyproject.toml" | head -n 1)
  fingerprint=$(cd "$1" && find config producers worker docs/runbook pyproject.toml requirements.txt \
    -type f ! -name '*.pyc' -print0 | sort -z | xargs -0 sha256sum | sha256sum)
  printf '%s-%s\n' "$number" "${fingerprint:0:10}"
}

# The migrations of the ledger that a version knows.
migrations_of() {
  find "$1"/lib/python3*/site-packages/worker/ledger/migrations -name '*.py' -printf '%f\n' | sort
}

# Lets a version be in force, once the ledger is of it; the worker stands still meanwhile, and its
# mail waits in RabbitMQ.
switch_to() {
  local release=$1 before
  before=$(readlink -e "$program/current" || true)
  [ "$before" != "$release" ] || return 0
  local restart=
  if [ -n "$before" ] && is_running postmeter; then
    restart=yes
    stop_service postmeter
  fi
  if [ -n "$before" ] && [ "$(migrations_of "$before")" != "$(migrations_of "$release")" ]; then
    back_up_ledger
    step ledger "upgrading its tables"
    if ! postmeter_release=$release postmeter ledger upgrade; then
      [ -z "$restart" ] || start_service postmeter
      fail "the ledger was not upgraded, so ${before#"$program"/} stays in force"
    fi
  fi
  ln -sfn "$release" "$program/current.new"
  mv -T "$program/current.new" "$program/current"
  step program "${release#"$program"/releases/} is in force"
  [ -z "$restart" ] || start_service postmeter
  forget_releases "$before" "$release"
}

# Removes versions but the one in force and the one before it.
forget_releases() {
  local one
  for one in "$program"/releases/*; do
    [ "$one" = "$1" ] || [ "$one" = "$2" ] || rm -rf "$one"
  done
}

# The user, the command and the units.
install_command() {
  if ! getent passwd postmeter > /dev/null; then
    step user postmeter
    adduser --system --group --no-create-home --home "$state" --quiet postmeter
  fi
  install -d -o postmeter -g postmeter -m 0700 "$state"
  put /usr/local/bin/postmeter root:root 0755 < "$here/postmeter" > /dev/null
  mkdir -p "$units"
  local changed='' unit
  for unit in postmeter ${1:+postmeter-sink}; do
    changed+=$(put "$units/$unit.service" root:root 0644 < "$checkout/deploy/systemd/$unit.service")
  done
  [ -z "${1:-}" ] || install -d -o postmeter -g postmeter -m 0700 "$mails"
  if [ -n "$changed" ] && has_systemd; then systemctl daemon-reload; fi
}
