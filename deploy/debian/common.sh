# What the scripts of this folder share: names of this host's places, and words. Sourced, not run.
# shellcheck shell=bash disable=SC2034 # not every script uses every name
shopt -s inherit_errexit

readonly program=/opt/postmeter
readonly settings=/etc/postmeter
readonly state=/var/lib/postmeter
readonly mails=/var/lib/postmeter-sink
readonly logs=/var/log/postmeter
readonly units=/etc/systemd/system
readonly prometheus_url=http://127.0.0.1:9090
export LC_ALL=C.UTF-8

# One line about what is done now: a word for where, and a sentence.
step() { printf '%-16s %s\n' "$1" "$2"; }

fail() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

need_root() {
  [ "$(id -u)" = 0 ] || fail "run this as root: it installs packages, users and services"
}

# Whether systemd runs this host; in a chroot or a container it does not.
has_systemd() { [ -d /run/systemd/system ]; }

# Whether a Debian package is installed.
has_package() { [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# Writes standard input to a file, whole or not at all: FILE OWNER MODE. Prints `changed` where the
# file did not hold just that.
put() {
  local file=$1 owner=$2 mode=$3 new
  new=$(mktemp "$file.XXXXXX")
  chmod "$mode" "$new"
  chown "$owner" "$new"
  cat > "$new"
  if cmp --quiet "$new" "$file"; then
    cp --attributes-only --preserve=mode,ownership "$new" "$file"
    rm "$new"
  else
    mv "$new" "$file"
    echo changed
  fi
}

# Runs a command whose many words matter only where it fails.
quietly() {
  local said
  said=$(mktemp)
  if ! "$@" < /dev/null > "$said" 2>&1; then
    tail -n 30 "$said" >&2
    fail "this failed: $*"
  fi
  rm "$said"
}
