"""Reads `spec.rollout`, and what people decide about a rollout by annotations."""

import re
from datetime import timedelta
from typing import Final

from mailtls.api.reading.document import Node, duration
from mailtls.api.resource import APPROVE, PAUSE_ROLLOUT
from mailtls.api.spec import ONE, Amount, Approval, OnFailure, Rollout
from mailtls.api.windows import LONGEST, SHORTEST, Window, read_schedule, read_zone

MOST_WINDOWS: Final = 10
LONGEST_FINGERPRINT: Final = 95  # of SHA-256, in hexadecimal with colons
_HOUR: Final = timedelta(hours=1)
_MOST_PODS: Final = 10_000
_SHARE: Final = re.compile("([1-9][0-9]?|100)%")


def rollout(node: Node) -> Rollout:
    """Read when and how pods are brought the certificate; raises `InvalidSpec`."""
    timeout, urgent, approval = node.at("timeout"), node.at("urgentBefore"), node.at("approval")
    on_failure, usual = node.at("onFailure"), Rollout()
    return Rollout(
        timeout=duration(timeout, timedelta(seconds=10), 24 * _HOUR) if timeout.is_given else usual.timeout,
        canary=_amount(node.at("canary")),
        max_unavailable=_amount(node.at("maxUnavailable")),
        on_failure=on_failure.choice(OnFailure) if on_failure.is_given else usual.on_failure,
        windows=tuple(map(_window, node.at("windows").items(MOST_WINDOWS))),
        urgent_before=duration(urgent, timedelta(), 8760 * _HOUR) if urgent.is_given else usual.urgent_before,
        approval=approval.choice(Approval) if approval.is_given else usual.approval,
    )


def _amount(node: Node) -> Amount:
    """Read a number of pods, or a share of them; one where it is absent."""
    if not node.is_given:
        return ONE
    if isinstance(node.value, int) and not isinstance(node.value, bool) and 1 <= node.value <= _MOST_PODS:
        return Amount(node.value)
    if isinstance(node.value, str) and _SHARE.fullmatch(node.value):
        return Amount(int(node.value.removesuffix("%")), is_share=True)
    raise node.refused(f"write a number of pods from 1 to {_MOST_PODS}, or a share from 1% to 100% such as 10%")


def _window(node: Node) -> Window:
    zone = node.at("timeZone")
    return Window(
        schedule=node.at("schedule").read(read_schedule, 100),
        duration=duration(node.at("duration"), SHORTEST, LONGEST),
        zone=zone.read(read_zone, 64) if zone.is_given else "UTC",
    )


def is_paused(annotations: Node) -> bool:
    """Whether a person holds the rollout back: by any value, as one who writes `yes` means it too, but `false`."""
    value = annotations.at(PAUSE_ROLLOUT).value
    return isinstance(value, str) and value.strip().lower() != "false"


def approved(annotations: Node) -> str:
    """Return how the fingerprint of the approved certificate begins, in lower case without colons; else empty."""
    value = annotations.at(APPROVE).value
    if not isinstance(value, str) or len(value.strip()) > LONGEST_FINGERPRINT:
        return ""
    return value.strip().replace(":", "").lower()
