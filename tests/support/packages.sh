#!/usr/bin/env bash
# Installs the Debian packages that the test suites need, if they are missing and if it may.
#
# It may as root, and with consent: CI is set, POSTMETER_INSTALL=1, or y at a terminal. No service
# is started, no database cluster is created and no package is removed; where another mail server is
# installed, Postfix is unpacked aside. Without leave the suites say themselves what they skip.
#
# --prove adds what only `make prove` and `make scale` need, --rabbitmq4 what only `make test-rabbitmq4` needs, --slow
# what only `make test-slow` needs.
#
# Prints the folder of a Postfix unpacked aside (POSTFIX_ROOT) on standard output.
set -euo pipefail

aside=/var/tmp/postmeter-postfix
declare -A program=(
  [rabbitmq-server]=/usr/sbin/rabbitmq-server
  [postfix]=/usr/sbin/postfix
  [dovecot-core]=/usr/sbin/dovecot
  [prometheus]=/usr/bin/prometheus
  [postgresql]='/usr/lib/postgresql/*/bin/postgres'
  [libfaketime]='/usr/lib/*/faketime/libfaketime.so.1'
  [iproute2]=/bin/ip
  [shellcheck]=/usr/bin/shellcheck
  [systemd]=/usr/bin/systemd-analyze
  [tmux]=/usr/bin/tmux
)
for flag in "$@"; do
  case $flag in
    --prove) program[redis-server]=/usr/bin/redis-server program[nftables]=/usr/sbin/nft ;;
    --slow)
      program[debootstrap]=/usr/sbin/debootstrap program[buildah]=/usr/bin/buildah
      program[chromium]=/usr/bin/chromium
      ;;
    --rabbitmq4) program[debootstrap]=/usr/sbin/debootstrap ;;
    *) echo "unknown: $flag" >&2 && exit 2 ;;
  esac
done

missing=()
for package in "${!program[@]}"; do
  compgen -G "${program[$package]}" >/dev/null || missing+=("$package")
done
if [ -x "$aside/usr/sbin/postfix" ]; then
  echo "$aside"
  missing=("${missing[@]/postfix/}")
fi
read -ra missing <<< "${missing[*]:-}"
[ "${#missing[@]}" -gt 0 ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "not installed, and this is not root on Debian: ${missing[*]}" >&2
  exit 0
fi
if [ -z "${CI:-}" ] && [ "${POSTMETER_INSTALL:-}" != 1 ]; then
  answer=n
  if [ -t 0 ] && [ -t 2 ]; then
    read -rp "Install ${missing[*]} for the tests (no service is started)? [y/N] " answer
  fi
  if [ "$answer" != y ]; then
    echo "not installed (POSTMETER_INSTALL=1 says yes): ${missing[*]}" >&2
    exit 0
  fi
fi

echo "installing ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive UCF_FORCE_CONFFOLD=1
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' > "$policy" # invoke-rc.d: starting is forbidden
  chmod 755 "$policy"
  trap 'rm -f "$policy"' EXIT
fi
if command -v debconf-set-selections >/dev/null; then
  echo "postfix postfix/main_mailer_type select No configuration" | debconf-set-selections >&2 || true
fi
# Debian's package makes and starts a cluster where nobody has said that it shall not.
clusters=/etc/postgresql-common/createcluster.conf
if [[ " ${missing[*]} " == *" postgresql "* ]] && [ ! -e "$clusters" ]; then
  mkdir -p "${clusters%/*}"
  echo "create_main_cluster = false" > "$clusters"
fi
install() { apt-get install -y -qq --no-remove --no-install-recommends "$@" >&2; }
apt-get update -qq >&2
if ! install "${missing[@]}"; then
  others=()
  for package in "${missing[@]}"; do [ "$package" = postfix ] || others+=("$package"); done
  [ "${#others[@]}" -eq 0 ] || install "${others[@]}"
  # Another mail server stays: Postfix goes into a folder of its own, its libraries with it.
  mapfile -t libraries < <(apt-cache depends postfix | sed -n 's/^  Depends: \(lib[a-z0-9.+-]*\)$/\1/p')
  install "${libraries[@]}"
  folder=$(mktemp -d)
  chmod 755 "$folder"
  (cd "$folder" && apt-get download -qq postfix >&2 && dpkg -x postfix_*.deb "$aside")
  rm -rf "$folder"
  # Its programs start each other with a clean environment, so only the linker's cache reaches all.
  echo "$aside/usr/lib/postfix" > /etc/ld.so.conf.d/postmeter-postfix.conf
  ldconfig
  getent passwd postfix >/dev/null || useradd --system --no-create-home --shell /usr/sbin/nologin postfix >&2
  getent group postdrop >/dev/null || groupadd --system postdrop >&2
  echo "$aside"
fi
