"""What must hold at every moment of a simulation, whoever fails: looked at with each effect that the operator has."""

import json
from base64 import b64decode
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from fakes.simulation.api import Write
from fakes.simulation.authority import Order
from fakes.simulation.plan import Wanted
from fakes.simulation.servers import Daemon, Server
from fakes.simulation.world import World
from mailtls.api.reading.document import Json
from mailtls.api.resource import APPROVE, PAUSE_ROLLOUT, annotations_of, certificate_annotation, restart_annotation
from mailtls.issuance.bootstrap import SUBJECT
from mailtls.rollout.permission import ON_PURPOSE, SHORTEST_APPROVAL
from mailtls.rollout.turns import STANDSTILL

STRANGER: Final = "/api/v1/namespaces/a/secrets/a-persons-own"
LONGEST_PASS: Final = 180.0  # seconds: the step in which it ends may run two commands that hang
AT_ONCE: Final = 60.0  # seconds in which all servers of a pod are reloaded, one after the other
OLD: Final = timedelta(days=3)  # before its expiry another placeholder takes the place of one
RACE: Final = 5.0  # seconds in which a pod may become ready unseen
URGENT: Final = timedelta(days=10)  # more than the days before expiry in which windows do not count
UNSETTLED: Final = 15.0  # seconds after an accident in which a report may be older than it


class Audit:
    """Notes each breach of a rule, with what happened before."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.breaches: list[str] = []
        self._told: dict[tuple[str, str], list[Server]] = {}
        self._expected: dict[tuple[str, str], str] = {}
        self._served: set[bytes] = set()  # public keys
        self._begun: set[tuple[str, str]] = set()  # paths and leaves
        self._restarted: dict[str, tuple[str, str]] = {}  # for which leaf a workload was asked to restart last
        self.writes: list[tuple[float, str]] = []  # of the operator: when and where
        world.api.audits.append(self._on_write)
        world.ca.ordered = self._on_order
        world.ca.issued = self._on_certificate
        world.servers.on_reload = self._on_reload
        world.api.on_evict = self._on_evict
        self.reasons: list[tuple[str, str]] = []  # type and reason of conditions that were not True
        world.api.put(STRANGER, {"type": "kubernetes.io/tls", "metadata": {}, "data": {"tls.crt": "", "tls.key": ""}})

    def breach(self, words: str) -> None:
        """Note it."""
        self.breaches.append(f"{self.world.runtime.monotonic():.2f} step {self.world.steps}: {words}")

    # the CA

    def _on_order(self, order: Order) -> None:
        """There is one open order for each need."""
        others = [each.number for each in self.world.ca.open_orders(order.names) if each is not order]
        if others:
            self.breach(f"order {order.number} for {order.names} beside the open {others}")
        if any(each.is_external and order.names[0] == each.names()[0] for each in self.world.wanted):
            self.breach(f"order {order.number} for {order.names}, whose certificate others order")
        self._require_no_suspension(order.names, "order")
        self._require_no_hold(order)

    def _on_certificate(self, order: Order) -> None:
        """The key is saved of each certificate that there is."""
        if order.spki not in self._keys():
            self.breach(f"the key of certificate {order.number} for {order.names} is saved nowhere")
        self._require_no_suspension(order.names, "finalize")

    def _require_no_hold(self, order: Order) -> None:
        """After a rollback there is another order when its time has come, or a person decides, and not before."""
        for wanted in self.world.wanted:
            resource, secret = (self.world.api.objects.get(path) for path in (wanted.path, wanted.secret_path))
            if order.names[0] != wanted.names()[0] or resource is None or secret is None:
                continue
            notes, hold = _annotations(secret), _hold(secret)
            requested = _annotations(resource).get("mailtls.dev/renew")
            is_requested = requested != notes.get("mailtls.dev/renew-handled")
            is_held = hold.get("generation") == resource["metadata"]["generation"] and not is_requested
            leaf, now = _leaf(secret), self.world.runtime.now()
            is_good = leaf is not None and leaf.not_valid_after_utc > now
            if is_held and is_good and now < datetime.fromisoformat(hold["until"]):
                self.breach(f"order {order.number} for {wanted.key}, though {hold} holds it")

    def _keys(self) -> set[bytes]:
        secrets = [body for path, body in self.world.api.objects.items() if "/secrets/" in path]
        return {found for each in secrets if (found := _public(each)) is not None}

    def _require_no_suspension(self, names: tuple[str, ...], what: str) -> None:
        for wanted in self.world.wanted:
            if names[0] == wanted.names()[0] and self._is_known_to_be_suspended(wanted):
                self.breach(f"{what} for {wanted.key}, which is known to be suspended")

    def _is_known_to_be_suspended(self, wanted: Wanted) -> bool:
        """Whether the operator was told of a suspension that still stands."""
        return self._is_known(wanted, lambda body: bool(body["spec"].get("suspend")))

    def _is_known(self, wanted: Wanted, decided: Callable[[Json], bool]) -> bool:
        process = self.world.process
        known = process.received.get(wanted.key) if process else None
        now = self.world.api.objects.get(wanted.path)
        if known is None or now is None or now["metadata"]["uid"] != known["metadata"]["uid"]:
            return False
        return decided(known) and decided(now)

    # pods

    def _on_reload(self, server: Server, daemon: Daemon) -> None:
        """One pod of a workload is reloaded at a time, its servers in order, the next pod once it is proven."""
        group = server.namespace, server.workload
        wanted = next(
            each
            for each in self.world.wanted
            if (each.namespace, f"{each.name}-tls") == (server.namespace, server.secret)
        )
        stored = _certificate(self.world.api.objects.get(wanted.secret_path))
        if self._expected.get(group) != stored:
            self._expected[group], self._told[group] = stored, []
        now = self.world.runtime.monotonic()
        for other in self._told[group]:
            lives = self.world.servers.by_pod.get((other.namespace, other.name)) is other
            if other is not server and lives and not other.serves(stored, now):
                self.breach(f"{server.name} is reloaded while {other.name} does not serve the certificate yet")
            if other is not server and lives and _is_refused(self.world, wanted):
                self.breach(f"{server.name} is reloaded with what clients refuse at {other.name}")
        self._told[group].append(server)
        self._require_order(server, daemon)
        if self._is_known_to_be_suspended(wanted):
            self.breach(f"{server.name} is reloaded, though {wanted.key} is known to be suspended")

    def _require_order(self, server: Server, daemon: Daemon) -> None:
        """The servers of a pod that need a reload get it in the order of the spec."""
        now = self.world.runtime.monotonic()
        for earlier in server.daemons[: server.daemons.index(daemon)]:
            if earlier.chain(now) != server.file(now) and earlier.reloaded_at < now - AT_ONCE:
                self.breach(f"port {daemon.port} of {server.name} is reloaded before port {earlier.port}")
        daemon.reloaded_at = now

    def _on_evict(self, pod: Json) -> None:
        """A pod is evicted only while the others of its workload serve, and never one that serves the certificate.

        One that is not ready serves nobody, whatever it has loaded.
        """
        servers, now = self.world.servers, self.world.runtime.monotonic()
        evicted = servers.by_pod[pod["metadata"]["namespace"], pod["metadata"]["name"]]
        stored = _certificate(self.world.api.objects.get(self.world.owner_of(evicted).secret_path))
        if now > max(evicted.ready_at, evicted.away_until) + RACE and evicted.serves(stored, now):
            self.breach(f"{evicted.name} is evicted, though it serves the certificate")
        for other in servers.by_pod.values():
            is_beside = (other.namespace, other.workload) == (evicted.namespace, evicted.workload)
            if is_beside and other is not evicted and servers.is_ready(evicted) and not servers.is_ready(other):
                self.breach(f"{evicted.name} is evicted while {other.name} is not ready")

    # the API

    def _on_write(self, write: Write) -> None:
        process = self.world.process
        if not write.process.startswith("operator"):
            return
        if process is None or process.name != write.process:
            self.breach(f"{write.process} writes {write.path} and is dead")
        elif not process.leadership.is_leading():
            self.breach(f"{write.process} writes {write.path} and does not lead")
        if write.path == STRANGER:
            self.breach("the Secret of a stranger is written")
        self.writes.append((self.world.runtime.monotonic(), write.path))
        self._on_beginning(write)
        self._on_rollout(write)
        for wanted in self.world.wanted:
            if wanted.is_external and write.path.startswith(wanted.secret_path):
                self.breach(f"{write.path} is written, though others write the Secret of {wanted.key}")
            elif write.path == wanted.secret_path:
                self._on_serving_secret(wanted, write)
            elif write.path == f"{wanted.secret_path}-next":
                self._on_staged_key(wanted, write)
            elif write.path == wanted.path and write.after is not None:
                self._on_status(wanted, write.after)

    def _on_beginning(self, write: Write) -> None:
        """No pod or workload is begun, for a certificate that it was not begun for, while its resource is paused."""
        for wanted in self.world.wanted:
            secret = f"{wanted.name}-tls"
            leaf = _begun_for(write.after, secret) if f"/namespaces/{wanted.namespace}/" in write.path else None
            if leaf is None or (write.path, leaf) in self._begun:
                continue
            self._begun.add((write.path, leaf))
            if leaf in self.world.unfit:
                self.breach(f"{write.path} is begun with a certificate that is for other names")
            if _begun_for(write.before, secret) != leaf and self._is_known(wanted, _is_paused):
                self.breach(f"{write.path} is begun, though {wanted.key} is known to be paused")
            if _begun_for(write.before, secret) != leaf and self._is_known(wanted, _has_closed_windows):
                self._require_urgency(wanted, write)
            if _begun_for(write.before, secret) != leaf and self._is_known(wanted, partial(_is_unapproved, leaf)):
                self._require_canary(wanted, write, leaf)

    def _require_urgency(self, wanted: Wanted, write: Write) -> None:
        """Outside of the windows pods are begun only for clients that are turned away, or soon will be."""
        if self._is_served_well(wanted, URGENT):
            self.breach(f"{write.path} is begun outside of the windows of {wanted.key}")

    def _require_canary(self, wanted: Wanted, write: Write, leaf: str) -> None:
        """Without the approval of a person that is required one pod is begun, unless clients are turned away."""
        begun = [path for path, other in self._begun if other == leaf and path != write.path]
        objects, secret = self.world.api.objects, f"{wanted.name}-tls"
        others = [path for path in begun if _begun_for(objects.get(path), secret) == leaf]
        is_workload = "/statefulsets/" in write.path
        if (others or is_workload) and self._is_served_well(wanted, timedelta(0)):
            self.breach(f"{write.path} is begun without approval of {wanted.key}")

    def _is_served_well(self, wanted: Wanted, for_long: timedelta) -> bool:
        """Whether all clients have a certificate that they accept, for so long, and none was put back."""
        secret, now = self.world.api.objects.get(wanted.secret_path), self.world.runtime.monotonic()
        own = [each for each in self.world.servers.by_pod.values() if self.world.owner_of(each) is wanted]
        leaves = [_leaf_of(chain) for each in own for chain in each.chains(now)]
        until = self.world.runtime.now() + for_long
        is_valid = all(each is not None and each.not_valid_after_utc > until for each in leaves)
        is_trusted = not any(
            each.serial_number in self.world.ca.refused or _is_placeholder(each) for each in leaves if each is not None
        )
        return secret is not None and is_valid and is_trusted and not _hold(secret)

    def _on_rollout(self, write: Write) -> None:
        """Who writes to pods and workloads has its turn, and asks for one restart of each workload at most."""
        kind, name = write.path.split("/")[-2:]
        if kind not in {"pods", "statefulsets"}:
            return
        workload = name if kind == "statefulsets" else name.rsplit("-", 1)[0]
        for wanted in self.world.wanted:
            is_its_own = f"/namespaces/{wanted.namespace}/" in write.path
            if is_its_own and workload in {each for each, _, _ in wanted.workloads}:
                self._require_turn(wanted, write)
                self._require_one_restart(wanted, write)
                self._require_no_refusal(wanted, write)

    def _require_turn(self, wanted: Wanted, write: Write) -> None:
        """No more resources roll out at once than the installation allows."""
        process, now = self.world.process, self.world.runtime.now()
        if process is None or process.coordinator.most is None:
            return
        turns = process.coordinator._turns
        if wanted.key not in turns._holders:
            self.breach(f"{write.path} is written, and {wanted.key} has no turn")
        at_work = {key for key, held in turns._holders.items() if held.since + STANDSTILL > now}
        if len(at_work) > process.coordinator.most and not at_work <= process.restored:
            self.breach(f"{write.path} is written, and {sorted(map(str, at_work))} roll out at once")

    def _require_one_restart(self, wanted: Wanted, write: Write) -> None:
        """Whoever puts a template back that was annotated for a certificate begins no endless restarts."""
        asked, had = (
            annotations_of(each["spec"]["template"]).get(restart_annotation(f"{wanted.name}-tls"))
            if each is not None and "template" in each.get("spec", {})
            else None
            for each in (write.after, write.before)
        )
        if write.after is None or asked is None or asked == had:
            return
        uid = write.after["metadata"]["uid"]
        if self._restarted.get(write.path) == (uid, asked):
            self.breach(f"{write.path} is restarted twice for one certificate")
        self._restarted[write.path] = uid, asked

    def _require_no_refusal(self, wanted: Wanted, write: Write) -> None:
        """What clients refuse at one pod is brought to no other one, however it would get there."""
        if not _is_refused(self.world, wanted):
            return
        stored = _certificate(self.world.api.objects.get(wanted.secret_path))
        before = self.world.runtime.monotonic() - LONGEST_PASS
        for server in self.world.servers.by_pod.values():
            is_its_own = self.world.owner_of(server) is wanted and not write.path.endswith(f"/pods/{server.name}")
            if is_its_own and server.has_served(stored, before, before + LONGEST_PASS):
                self.breach(f"{write.path} is written, though clients refuse the certificate at {server.name}")

    def _on_serving_secret(self, wanted: Wanted, write: Write) -> None:
        """What serves is whole, for the right names, and never older than what it replaces, unless somebody asked."""
        if write.after is None:
            self.breach(f"the operator deletes {write.path}")
            return
        if write.before is not None and write.before.get("data") == write.after.get("data"):
            return  # a mark on it alone
        new, old = _leaf(write.after), _leaf(write.before)
        if new is None or _public(write.after) != _spki(new):
            self.breach(f"{write.path} holds no whole pair")
            return
        if _is_placeholder(new) and old is not None and not _is_placeholder(old):
            self.breach(f"{write.path} gets a placeholder in the place of a certificate")
        if _is_placeholder(new) and old is not None and old.not_valid_after_utc > self.world.runtime.now() + OLD:
            self.breach(f"{write.path} gets another placeholder, and the one before was young")
        self._served.add(_spki(new))
        if wanted.names()[0] not in _names(new):
            self.breach(f"{write.path} holds a certificate for {_names(new)}")
        is_older = old is not None and new.not_valid_before_utc < old.not_valid_before_utc and not _is_placeholder(old)
        if is_older and not self._is_rollback(wanted) and "refused" not in _hold(write.after):
            self.breach(f"{write.path} holds an older certificate than before")
        is_another = old is None or new.serial_number != old.serial_number
        if is_another and self._is_known_to_be_suspended(wanted):
            self.breach(f"{write.path} gets another certificate, though {wanted.key} is known to be suspended")

    def _on_staged_key(self, wanted: Wanted, write: Write) -> None:
        """A key that the CA has certified for what is wanted is kept until its certificate has served."""
        lost = _public(write.before) if write.before is not None else None
        resource = self.world.api.objects.get(wanted.path)
        if lost is None or resource is None or lost in self._keys() | self._served:
            return
        if any(each.spki == lost and list(each.names) == resource["spec"]["dnsNames"] for each in self.world.ca.orders):
            self.breach(f"the key of a certificate for {wanted.key} is lost")

    def _is_rollback(self, wanted: Wanted) -> bool:
        annotations = self.world.api.objects[wanted.path]["metadata"].get("annotations") or {}
        return "mailtls.dev/rollback" in annotations

    def _on_status(self, wanted: Wanted, body: Json) -> None:
        """Nobody is told that all is well while a pod serves something else."""
        said = (body.get("status") or {}).get("conditions", ())
        self.reasons += [(each["type"], each["reason"]) for each in said if each["status"] != "True"]
        ready = condition(body, "Ready")
        now = self.world.runtime.monotonic()
        outlook = [kind for kind in ("Reconciling", "Stalled") if condition(body, kind)]
        if ready and len(outlook) != (ready["status"] != "True"):
            self.breach(f"{wanted.key} is Ready: {ready['status']}, and says {outlook}")
        if ready.get("reason") in ON_PURPOSE:
            return  # what is served is good, which the message says, and the rest waits
        if ready.get("status") != "True" or now - self.world.disturbed_at < UNSETTLED:
            return
        wrong = unserved(self.world, wanted)
        if wrong and ready["observedGeneration"] == body["metadata"]["generation"]:
            self.breach(f"{wanted.key} is said to be ready, and {wrong} serve something else")


def _begun_for(body: Json | None, secret: str) -> str | None:
    """The leaf that a pod was reloaded with, or that a workload is restarted for; None where it is neither."""
    template = ((body or {}).get("spec") or {}).get("template") or {}
    return annotations_of(body or {}).get(certificate_annotation(secret)) or annotations_of(template).get(
        restart_annotation(secret)
    )


def _is_paused(body: Json) -> bool:
    return PAUSE_ROLLOUT in annotations_of(body)


def _is_unapproved(leaf: str, body: Json) -> bool:
    """Whether a person has to approve the certificate, and has not."""
    is_required = (body["spec"].get("rollout") or {}).get("approval") == "Required"
    approved = annotations_of(body).get(APPROVE, "")
    return is_required and not (len(approved) >= SHORTEST_APPROVAL and leaf.startswith(approved))


def _has_closed_windows(body: Json) -> bool:
    """Whether it has windows at all: those of the accidents are closed for years."""
    return bool((body["spec"].get("rollout") or {}).get("windows"))


def unserved(world: World, wanted: Wanted) -> list[str]:
    """Return the pods of a resource that do not serve what its Secret holds."""
    stored, now = _certificate(world.api.objects.get(wanted.secret_path)), world.runtime.monotonic()
    workloads = {name for name, _, _ in wanted.workloads}
    return [
        server.name
        for server in world.servers.by_pod.values()
        if server.namespace == wanted.namespace and server.workload in workloads and not server.serves(stored, now)
    ]


def condition(body: Json, kind: str) -> Json:
    """Return a condition of a resource, empty where it was not reported."""
    found: Json = next((each for each in (body.get("status") or {}).get("conditions", ()) if each["type"] == kind), {})
    return found


def unfinished(world: World) -> list[str]:
    """Say what is not as it must be in the end."""
    return [fault for wanted in world.wanted for fault in _faults_of(world, wanted)] + _left_over(world)


def _faults_of(world: World, wanted: Wanted) -> list[str]:
    body = world.api.objects.get(wanted.path)
    if body is None:
        return []
    ready = condition(body, "Ready")
    found = []
    is_good = ready.get("status") == "True" or ready.get("reason") == "RolledBack"
    if not is_good or ready.get("observedGeneration") != body["metadata"]["generation"]:
        found.append(f"{wanted.key} is not ready: {ready.get('reason')}: {ready.get('message')}")
    leaf = _leaf(world.api.objects.get(wanted.secret_path))
    if leaf is None or not set(body["spec"]["dnsNames"]) <= _names(leaf):
        found.append(f"the Secret of {wanted.key} is not for {body['spec']['dnsNames']}")
    if wrong := unserved(world, wanted):
        found.append(f"{wanted.key}: {wrong} do not serve what is stored")
    return found


def _is_refused(world: World, wanted: Wanted) -> bool:
    leaf = _leaf(world.api.objects.get(wanted.secret_path))
    return leaf is not None and leaf.serial_number in world.ca.refused


def is_fit(world: World, wanted: Wanted) -> bool:
    """Whether what is stored can serve: for all names, for a while, and no client refuses it."""
    leaf, body = _leaf(world.api.objects.get(wanted.secret_path)), world.api.objects[wanted.path]
    if leaf is None or _is_refused(world, wanted):
        return False
    return leaf.not_valid_after_utc > world.runtime.now() + URGENT and set(body["spec"]["dnsNames"]) <= _names(leaf)


def refused(world: World) -> list[int]:
    """Which resources keep a certificate that clients refuse, for want of another one, until a person decides."""
    return [which for which, wanted in enumerate(world.wanted) if _is_refused(world, wanted)]


def _left_over(world: World) -> list[str]:
    found = []
    for path, body in world.api.objects.items():
        if "/secrets/" not in path:
            continue
        if body["metadata"].get("finalizers"):
            found.append(f"{path} is held by a finalizer")
        owners = {each["uid"] for each in body["metadata"].get("ownerReferences") or ()}
        if owners and not owners & {each["metadata"]["uid"] for each in world.api.objects.values()}:
            found.append(f"{path} has lost its owner")
    tokens: dict[Any, str] = world.process.tokens._answers if world.process else {}
    published = [host for host, _ in (*tokens, *world.zone.records)]
    return found + [f"the challenge response for {host} is still there" for host in published]


def _annotations(body: Json) -> Json:
    return body["metadata"].get("annotations") or {}


def _hold(secret: Json) -> Json:
    """What a rollback wrote on it."""
    found: Json = json.loads(_annotations(secret).get("mailtls.dev/rolled-back", "{}"))
    return found


def _data(secret: Json | None, entry: str) -> bytes:
    return b64decode(((secret or {}).get("data") or {}).get(entry) or "")


def _certificate(secret: Json | None) -> str:
    return _data(secret, "tls.crt").decode()


def _leaf(secret: Json | None) -> x509.Certificate | None:
    return _leaf_of(_certificate(secret))


def _leaf_of(chain: str) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificates(chain.encode())[0]
    except ValueError:
        return None


def _is_placeholder(certificate: x509.Certificate) -> bool:
    return certificate.issuer.rfc4514_string() == f"CN={SUBJECT}"


def _spki(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _public(secret: Json) -> bytes | None:
    try:
        key: Any = load_pem_private_key(_data(secret, "tls.key"), None)
    except (ValueError, TypeError):
        return None
    found: bytes = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return found


def _names(certificate: x509.Certificate) -> set[str]:
    extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return set(extension.value.get_values_for_type(x509.DNSName))
