"""Servers that speak IMAP, and those that pass it on, each set up on its usual ports with a mounted Secret."""

from mailservers.contained import Setup
from mailservers.preset_relays import CERTIFICATE, KEY
from mailtls.probe.target import Port, Protocol, TlsMode, TlsPolicy
from mailtls.reasons.software import Software
from testbed import trees

_DOVECOT = """
log_path = /dev/stderr
protocols = imap
ssl = required
"""
_DOVECOT_23 = f"""{_DOVECOT}
passdb {{
  driver = static
  args = password=secret
}}
ssl_cert = <{CERTIFICATE}
ssl_key = <{KEY}
"""
_DOVECOT_24 = f"""dovecot_config_version = 2.4.1
dovecot_storage_version = 2.4.1
{_DOVECOT}
passdb static {{
  password = secret
}}
ssl_server_cert_file = {CERTIFICATE}
ssl_server_key_file = {KEY}
"""
_HAPROXY = f"""
global
  ssl-load-extra-files key
  ssl-load-extra-del-ext
defaults
  mode tcp
  retries 0
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend smtps
  bind :465 ssl crt {CERTIFICATE}
  default_backend smtp
frontend imaps
  bind :993 ssl crt {CERTIFICATE}
  default_backend imap
backend smtp
  server smtp 127.0.0.1:25
backend imap
  server imap 127.0.0.1:143
"""
_NGINX = f"""
load_module modules/ngx_mail_module.so;
daemon off;
error_log stderr;
events {{ }}
mail {{
  server_name mx1.example.com;
  auth_http 127.0.0.1:9000/auth;
  ssl_certificate {CERTIFICATE};
  ssl_certificate_key {KEY};
  server {{ listen 465 ssl; protocol smtp; }}
  server {{ listen 587; protocol smtp; starttls only; }}
  server {{ listen 143; protocol imap; starttls only; }}
  server {{ listen 993 ssl; protocol imap; }}
}}
"""
# One process for each service, which waits for further clients as long as a test may take: the master starts another
# where none is free or the last one has ended, and that one reads the certificate anew.
_CYRUS = """
SERVICES {
  imap cmd="imapd -T 3600" listen="imap" prefork=1 maxchild=1
  imaps cmd="imapd -s -T 3600" listen="imaps" prefork=1 maxchild=1
}
"""
_CYRUS_SETTINGS = f"""
configdirectory: /var/lib/cyrus
proc_path: /run/cyrus/proc
mboxname_lockpath: /run/cyrus/lock
defaultpartition: default
partition-default: /var/spool/cyrus/mail
imap_allowstarttls: on
tls_server_cert: {CERTIFICATE}
tls_server_key: {KEY}
"""
_CYRUS_START = """
mkdir -p /run/cyrus/proc /run/cyrus/lock /run/cyrus/socket
chown -R cyrus:mail /run/cyrus
exec cyrmaster
"""
_COURIER_START = f"""
mkdir -p /run/courier
echo 'PORT=25 TCPDOPTS="$TCPDOPTS -nodnslookup"' >> /etc/courier/esmtpd
chown courier:courier /run/courier
for name in esmtpd esmtpd-ssl imapd-ssl; do
  printf 'TLS_CERTFILE={CERTIFICATE}\\nTLS_PRIVATE_KEYFILE={KEY}\\n' >> /etc/courier/$name
done
/usr/sbin/esmtpd start
/usr/sbin/esmtpd-msa start
/usr/sbin/esmtpd-ssl start
/usr/lib/courier/imapd start
/usr/lib/courier/imapd-ssl start
exec sleep infinity
"""
_MADDY = f"""
state_dir /tmp/maddy
runtime_dir /tmp/maddy
log stderr
hostname mx1.example.com
tls file {CERTIFICATE} {KEY}
storage.imapsql mailboxes {{
  driver sqlite
  dsn /tmp/maddy/mail.db
}}
smtp tcp://0.0.0.0:25 {{
  deliver_to dummy
}}
submission tls://0.0.0.0:465 tcp://0.0.0.0:587 {{
  auth dummy
  deliver_to dummy
}}
imap tls://0.0.0.0:993 tcp://0.0.0.0:143 {{
  auth dummy
  storage &mailboxes
}}
"""
_MOX = f"""
DataDir: ../data
LogLevel: info
User: 65534
Hostname: mx1.example.com
Listeners:
\tpublic:
\t\tIPs:
\t\t\t- 0.0.0.0
\t\tTLS:
\t\t\tKeyCerts:
\t\t\t\t-
\t\t\t\t\tCertFile: {CERTIFICATE}
\t\t\t\t\tKeyFile: {KEY}
\t\tSMTP:
\t\t\tEnabled: true
\t\tSubmission:
\t\t\tEnabled: true
\t\tSubmissions:
\t\t\tEnabled: true
\t\tIMAP:
\t\t\tEnabled: true
\t\tIMAPS:
\t\t\tEnabled: true
Postmaster:
\tAccount: mox
\tMailbox: Postmaster
"""
_MOX_DOMAINS = """
Domains:
\texample.com:
\t\tLocalpartCaseSensitive: false
Accounts:
\tmox:
\t\tDomain: example.com
\t\tDestinations:
\t\t\tmox@example.com: nil
"""

MAILBOXES = (
    Setup(Software.DOVECOT, trees.SERVERS, ("dovecot", "-F"), {"etc/dovecot/dovecot.conf": _DOVECOT_24}),
    Setup(Software.DOVECOT, trees.BOOKWORM, ("dovecot", "-F"), {"etc/dovecot/dovecot.conf": _DOVECOT_23}),
    Setup(Software.HAPROXY, trees.SERVERS, ("haproxy", "-W", "-db", "-f", "/etc/own.cfg"), {"etc/own.cfg": _HAPROXY}),
    Setup(Software.NGINX, trees.SERVERS, ("nginx",), {"etc/nginx/nginx.conf": _NGINX}),
    Setup(
        Software.CYRUS,
        trees.OPENSMTPD,
        ("sh", "-c", _CYRUS_START),
        {"etc/cyrus.conf": _CYRUS, "etc/imapd.conf": _CYRUS_SETTINGS},
        ports=(Port(143, TlsMode.START_TLS, TlsPolicy.OPPORTUNISTIC, Protocol.IMAP),),
    ),
    Setup(Software.COURIER, trees.COURIER, ("sh", "-c", _COURIER_START), keeps=False),
    Setup(
        Software.MADDY,
        trees.COURIER,
        ("/opt/maddy", "-config", "/etc/maddy.conf", "run"),
        {"etc/maddy.conf": _MADDY},
        keeps=None,  # it reads the files anew once a minute
        needs_go=True,
    ),
    Setup(
        Software.MOX,
        trees.COURIER,
        ("sh", "-c", "mkdir -p /mox/data && cd /mox && exec /opt/mox serve"),
        {"mox/config/mox.conf": _MOX, "mox/config/domains.conf": _MOX_DOMAINS},
        needs_go=True,
    ),
)
