"""What to do about a reason in one mail server: each sentence once, for conditions, command line and documentation."""

from collections.abc import Mapping
from typing import Final

from mailtls.reasons.further_settings import FURTHER_SETTINGS
from mailtls.reasons.reason import Reason
from mailtls.reasons.settings import SETTINGS
from mailtls.reasons.software import Software

_ALL: Final[Mapping[Reason, Mapping[Software, str]]] = {
    reason: {**SETTINGS.get(reason, {}), **FURTHER_SETTINGS.get(reason, {})} for reason in Reason
}


def settings_for(reason: Reason) -> Mapping[Software, str]:
    """Return what to do about a reason, by server; empty where it has to do with no setting of theirs."""
    return _ALL[reason]


def setting(reason: Reason, software: Software) -> str:
    """Return what to do about a reason in one server, as whole sentences; empty where there is nothing to say."""
    return settings_for(reason).get(software, "")
