# RabbitMQ: a virtual host and a user of Postmeter's own. Sourced, not run.
# shellcheck shell=bash

install_broker() {
  ! has_secret POSTMETER_BROKER_URL || return 0
  start_service rabbitmq-server
  rabbitmqctl --quiet await_startup --timeout 60
  step broker "user and virtual host postmeter"
  rabbitmqctl --quiet list_vhosts name | grep -qx postmeter || rabbitmqctl --quiet add_vhost postmeter
  local password verb=add_user
  password=$(python3 -c 'import secrets; print(secrets.token_urlsafe(24))')
  ! rabbitmqctl --quiet list_users | cut -f1 | grep -qx postmeter || verb=change_password
  # On standard input: a password among the arguments is shown by ps.
  printf '%s' "$password" | rabbitmqctl --quiet "$verb" postmeter > /dev/null
  rabbitmqctl --quiet set_permissions --vhost postmeter postmeter '.*' '.*' '.*'
  # For Prometheus; works on a node that runs, too.
  rabbitmq-plugins --quiet enable rabbitmq_prometheus > /dev/null
  # Last, so that a run that was interrupted begins here again.
  echo "amqp://postmeter:$password@127.0.0.1:5672/postmeter" | keep_secret POSTMETER_BROKER_URL
}
