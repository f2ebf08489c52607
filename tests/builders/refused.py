"""A resource whose pods serve a certificate that every one has proven, and a renewed one that clients refuse."""

from base64 import b64decode
from collections.abc import Iterable, Sequence
from dataclasses import replace

from builders.authority import Authority
from builders.whole_reconcile import MX, PATH, Pods, Servers, WholeReconcile
from fakes.clock import WallClock
from mailtls.api.reading.document import Json
from mailtls.api.reading.spec import parse
from mailtls.api.spec import Desired
from mailtls.kube.interface import Executed
from mailtls.kube.journal import sealed_pair
from mailtls.kube.pairs import path, previous_json
from mailtls.kube.previous import PreviousPairs, keep
from mailtls.pki.certificate import Certificate, KeyMaterial, parse_chain
from mailtls.probe.facts import Facts
from mailtls.probe.target import Depth, Endpoint, Expected, Target
from mailtls.reasons.reason import Finding, Reason
from mailtls.rollout.going_back import was_verified

SECRET, PREVIOUS = path("mail", "mx-tls"), path("mail", "mx-tls-previous")
ROOTS = "/api/v1/namespaces/mail/configmaps/roots"
PODS = ("postfix-0", "postfix-1", "postfix-2")


class LoadingServers(Servers):
    """Servers that serve what they have loaded last: `loaded` by pod, `ever` all that each has served.

    Clients refuse the leaves in `refused` for the reason given there; None: the port shows no certificate with it.
    """

    def __init__(self, cluster: Pods, clock: WallClock) -> None:
        super().__init__(cluster, clock)
        self.loaded: dict[str, str] = {}
        self.ever: list[tuple[str, str]] = []
        self.refused: dict[str, Reason] = {}
        self.blind: frozenset[Reason] = frozenset()
        cluster.on_cat = lambda _pod: Executed(0, self._content(), "")
        cluster.on_reload = self._load

    def _content(self) -> str:
        return b64decode(self.cluster.objects[SECRET]["data"]["tls.crt"]).decode()

    def _load(self, pod: str) -> Executed:
        self.load(pod)
        return Executed(0, "", "")

    def load(self, pod: str) -> None:
        """Let a server read the file, as one that starts does."""
        self.loaded[pod] = parse_chain(self._content()).sha256
        self.ever.append((pod, self.loaded[pod]))

    def _endpoint(self, target: Target, expected: Expected) -> Endpoint:
        served = self.loaded.get(target.pod)
        reason = self.refused.get(served or "")
        if reason in self.blind:
            return Endpoint(target, self.clock.now(), (Finding(reason, "No TLS is offered."),), None)
        found = (Finding(reason, "Clients turn it down."),) if reason else ()
        if served != expected.leaf_sha256:
            found = (Finding(Reason.SERVING_OLD_CERTIFICATE, "Another one is served."),)
        return Endpoint(target, self.clock.now(), found, served)

    def probe(self, targets: Iterable[Target], expected: Expected, depth: Depth = Depth.QUICK) -> Sequence[Endpoint]:
        """Answer for each target at once."""
        return [self._endpoint(each, expected) for each in targets]

    def examine(self, targets: Iterable[Target], expected: Expected) -> Sequence[tuple[Endpoint, Facts]]:
        """Examine nothing."""
        return []


class Refused(WholeReconcile):
    """`first` serves in all pods, and is proven; `renew` stores another one, which clients refuse."""

    servers: LoadingServers

    def __init__(self, pods: int = 3, **rollout: str) -> None:
        self.authority = Authority()
        super().__init__(pods, servers=self._make_servers)
        trust = {"configMapKeyRef": {"name": "roots", "key": "ca.crt"}}
        self.cluster.create(
            ROOTS.rsplit("/", 1)[0],
            {"metadata": {"name": "roots", "namespace": "mail"}, "data": {"ca.crt": self.authority.root_pem}},
        )
        self.change(probe={"trust": trust}, rollout=rollout)
        for number in range(pods):
            self.servers.load(f"postfix-{number}")
        self.first = self.serving()
        self.run()
        assert self.status()["secret"]["verified"]
        self.servers.ever.clear()
        self.cluster.reloaded.clear()

    def _make_servers(self, cluster: Pods, clock: WallClock) -> LoadingServers:
        self.servers = LoadingServers(cluster, clock)
        return self.servers

    def _put_certificate(self) -> None:
        self.store()

    def store(self) -> Certificate:
        """Store a certificate of the authority as the last step of an order does."""
        issued = self.authority.issue("mx.example.test")
        key, certificate = KeyMaterial(issued.key.encode()), parse_chain(issued.chain)
        desired = parse(self.cluster.objects[PATH], self.defaults)
        known = self.observer.observe(desired, self.cluster.objects[PATH])
        before = replace(known.snapshot.secret, is_verified=was_verified(known))
        pair = self.secrets.store(desired, certificate, key, before)
        self.secrets.keep_copy(desired, pair, None)
        return certificate

    def renew(self, reason: Reason = Reason.UNTRUSTED_ROOT) -> Certificate:
        """Store another certificate, which clients refuse."""
        made = self.store()
        self.servers.refused[made.sha256] = reason
        return made

    def unproven(self) -> None:
        """Keep the first pair as one that not every pod had proven."""
        desired, seal = self.desired(), self.secrets.seal
        pair = PreviousPairs(self.cluster, seal).read(desired, self.secrets.serving(desired))
        assert pair is not None
        keep(self.cluster, desired, sealed_pair(previous_json(desired, replace(pair, is_verified=False)), seal))

    def desired(self) -> Desired:
        """The spec."""
        return parse(self.cluster.objects[PATH], self.defaults)

    def request(self, what: str, value: str) -> None:
        """Set an annotation."""
        self.cluster.objects[PATH]["metadata"].setdefault("annotations", {})[f"mailtls.dev/{what}"] = value
        self.observer.note_event(MX)

    def serving(self) -> Certificate:
        """What the Secret holds."""
        return _certificate(self.cluster.objects[SECRET])

    def kept(self) -> Certificate:
        """What a rollback would bring back."""
        desired = self.desired()
        pair = PreviousPairs(self.cluster, self.secrets.seal).read(desired, self.secrets.serving(desired))
        assert pair is not None
        assert pair.certificate is not None
        return pair.certificate

    def status(self) -> Json:
        """The status as users see it."""
        found: Json = self.cluster.objects[PATH]["status"]
        return found


def _certificate(secret: Json) -> Certificate:
    return parse_chain(b64decode(secret["data"]["tls.crt"]).decode())
