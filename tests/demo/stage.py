"""Where the story is told: what differs between the embedded cluster and one that somebody else runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from testbed.images import POSTFIX
from testbed.mailserver import MailServer

if TYPE_CHECKING:
    from demo.client import Target
    from testbed.sandbox import Sandbox


@dataclass(frozen=True, slots=True)
class Stage(ABC):
    """A namespace of a cluster where the operator is installed, and the name that it is to certify there.

    `other_root` is the name of a root that the CA offers a chain to as well, and that nobody trusts.
    """

    sandbox: Sandbox
    host: str
    other_root: str
    postfix_image: str = POSTFIX

    def mail_server(self, *, secret: str | None) -> MailServer:
        """The story's Postfix, with a Secret mounted or without."""
        return MailServer(self.sandbox, self.host, secret=secret, image=self.postfix_image)

    def await_ready(self, server: MailServer) -> None:
        """Wait until its pods are ready; raises Trouble with a sentence when they never will be."""
        server.wait_until_ready()

    @abstractmethod
    def targets(self, server: MailServer) -> list[Target]:
        """Every port of every pod, and where a client of this machine reaches it."""

    @abstractmethod
    def kubectl(self, line: str) -> str:
        """What a person types to run kubectl here."""

    @property
    @abstractmethod
    def operator_namespace(self) -> str:
        """Where the operator is."""

    @property
    @abstractmethod
    def clean_up(self) -> tuple[str, ...]:
        """What a person types at the end."""
