#!/bin/bash
# Does with its certificate what Zimbra does: serves copies of its own, which only zmcertmgr puts there, and which its
# servers read when they are started again, which takes long. The loop stands for cron.
set -u
live=/opt/zimbra/conf
mkdir -p "$live" /opt/zimbra/bin /opt/zimbra/ssl/zimbra/commercial
cp /certs/tls.crt "$live/smtpd.crt"
cp /certs/tls.key "$live/smtpd.key"
cat > /opt/zimbra/bin/zmcertmgr <<'PROGRAM'
#!/bin/bash
set -eu
[ "$1" = deploycrt ] && [ "$2" = comm ]
[ "$(openssl x509 -in "$3" -noout -pubkey)" = "$(openssl pkey -in commercial.key -pubout)" ]
cat "$3" "$4" > /opt/zimbra/conf/smtpd.crt
cp commercial.key /opt/zimbra/conf/smtpd.key
PROGRAM
cat > /opt/zimbra/bin/zmcontrol <<'PROGRAM'
#!/bin/bash
[ "$1" = restart ]
postfix stop
sleep "$RESTART_TAKES"
postfix start
PROGRAM
chmod 755 /opt/zimbra/bin/*
postconf -e "smtpd_tls_chain_files = $live/smtpd.key $live/smtpd.crt" "myhostname = $TLS_NAME"
postfix start
while sleep 1; do bash /standin/deploy-certificate; done
