"""The extra connections of a full or deep probe: one after the other, as a server must not see a burst."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from OpenSSL import SSL

from mailtls.hostname import dialled
from mailtls.pki.served_certificate import read_served
from mailtls.probe.conversation import Limits
from mailtls.probe.extra_connection import ExtraConnection
from mailtls.probe.facts import Fault, Inspection, Login, LoginOutcome, Outcome, Phase, Question, Session, Stop
from mailtls.probe.target import Depth, Expected, Target, TlsMode
from mailtls.probe.tls.client_hello import WEAK_SUITES
from mailtls.probe.tls.handshake import Offer, TlsClient, TrustStore, client_context

UNKNOWN_NAME: Final = "unknown.invalid"  # RFC 2606 section 2: nobody serves it
PATIENCE_WITH_UNRESPONSIVE: Final = 2  # connections in a row that do not even come to TLS
_ANY: Final = b"ALL:@SECLEVEL=0"


def _only(version: int) -> Offer:
    return Offer(version, version, _ANY)


OFFERS: Final[Mapping[Question, Offer]] = {
    Question.NO_SNI: Offer(),
    Question.UNKNOWN_SNI: Offer(),
    Question.ECDSA: Offer(newest=SSL.TLS1_2_VERSION, ciphers=b"ECDHE+aECDSA:@SECLEVEL=0"),
    Question.RSA: Offer(newest=SSL.TLS1_2_VERSION, ciphers=b"ECDHE+aRSA:@SECLEVEL=0"),
    Question.TLS_1_0: _only(SSL.TLS1_VERSION),
    Question.TLS_1_1: _only(SSL.TLS1_1_VERSION),
    Question.TLS_1_2: _only(SSL.TLS1_2_VERSION),
    Question.TLS_1_3: _only(SSL.TLS1_3_VERSION),
}
_LEGACY: Final = Offer(SSL.TLS1_VERSION, SSL.TLS1_1_VERSION, _ANY)
_VERSIONS: Final = {"TLSv1.2": Question.TLS_1_2, "TLSv1.3": Question.TLS_1_3}
_KEY_TYPES: Final = {"RSA": Question.RSA, "ECDSA": Question.ECDSA}
RESUMED: Final = {Question.TLS_1_2: Question.RESUMED_1_2, Question.TLS_1_3: Question.RESUMED_1_3}


@dataclass(frozen=True, slots=True)
class FirstSession:
    """The session of the conversation before, and its ticket: they answer questions that need no connection."""

    session: Session
    ticket: SSL.Session | None = None

    @property
    def questions(self) -> frozenset[Question]:
        """What the session is an answer to: its version, and the type of its key."""
        leaf = read_served(self.session.chain[0])
        key_type = _KEY_TYPES.get(leaf.key_kind) if leaf else None
        return frozenset(each for each in (_VERSIONS.get(self.session.tls_version), key_type) if each)


class Inspector:
    """Asks one target after the conversation with it; what is found grows, so that a time-out loses nothing.

    It uses few connections, and with fewer still that end in a refusal: no client can say QUIT to a server that
    refuses the handshake, and its log calls that a lost connection, which programs that ban attackers count.
    """

    def __init__(self, target: Target, expected: Expected, trust: TrustStore, limits: Limits) -> None:
        self._target, self._expected, self._trust, self._limits = target, expected, trust, limits
        self._found = Inspection()
        self._has_had_enough = False
        self._weak_left = list(WEAK_SUITES)
        self._certificates: dict[bytes, bytes] = {}  # each is held once, whatever serves it

    async def inspect(self, depth: Depth, first: FirstSession) -> Inspection:
        """Ask all questions of `depth` that time allows; never raises for what the server or the network does."""
        if self._expected.login is not None and self._target.port.is_for_users:
            self._found = replace(self._found, login=Login(LoginOutcome.NOT_REACHED))
        self._found = replace(self._found, unprobed=self._other_names())
        begun = asyncio.get_running_loop().time()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.inspection):
                await self._inspect_all(depth, first)
        if not self._has_had_enough:
            with suppress(TimeoutError):  # what the first ones have left of their time is for the names, too
                async with asyncio.timeout_at(begun + self._limits.inspection + self._limits.names):
                    await self._probe_names()
        return self._found

    def _other_names(self) -> tuple[str, ...]:
        return tuple(name for name in self._expected.names if dialled(name) != self._target.server_name)

    async def _probe_names(self) -> None:
        """Ask for each other name by SNI, a handshake each; whoever had enough of us is left alone here, too."""
        unresponsive = 0
        for name in self._other_names()[: self._limits.most_names]:
            if self._holds_enough():
                return
            answer = await self._name(dialled(name))
            unresponsive = unresponsive + 1 if _is_unresponsive(answer) else 0
            if unresponsive == PATIENCE_WITH_UNRESPONSIVE:
                return
            if not _is_unresponsive(answer):
                left = tuple(each for each in self._found.unprobed if each != name)
                self._found = replace(self._found, names={**self._found.names, name: answer}, unprobed=left)
            if isinstance(answer, Session) and (other := self._other_type_of_key(answer)) is not None:
                await self._probe_second(name, other)

    async def _probe_second(self, name: str, question: Question) -> None:
        answer = self._held(await self._connection().open_session(self._client(OFFERS[question], dialled(name))))
        if isinstance(answer, Session):
            self._found = replace(self._found, second_names={**self._found.second_names, name: answer})

    def _other_type_of_key(self, session: Session) -> Question | None:
        """The question that shows a name's other certificate, where the server has both types for the first name."""
        if not all(self._found.session(question) for question in _KEY_TYPES.values()):
            return None
        leaf = read_served(session.chain[0])
        return next((each for kind, each in _KEY_TYPES.items() if leaf and kind != leaf.key_kind), None)

    async def _name(self, host: str) -> Outcome:
        answer = await self._connection().open_session(self._client(Offer(), host))
        if _is_closed_in_handshake(answer):
            answer = await self._connection().open_session(self._client(Offer(), host))
        return self._held(answer)

    def _held(self, answer: Outcome) -> Outcome:
        """Hold each certificate once: a hundred names have one chain between them, as a rule."""
        if not isinstance(answer, Session):
            return answer
        return replace(answer, chain=tuple(self._certificates.setdefault(each, each) for each in answer.chain))

    def _holds_enough(self) -> bool:
        """Whether the server has shown so many certificates that more would cost all others the memory."""
        return sum(map(len, self._certificates)) >= self._limits.certificates

    async def _inspect_all(self, depth: Depth, first: FirstSession) -> None:
        unresponsive, known = 0, first.questions
        for question in OFFERS:
            if question in self._found.answers:
                continue
            answers = await (self._known(question, first) if question in known else self._answers(question, known))
            self._found = replace(self._found, answers={**self._found.answers, **answers})
            if question not in known:
                unresponsive = unresponsive + 1 if _is_unresponsive(answers[question]) else 0
            if (
                unresponsive == PATIENCE_WITH_UNRESPONSIVE or self._holds_enough()
            ):  # it has had enough of us, or we of it
                self._has_had_enough = True
                last = answers.get(question)
                self._found = replace(self._found, cut_short=last if isinstance(last, Stop) else None)
                return
        await self._find_weak_ciphers()
        if depth is Depth.DEEP and self._target.port.tls_mode is TlsMode.START_TLS:
            self._found = replace(self._found, injected=await self._connection().inject(self._client(Offer())))
        await self._log_in()

    async def _log_in(self) -> None:
        """Try the credentials where users would: nobody logs in at a port that takes mail from strangers."""
        whom = self._expected.login
        if whom is None or self._found.login is None:
            return
        self._found = replace(self._found, login=Login(LoginOutcome.INCOMPLETE, "the time for all questions is over"))
        login = await self._connection().log_in(self._client(Offer()), whom, is_proven=self._is_proven)
        self._found = replace(self._found, login=login)

    def _is_proven(self, session: Session) -> bool:
        """Whether the server is who it should be: it has the stored certificate, else one that clients trust."""
        leaf = read_served(session.chain[0])
        if leaf is None:
            return False
        if self._expected.leaf_sha256 is not None:
            return leaf.sha256 == self._expected.leaf_sha256.lower()
        is_trusted = session.verification.code == 0  # which says that it is valid at this moment, too
        return is_trusted and leaf.for_servers and leaf.names(self._target.server_name)

    async def _known(self, question: Question, first: FirstSession) -> dict[Question, Outcome]:
        """Take the conversation for an answer, and resume it where a question is about that."""
        if question not in RESUMED or first.ticket is None:
            return {question: first.session}
        return {question: first.session, RESUMED[question]: await self._resume(Offer(), first.ticket)}

    async def _answers(self, question: Question, known: frozenset[Question]) -> dict[Question, Outcome]:
        if question is Question.NO_SNI and Question.TLS_1_2 not in known:
            return await self._without_sni()
        if question is Question.TLS_1_0:
            return await self._legacy()
        other = next((kind for kind, each in _KEY_TYPES.items() if each is question), None)
        if other and known & set(_KEY_TYPES.values()):
            return await self._other_key_type(question, other)
        return await self._probe(question)

    async def _without_sni(self) -> dict[Question, Outcome]:
        """Send no SNI and offer TLS 1.2 alone, as many senders do: most servers accept both at once."""
        offer = OFFERS[Question.TLS_1_2]
        answer, tls = await self._open_session(Question.NO_SNI, offer, speak=True)
        if not isinstance(answer, Session):
            is_version = answer.fault is Fault.NO_SHARED_VERSION  # whatever name is sent
            known: dict[Question, Outcome] = {Question.TLS_1_2: answer} if is_version else {}
            return {**known, **await self._probe(Question.NO_SNI)}
        both: dict[Question, Outcome] = {Question.NO_SNI: answer, Question.TLS_1_2: answer}
        ticket = tls.ticket()
        return both if ticket is None else {**both, Question.RESUMED_1_2: await self._resume(offer, ticket, "")}

    async def _legacy(self) -> dict[Question, Outcome]:
        """Offer both old versions at once, which a server that is well kept refuses once."""
        answer, _ = await self._open_session(Question.TLS_1_0, _LEGACY)
        if not isinstance(answer, Session):
            return {Question.TLS_1_0: answer, Question.TLS_1_1: answer}
        taken, left = Question.TLS_1_1, Question.TLS_1_0
        if answer.tls_version == "TLSv1":
            taken, left = left, taken
        return {taken: answer, **await self._probe(left)}

    async def _other_key_type(self, question: Question, kind: str) -> dict[Question, Outcome]:
        """Offer what needs the other type of key, and all that is weak: most servers have neither, and refuse once."""
        choice = await self._connection().choice([kind, *self._weak_left])
        if isinstance(choice, Stop):
            if choice.phase is Phase.HANDSHAKE:
                self._weak_left = []
            return {question: choice}
        self._note_weak(choice)
        return await self._probe(question)

    async def _probe(self, question: Question) -> dict[Question, Outcome]:
        """Ask one question; where a resumption hangs on it, that one too."""
        answer, tls = await self._open_session(question)
        if _is_closed_in_handshake(answer):
            answer, tls = await self._open_session(
                question
            )  # a server on its way down closes too: only twice is a refusal
        ticket = tls.ticket() if question in RESUMED and isinstance(answer, Session) else None
        if ticket is None:
            return {question: answer}
        return {question: answer, RESUMED[question]: await self._resume(OFFERS[question], ticket)}

    async def _open_session(
        self, question: Question, offer: Offer | None = None, *, speak: bool = False
    ) -> tuple[Outcome, TlsClient]:
        tls = self._client(offer or OFFERS[question], _server_name(question, self._target))
        return self._held(await self._connection().open_session(tls, speak=speak or question in RESUMED)), tls

    async def _resume(self, offer: Offer, ticket: SSL.Session, server_name: str | None = None) -> Outcome:
        """Resume; a failure counts when a session from scratch comes to its end right after it, dialog included."""
        answer = self._held(await self._connection().resume(self._client(offer, server_name, ticket)))
        if isinstance(answer, Session):
            return answer
        anew = await self._connection().resume(self._client(offer, server_name))
        return answer if isinstance(anew, Session) else Stop(Phase.CONNECT, answer.fault)

    async def _find_weak_ciphers(self) -> None:
        """Find the families that are taken: what was taken is left out of the next offer."""
        while self._weak_left and isinstance(family := await self._connection().choice(self._weak_left), str):
            self._note_weak(family)

    def _note_weak(self, family: str) -> None:
        if family in self._weak_left:
            self._weak_left.remove(family)
            self._found = replace(self._found, weak_ciphers=(*self._found.weak_ciphers, family))

    def _client(self, offer: Offer, server_name: str | None = None, ticket: SSL.Session | None = None) -> TlsClient:
        name = self._target.server_name if server_name is None else server_name
        return TlsClient(client_context(offer), name, ticket)

    def _connection(self) -> ExtraConnection:
        name = self._expected.client_name
        return ExtraConnection(self._target, client_context(), self._trust, self._limits, client_name=name)


def _server_name(question: Question, target: Target) -> str:
    return {Question.NO_SNI: "", Question.UNKNOWN_SNI: UNKNOWN_NAME}.get(question, target.server_name)


def _is_closed_in_handshake(answer: Outcome) -> bool:
    return isinstance(answer, Stop) and answer.fault is Fault.CLOSED and answer.phase is Phase.HANDSHAKE


def _is_unresponsive(answer: Outcome) -> bool:
    return isinstance(answer, Stop) and answer.phase not in {Phase.HANDSHAKE, Phase.CAPABILITIES_IN_TLS}
