# PostgreSQL: a role and a database of Postmeter's own, without a password. Sourced, not run.
#
# The role has the name of the worker's user, and Debian's PostgreSQL lets that user in on its socket
# (pg_hba.conf: local all all peer).
# shellcheck shell=bash

readonly backups=/var/backups/postmeter

install_ledger() {
  ! has_secret POSTMETER_LEDGER_URL || return 0
  start_service postgresql
  step ledger "role and database postmeter"
  as_postgres psql --quiet --no-psqlrc --set=ON_ERROR_STOP=1 <<'SQL'
SELECT 'CREATE ROLE postmeter LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'postmeter')
\gexec
SELECT $$CREATE DATABASE postmeter OWNER postmeter ENCODING 'UTF8' TEMPLATE template0$$
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'postmeter')
\gexec
SQL
  echo "postgresql://postmeter@/postmeter?host=/run/postgresql" | keep_secret POSTMETER_LEDGER_URL
}

# Before its tables change. A ledger on another host is its keeper's to back up.
back_up_ledger() {
  if ! is_installed postgresql; then
    step ledger "is not on this host, so it is not backed up here"
    return 0
  fi
  start_service postgresql
  local file
  file=$backups/ledger-$(date -u +%Y%m%dT%H%M%SZ).dump
  step ledger "backing up to $file"
  install -d -m 0700 "$backups"
  (umask 0077 && as_postgres pg_dump --format=custom postmeter > "$file")
}

as_postgres() { (cd / && setpriv --reuid=postgres --regid=postgres --init-groups -- "$@"); }
