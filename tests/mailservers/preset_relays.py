"""Servers that speak SMTP, each set up on its usual ports with a mounted Secret, as an image would start them."""

from mailservers.contained import SECRET, Setup
from mailtls.reasons.software import Software
from testbed import trees

CERTIFICATE, KEY = f"{SECRET}/tls.crt", f"{SECRET}/tls.key"
_EXIM = f"""
primary_hostname = mx1.example.com
exim_user = Debian-exim
exim_group = Debian-exim
log_file_path = /var/log/exim4/%slog
daemon_smtp_ports = 25 : 465 : 587
tls_on_connect_ports = 465
tls_advertise_hosts = *
tls_certificate = {CERTIFICATE}
tls_privatekey = {KEY}
host_lookup =
rfc1413_query_timeout = 0s
keep_environment =
acl_smtp_connect = welcome
begin acl
welcome:
  accept
"""
_OPENSMTPD = f"""
pki mx1.example.com cert "{CERTIFICATE}"
pki mx1.example.com key "{KEY}"
listen on 0.0.0.0 port 25 tls pki mx1.example.com
listen on 0.0.0.0 port 465 smtps pki mx1.example.com
listen on 0.0.0.0 port 587 tls-require pki mx1.example.com
action "drop" maildir "/tmp/none"
match from any for domain "none.invalid" action "drop"
"""
_SENDMAIL = f"""
include(`/usr/share/sendmail/cf/m4/cf.m4')dnl
OSTYPE(`debian')dnl
DOMAIN(`debian-mta')dnl
FEATURE(`no_default_msa')dnl
define(`confCACERT_PATH', `/etc/ssl/certs')dnl
define(`confCACERT', `{CERTIFICATE}')dnl
define(`confSERVER_CERT', `{CERTIFICATE}')dnl
define(`confSERVER_KEY', `{KEY}')dnl
DAEMON_OPTIONS(`Name=MTA, Port=25')dnl
DAEMON_OPTIONS(`Name=MSA, Port=587, M=E')dnl
DAEMON_OPTIONS(`Name=TLS, Port=465, M=s')dnl
MAILER(`smtp')dnl
"""
_SENDMAIL_START = """
mkdir -p /etc/ssl/certs /run/sendmail/mta /var/lib/sendmail/host_status
m4 /etc/mail/own.mc > /etc/mail/sendmail.cf
exec /usr/sbin/sendmail-mta -bD -q1h
"""
_CHASQUID = """
hostname: "mx1.example.com"
smtp_address: ":25"
submission_address: ":587"
submission_over_tls_address: ":465"
mail_log_path: "<stderr>"
"""
_CHASQUID_START = f"""
place=/etc/chasquid/certs/mx1.example.com
mkdir -p $place /etc/chasquid/domains/example.com
ln -s {CERTIFICATE} $place/fullchain.pem
ln -s {KEY} $place/privkey.pem
exec chasquid
"""
RELAYS = (
    Setup(Software.EXIM, trees.SERVERS, ("exim4", "-bdf"), {"etc/exim4/exim4.conf": _EXIM}),
    Setup(Software.OPENSMTPD, trees.OPENSMTPD, ("smtpd", "-d"), {"etc/smtpd.conf": _OPENSMTPD}, mode=0o400),
    Setup(Software.SENDMAIL, trees.BOOKWORM, ("sh", "-c", _SENDMAIL_START), {"etc/mail/own.mc": _SENDMAIL}, mode=0o400),
    Setup(
        Software.CHASQUID,
        trees.COURIER,
        ("sh", "-c", _CHASQUID_START),
        {"etc/chasquid/chasquid.conf": _CHASQUID},
        in_vain=("sh", "-c", "kill -HUP 1"),
    ),
)
