"""Every server with its cases."""

from mailservers.dovecot import DOVECOT
from mailservers.exim import EXIM
from mailservers.haproxy import HAPROXY
from mailservers.opensmtpd import OPENSMTPD
from mailservers.postfix_cases import POSTFIX

TABLES = {table.server: table for table in (POSTFIX, DOVECOT, EXIM, OPENSMTPD, HAPROXY)}
EVERY_CASE = [(server, name) for server, table in TABLES.items() for name in table.cases]
