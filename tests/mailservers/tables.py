"""Every server with its cases."""

from mailservers.as_reported import AS_REPORTED
from mailservers.dovecot import DOVECOT
from mailservers.ended_tls import ENDED_TLS
from mailservers.exim import EXIM
from mailservers.forgetless import INJECTABLE
from mailservers.haproxy import HAPROXY
from mailservers.logins import LOGINS
from mailservers.on_the_way import ON_THE_WAY
from mailservers.opensmtpd import OPENSMTPD
from mailservers.packet_filter import PACKET_FILTER
from mailservers.postfix_cases import POSTFIX

TABLES = {
    table.server: table
    for table in (POSTFIX, DOVECOT, EXIM, OPENSMTPD, HAPROXY, ON_THE_WAY, PACKET_FILTER, AS_REPORTED)
}
EVERY_CASE = [(server, name) for server, table in TABLES.items() for name in table.cases]
ALONE = {table.server: table for table in (LOGINS, ENDED_TLS, INJECTABLE)}
"""What is not compared: the other tools try no login, and say nothing of commands injected elsewhere than in SMTP."""
