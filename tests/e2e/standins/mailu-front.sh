#!/bin/bash
# Does with its certificate what the front of Mailu 2024.06 does with TLS_FLAVOR=mail (seen in its certwatcher.py and
# config.py): looks at the files every second, by inode and time, and sends HUP to its servers when they are others.
set -u
look() { stat -L -c '%i %Y' /certs/cert.pem /certs/key.pem; }

cat > /etc/dovecot/dovecot.conf <<'CONF'
dovecot_config_version = 2.4.0
dovecot_storage_version = 2.4.0
protocols = imap pop3
log_path = /dev/stderr
base_dir = /run/dovecot
ssl = required
ssl_server_cert_file = /certs/cert.pem
ssl_server_key_file = /certs/key.pem
mail_driver = maildir
mail_path = /tmp/mail
passdb static {
  password = x
}
CONF
known=$(look)
dovecot -F &
(
    while sleep 1; do
        now=$(look)
        if [ "$now" != "$known" ]; then
            kill -HUP "$(cat /run/dovecot/master.pid)"
            known=$now
        fi
    done
) &
wait -n
