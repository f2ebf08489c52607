"""Servers that speak SMTP, each set up on its usual ports with a mounted Secret, as an image would start them."""

from dataclasses import replace

from mailservers.contained import SECRET, Setup
from mailtls.reasons.software import Software
from testbed import trees

CERTIFICATE, KEY = f"{SECRET}/tls.crt", f"{SECRET}/tls.key"


def exim_settings(ports: str = "25 : 465 : 587", **more: str) -> str:
    """Write the settings of an Exim that accepts every client; `more` sets further options."""
    options = "\n".join(f"{name} = {value}" for name, value in more.items())
    return f"""
primary_hostname = mx1.example.com
exim_user = Debian-exim
exim_group = Debian-exim
log_file_path = /var/log/exim4/%slog
daemon_smtp_ports = {ports}
tls_on_connect_ports = 465
tls_advertise_hosts = *
tls_certificate = {CERTIFICATE}
tls_privatekey = {KEY}
host_lookup =
rfc1413_query_timeout = 0s
keep_environment =
acl_smtp_connect = welcome
{options}
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
# The load of the machine that tests run on is not what they are about.
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
define(`confREFUSE_LA', `1000')dnl
define(`confQUEUE_LA', `1000')dnl
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
_POSTFIX_MAIN = f"""
compatibility_level = 3.6
myhostname = mx1.example.com
mynetworks = 127.0.0.0/8
mydestination =
local_recipient_maps =
alias_maps =
maillog_file = /dev/stdout
smtpd_tls_chain_files = {KEY}, {CERTIFICATE}
smtpd_tls_security_level = may
"""
_POSTFIX_MASTER = """
smtp inet n - n - - smtpd
465 inet n - n - - smtpd -o smtpd_tls_wrappermode=yes
587 inet n - n - - smtpd -o smtpd_tls_security_level=encrypt
postlog unix-dgram n - n - 1 postlogd
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
"""
_POSTFIX_FILES = {"etc/postfix/main.cf": _POSTFIX_MAIN, "etc/postfix/master.cf": _POSTFIX_MASTER}
_TABLE = {"etc/postfix/sni": f"mx1.example.com {KEY} {CERTIFICATE}\n"}
_WITH_TABLE = ("sh", "-c", "postmap -F hash:/etc/postfix/sni && exec postfix start-fg")

POSTFIX = Setup(Software.POSTFIX, trees.MACHINE, ("postfix", "start-fg"), _POSTFIX_FILES)
# The certificate of mx1.example.com comes from a table, on all ports or on one.
POSTFIX_BY_NAME = replace(
    POSTFIX,
    command=_WITH_TABLE,
    files=_POSTFIX_FILES
    | _TABLE
    | {"etc/postfix/main.cf": f"{_POSTFIX_MAIN}tls_server_sni_maps = hash:/etc/postfix/sni\n"},
)
POSTFIX_BY_NAME_ON_465 = replace(
    POSTFIX,
    command=_WITH_TABLE,
    files=_POSTFIX_FILES
    | _TABLE
    | {
        "etc/postfix/master.cf": _POSTFIX_MASTER.replace(
            "smtpd_tls_wrappermode=yes", "{ tls_server_sni_maps = hash:/etc/postfix/sni } -o smtpd_tls_wrappermode=yes"
        )
    },
)
RELAYS = (
    POSTFIX,
    # Its daemon watches the file, and reads it anew some seconds after a change.
    Setup(Software.EXIM, trees.SERVERS, ("exim4", "-bdf"), {"etc/exim4/exim4.conf": exim_settings()}, keeps=None),
    Setup(
        Software.OPENSMTPD,
        trees.OPENSMTPD,
        ("smtpd", "-d"),
        # Without a name of its own it takes the pod's, and does not start where that has more than 64 characters.
        {"etc/smtpd.conf": _OPENSMTPD, "etc/mailname": "mx1.example.com\n"},
        mode=0o400,
    ),
    Setup(Software.SENDMAIL, trees.BOOKWORM, ("sh", "-c", _SENDMAIL_START), {"etc/mail/own.mc": _SENDMAIL}, mode=0o400),
    Setup(
        Software.CHASQUID,
        trees.COURIER,
        ("sh", "-c", _CHASQUID_START),
        {"etc/chasquid/chasquid.conf": _CHASQUID},
        in_vain=("sh", "-c", "kill -HUP 1"),
    ),
)
