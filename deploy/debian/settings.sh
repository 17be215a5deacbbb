# The settings tree, the environment and the secrets. Sourced, not run.
# shellcheck shell=bash

# Writes what is not there yet; what is there belongs to you.
install_settings() {
  local kind=$1
  install -d -o root -g postmeter -m 0750 "$settings" "$settings/secrets"
  if [ ! -e "$settings/postmeter.env" ]; then
    step settings "$settings/postmeter.env"
    sed "s#^POSTMETER_SECRETS=.*#POSTMETER_SECRETS=$settings/secrets#" "$checkout/deploy/postmeter.env" \
      | put "$settings/postmeter.env" root:postmeter 0640 > /dev/null
  fi
  [ ! -e "$settings/system.toml" ] || return 0
  step settings "$settings"
  local tree
  tree=$(mktemp -d)
  if [ "$kind" = sink ]; then
    cp -r "$checkout/deploy/compose/settings/." "$tree"
    grep -rlZ '"mailpit"' "$tree" | xargs -0 sed -i 's/"mailpit"/"127.0.0.1"/'
  else
    "$program/current/bin/postmeter" settings init "$tree" > /dev/null
  fi
  # Users' files may hold passwords. The unit's ProtectSystem lets the worker read and not write.
  chown -R root:postmeter "$tree"
  find "$tree" -type d -exec chmod 0750 {} +
  find "$tree" -type f -exec chmod 0640 {} +
  find "$tree" -path '*/users/*.toml' -exec chown postmeter: {} + -exec chmod 0600 {} +
  cp -a "$tree/." "$settings"
  rm -rf "$tree"
}

# Keeps a secret for the worker alone: NAME, the secret on standard input.
keep_secret() { put "$settings/secrets/$1" root:postmeter 0640 > /dev/null; }

has_secret() { [ -s "$settings/secrets/$1" ]; }
