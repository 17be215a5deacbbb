# The services of this host: which they are, and how one is started and stopped. Sourced, not run.
#
# Where systemd runs, it has them all. Elsewhere Debian's own have their init scripts, and ours run
# in the background with a pid file in /run/postmeter and a log in /var/log/postmeter.
# shellcheck shell=bash

# What is installed, in the order in which it is started.
services() {
  local name
  for name in postgresql rabbitmq-server postmeter-sink postmeter prometheus; do
    is_installed "$name" && printf '%s\n' "$name"
  done
  return 0
}

is_installed() {
  case $1 in
    postmeter | postmeter-sink) [ -e "$units/$1.service" ] ;;
    *) has_package "$1" ;;
  esac
}

is_running() {
  if [ "$1" = postgresql ]; then
    pg_isready --quiet # its unit and its script stand for all clusters, and say nothing of them
  elif has_systemd; then
    systemctl --quiet is-active "$1"
  elif is_ours "$1"; then
    start-stop-daemon --status --pidfile "/run/postmeter/$1.pid"
  else
    service "$1" status > /dev/null 2>&1
  fi
}

# Starts a service that does not run, now and at every boot.
start_service() {
  ! is_running "$1" || return 0
  step "$1" "starting"
  if has_systemd; then
    systemctl --quiet enable "$1"
    systemctl restart "$1"
  elif is_ours "$1"; then
    start_ours "$1"
  else
    quietly service "$1" start
  fi
  # PostgreSQL's unit has not waited for it; ours end at once where something is wrong.
  for _ in $(seq 120); do
    ! is_running "$1" || return 0
    sleep 0.5
  done
  fail "$1 does not run a minute after its start: see $(log_of "$1")"
}

stop_service() {
  is_running "$1" || return 0
  step "$1" "stopping"
  if has_systemd; then
    systemctl stop "$1"
  elif is_ours "$1"; then
    # The worker finishes the mail in hand: POSTMETER_GRACE_SECONDS and 20 s at most.
    start-stop-daemon --stop --quiet --oknodo --remove-pidfile --pidfile "/run/postmeter/$1.pid" \
      --retry "TERM/$(patience)/KILL/5"
  else
    quietly service "$1" stop
  fi
}

restart_service() {
  stop_service "$1"
  start_service "$1"
}

is_ours() { [[ $1 == postmeter || $1 == postmeter-sink ]]; }

start_ours() {
  local command=(/usr/local/bin/postmeter worker)
  if [ "$1" = postmeter-sink ]; then
    command=(/usr/bin/setpriv --reuid=postmeter --regid=postmeter --clear-groups
      "$program/current/bin/python" -m worker.demo.sink --port 1025 "$mails")
  fi
  install -d -m 0755 /run/postmeter "$logs"
  (
    umask 0077
    start-stop-daemon --start --quiet --background --make-pidfile --pidfile "/run/postmeter/$1.pid" \
      --chdir / --output "$logs/$1.log" --startas "${command[0]}" -- "${command[@]:1}"
  )
}

patience() {
  local grace
  grace=$(sed -n 's/^POSTMETER_GRACE_SECONDS=\([0-9]*\).*/\1/p' "$settings/postmeter.env" | tail -n 1)
  echo $((${grace:-30} + 20))
}

# Where a service's log is read.
log_of() {
  if has_systemd; then
    echo "journalctl -u $1"
  elif is_ours "$1"; then
    echo "$logs/$1.log"
  else
    echo "/var/log/$1"
  fi
}

# What the worker says of itself; its exit code is 0 where it is ready.
ready() {
  (
    cd /
    set -a
    # shellcheck source=/dev/null  # plain NAME=value lines
    . "$settings/postmeter.env"
    exec "$program/current/bin/python" -m worker.healthcheck /readyz
  )
}
