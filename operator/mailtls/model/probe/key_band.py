"""How good a public key is, in the bands of the Dutch NCSC's guidelines for TLS."""

from enum import StrEnum
from typing import Final


class KeyBand(StrEnum):
    """`PHASE_OUT` is still safe, and should go with the next change."""

    GOOD = "good"
    PHASE_OUT = "phase out"
    BAD = "bad"


_LEAST: Final = {"RSA": (3072, 2048), "ECDSA": (256, 224)}  # bits that are good, that are to be phased out


def key_band(kind: str, bits: int) -> KeyBand | None:
    """Return the band of a key, None for kinds that have none."""
    if kind not in _LEAST:
        return None
    good, bearable = _LEAST[kind]
    return KeyBand.GOOD if bits >= good else KeyBand.PHASE_OUT if bits >= bearable else KeyBand.BAD
