# Prometheus: the worker as a target, and Postmeter's rules. Sourced, not run.
#
# Debian has no Grafana: docs/deploy.md says how one shows the dashboards of deploy/grafana.
# shellcheck shell=bash

install_monitoring() {
  local folder=/etc/prometheus changed=''
  changed+=$(put "$folder/postmeter.rules.yaml" root:root 0644 \
    < "$checkout/deploy/prometheus/postmeter.rules.yaml")
  if replaceable "$folder/prometheus.yml"; then
    changed+=$({
      mark
      cat "$checkout/deploy/prometheus/prometheus.yml"
    } | put "$folder/prometheus.yml" root:root 0644)
  elif ! grep -q postmeter.rules.yaml "$folder/prometheus.yml"; then
    step prometheus "$folder/prometheus.yml is yours: add the rules and the scrape job of $checkout/deploy/prometheus/prometheus.yml"
  fi
  if replaceable /etc/default/prometheus; then
    changed+=$({
      mark
      echo "# Prometheus has no login of its own: for this host alone."
      echo "ARGS=\"--web.listen-address=${prometheus_url#http://}\""
    } | put /etc/default/prometheus root:root 0644)
  fi
  [ -n "$changed" ] || return 0
  step prometheus "rules and target in $folder"
  promtool check config "$folder/prometheus.yml" > /dev/null
  ! is_running prometheus || restart_service prometheus
}

mark() { echo "# Written by Postmeter's deploy/debian/install, and again by each run. Yours without this line."; }

# Whether nobody has edited a file of Debian's: it is as its package brought it, or as we wrote it.
replaceable() {
  [ -e "$1" ] || return 0
  ! grep -qF "$(mark)" "$1" || return 0
  dpkg-query --show --showformat='${Conffiles}\n' prometheus | grep -qF "$1 $(md5sum < "$1" | cut -d' ' -f1)"
}
