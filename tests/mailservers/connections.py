"""How many connections a probe makes to a port that is as it should be, as docs/reference/probe.md says."""

from mailtls.probe.target import Depth, TlsMode

QUICK = 1
FULL = 7  # the conversation, five that end with QUIT as well or in a refusal, and one resumption
REFUSED = 2  # of these: versions that are too old; the other type of key, together with weak ciphers


def counts(depth: Depth, tls: TlsMode, more_names: int) -> tuple[int, int]:
    """Return how many connections there are, and how many of them end without QUIT or LOGOUT."""
    if depth is Depth.QUICK:
        return QUICK, 0
    injection = 1 if depth is Depth.DEEP and tls is TlsMode.START_TLS else 0
    return FULL + injection + more_names, REFUSED
