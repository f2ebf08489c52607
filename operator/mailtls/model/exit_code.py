"""What a command says to the shell."""

from enum import IntEnum


class ExitCode(IntEnum):
    """Fit for cron and CI: a fault that was seen differs from a typing error, and both from having seen nothing."""

    GOOD = 0
    FAULTY = 1
    UNUSABLE = 2  # the command line, a name or a file makes no sense
    BLIND = 3  # nothing could be seen: no resolver, no network, no cluster
