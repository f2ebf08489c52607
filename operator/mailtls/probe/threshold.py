"""Thresholds of a probe: when an expiry is near, and what users demand beyond what the RFCs do."""

import re
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from enum import IntEnum, StrEnum
from typing import Final, TypeAlias

from mailtls.times import format_duration, parse_duration

Margin: TypeAlias = timedelta | float  # a time, or a share of the lifetime
_SHARE: Final = re.compile(r"[1-9][0-9]?%")
_A_THIRD: Final = 1 / 3
_LEAST, _MOST = timedelta(hours=1), timedelta(hours=8760)


class TlsVersion(StrEnum):
    """Versions of TLS that may be demanded."""

    TLS_1_2 = "1.2"
    TLS_1_3 = "1.3"


class RsaBits(IntEnum):
    """Sizes of an RSA key that may be demanded."""

    BITS_2048 = 2048
    BITS_3072 = 3072
    BITS_4096 = 4096


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What the probe holds servers against.

    `expiring_soon` is how much of a certificate's life must be left, else it is warned of. The minima are demands: what
    falls short of one that is given fails; without it, what the RFCs advise against is warned of.
    """

    expiring_soon: Margin = _A_THIRD
    minimum_tls: TlsVersion | None = None
    minimum_rsa_bits: RsaBits | None = None

    def margin(self, lifetime: timedelta) -> timedelta:
        """How much time a certificate of this lifetime must have left."""
        return self.expiring_soon if isinstance(self.expiring_soon, timedelta) else lifetime * self.expiring_soon

    def overruled(self, by: "PortThresholds | None") -> "Thresholds":
        """What holds at a port that has thresholds of its own: each that it names, and these for the rest."""
        own = {name: value for name, value in asdict(by).items() if value is not None} if by else {}
        return replace(self, **own)

    @property
    def words(self) -> str:
        """The margin as people say it: `a third of its lifetime`, `10% of its lifetime`, `240h`."""
        if isinstance(self.expiring_soon, timedelta):
            return format_duration(self.expiring_soon)
        share = "a third" if self.expiring_soon == _A_THIRD else f"{self.expiring_soon:.0%}"
        return f"{share} of its lifetime"


@dataclass(frozen=True, slots=True)
class PortThresholds:
    """What one port is held against in place of the resource's thresholds; None: as the resource says."""

    expiring_soon: Margin | None = None
    minimum_tls: TlsVersion | None = None
    minimum_rsa_bits: RsaBits | None = None


def parse_margin(text: str) -> Margin:
    """Read a share such as `33%`, or a duration such as `240h`; raises ValueError with the sentence to show."""
    if _SHARE.fullmatch(text):
        return int(text.removesuffix("%")) / 100
    try:
        margin = parse_duration(text)
    except ValueError:
        raise ValueError("write a share of the lifetime such as 33%, or a duration such as 240h") from None
    if not _LEAST <= margin <= _MOST:
        raise ValueError(f"write a duration from {format_duration(_LEAST)} to {format_duration(_MOST)}")
    return margin
