"""One stream of commands: each is made from what the TPM has at that moment, and some are damaged."""

from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from typing import Any

from tests.differential.damage import damage
from tests.differential.dice import Dice
from tests.differential.judge import Judge
from tests.differential.openings import SIZES, opening
from tests.differential.pair import Auth, Exchange, Pair, Request, Split, code_name
from tests.differential.recipes import BOOK
from tests.scenarios import BY_HANDLER, Reply, parameters_of
from vtpm.commands import Command
from vtpm.engine.handles import entity_of
from vtpm.spec.attributes import TPMA_SESSION
from vtpm.spec.constants import TPM_ALG, TPM_RH, TPM_SE
from vtpm.state.entity import Entity, Role
from vtpm.state.object import Object
from vtpm.state.sequence import Sequence
from vtpm.wire.error import TPM_RC, TpmError

HIERARCHIES = (TPM_RH.OWNER, TPM_RH.ENDORSEMENT, TPM_RH.PLATFORM, TPM_RH.NULL)
DAMAGED = 0.14
"""How many of the commands are damaged."""

KEPT = 24
"""How many commands a report of a difference shows."""


@dataclass
class Blob:
    """What Create made, to be loaded."""

    parent: bytes
    """The Name of the parent."""
    private: bytes
    public: Any


class Stream(ABC):
    """A stream by its seed; `moves` has the kinds of commands and how often they come."""

    def __init__(self, judge: Judge, seed: int) -> None:
        self.seed = seed
        self.dice = Dice(seed)
        self.pair = Pair(judge, seed)
        self.log: deque[str] = deque(maxlen=KEPT)
        self.sent = 0
        self.blobs: list[Blob] = []
        self.contexts: list[tuple[Any, Any]] = []
        self.tickets: list[tuple[Reply, dict[str, Any]]] = []
        self.creations: list[tuple[bytes, bytes, Any]] = []
        """Names, hashes of creation data and tickets of what was created."""
        self.digests: list[bytes] = []
        """Policy digests that sessions have had."""
        self.recipes = list(BOOK)
        """Policies that the callers know how to satisfy."""
        self.auths = [b"", b"", b"", b"a", b"secret", bytes(5), b"x" * 20]

    def pick(self, values: Any) -> Any:
        """One of these."""
        return self.dice.pick(list(values))

    def request(self, verb: str, *handles: int, auths: list[Auth] | None = None, **given: Any) -> Request:
        """A command with parameters by name; every authorization that it needs is made."""
        command = BY_HANDLER[verb]
        parameters = []
        for side in ("theirs", "ours"):
            values = {k: getattr(v, side) if isinstance(v, Split) else v for k, v in given.items()}
            parameters.append(parameters_of(command, values))
        return self.complete(command, list(handles), (parameters[0], parameters[1]), auths)

    def complete(
        self,
        command: Command,
        handles: list[int],
        parameters: tuple[bytes, bytes],
        auths: list[Auth] | None = None,
    ) -> Request:
        """A request with authorizations."""
        if auths is None:
            roles = [argument.role for argument in command.handles[: command.authorizations]]
            auths = [self.auth_for(*pair) for pair in zip(handles, roles, strict=False)]
            if command.sessions.name != "FORBIDDEN" and self.dice.chance(0.05):
                auths += self.extra()
        theirs, ours = parameters
        return Request(command, handles, (self.pair.counterparts.translated(theirs), ours), auths)

    def shown(self, theirs: Reply, ours: Reply) -> Reply:
        """What either has made, if both can read it; else what this TPM has made."""
        either: Reply = self.pick([theirs, ours])
        return either if self.pair.judge.shares_seeds else ours

    def entity(self, handle: int) -> Entity | None:
        """What a handle refers to, if anything."""
        try:
            found: Any = entity_of(self.pair.tpm, handle, 0, 0)  # type: ignore[arg-type]
        except TpmError:
            return None
        return found if hasattr(found, "auth_value") else None

    def auth_for(self, handle: int, role: Role | None = Role.USER) -> Auth:
        """The authorization of a handle: its password most often, or a session, or a wrong one."""
        entity = self.entity(handle)
        if entity is not None and entity.auth_policy and self.dice.chance(0.5 if role is Role.USER else 0.9):
            found = self.by_policy(entity)
            if found is not None:
                return found
        value = self.value_of(entity)
        if self.dice.chance(0.03):
            value = self.pick([b"wrong", b"", value + b"\0", value + b"x"])
        chance = self.dice.random.random()
        sessions = self.loaded_sessions(hmac=chance < 0.9)
        if chance < 0.76 or not sessions:
            return Auth(value)
        session = self.pick(sessions)
        return Auth(value, session, self.attributes(session))

    def by_policy(self, entity: Entity) -> Auth | None:
        """A policy session that satisfies the policy of an entity, if there is a recipe for it."""
        alg = entity.policy_alg
        fit = [recipe for recipe in self.recipes if alg in SIZES and recipe.digest(alg) == entity.auth_policy]
        if not fit:
            return None
        session = self.new_session(TPM_SE.POLICY, alg)
        if session is None:
            return None
        for verb, given in self.pick(fit).steps(alg):
            self.send(self.request(verb, session, **given), damaged=self.dice.chance(0.03))
        return Auth(self.value_of(entity), session, self.attributes(session))

    @staticmethod
    def value_of(entity: Entity | None) -> bytes:
        """The authValue of an entity; empty if there is none to have."""
        try:
            return entity.auth_value if entity is not None else b""
        except (TpmError, AttributeError, AssertionError):
            return b""

    def new_session(self, kind: TPM_SE, alg: TPM_ALG) -> int | None:
        """A session that has just begun, if it could; another one has to go where there is no room."""
        sessions = list(self.pair.tpm.volatile.sessions.values())
        if len(sessions) >= self.pair.tpm.profile.loaded_sessions:
            handle = self.pick(sessions).handle
            if self.is_success(self.send(self.request("flush_context", flush_handle=handle), damaged=False)):
                self.pair.forget(handle)
        answer = self.send(opening(self, kind, alg), damaged=False)
        return int(answer.ours.session_handle) if self.is_success(answer) else None

    def extra(self) -> list[Auth]:
        """A session that authorizes nothing, but audits, decrypts or encrypts."""
        sessions = self.loaded_sessions(hmac=self.dice.chance(0.8))
        chosen = self.dice.random.sample(sessions, min(len(sessions), self.pick([1, 1, 2])))
        return [Auth(b"", one, self.attributes(one), authorizes=False) for one in chosen]

    def attributes(self, session: int) -> TPMA_SESSION:
        """What a session is used for."""
        chance = self.dice.chance
        loaded = self.pair.tpm.volatile.sessions.get(session & 0xFFFFFF)
        audit = chance(0.15)
        ciphers = loaded is not None and loaded.symmetric.algorithm.name != "NULL"
        return TPMA_SESSION(
            continueSession=chance(0.93),
            decrypt=chance(0.3 if ciphers else 0.02),
            encrypt=chance(0.3 if ciphers else 0.02),
            audit=audit,
            auditExclusive=chance(0.1 if audit else 0.01),
            auditReset=chance(0.1 if audit else 0.01),
        )

    def loaded_sessions(self, *, hmac: bool) -> list[int]:
        """The handles of the loaded sessions that the callers know."""
        known = self.pair.sides[1].sessions
        sessions = self.pair.tpm.volatile.sessions.values()
        return [s.handle for s in sessions if s.handle in known and s.is_policy is not hmac]

    def objects(self, kind: type = Object) -> list[int]:
        """The handles of transient objects (or sequences), and persistent objects."""
        transient = [h for h, item in self.pair.tpm.volatile.objects.items() if isinstance(item, kind)]
        return transient + ([*self.pair.tpm.persistent] if kind is Object else [])

    def object(self, **wanted: bool) -> int:
        """An object, if possible one with these attributes."""
        handles = self.objects()
        if self.dice.chance(0.93):
            fit = [h for h in handles if self.fits(h, wanted)]
            handles = fit or handles
        return int(self.pick(handles or [0x80000000]))

    def fits(self, handle: int, wanted: dict[str, bool]) -> bool:
        """Has an object these attributes?"""
        item = self.item(handle)
        return all(getattr(item.public.object_attributes, name) == value for name, value in wanted.items())

    def item(self, handle: int) -> Object:
        """A loaded object."""
        item = self.pair.tpm.volatile.objects.get(handle) or self.pair.tpm.persistent[handle]
        assert isinstance(item, Object)
        return item

    def sequence(self) -> int:
        """A sequence, or a handle of none."""
        return int(self.pick(self.objects(Sequence) or [0x80000001]))

    def index(self) -> int:
        """An Index, mostly one that is."""
        return int(self.pick([*self.pair.tpm.nv] * 3 + [0x01000001, 0x01000002, 0x01800003]))

    def hierarchy(self) -> int:
        """A hierarchy."""
        return int(self.pick([TPM_RH.OWNER, *HIERARCHIES]))

    def send(self, request: Request, *, damaged: bool | None = None) -> Exchange:
        """Send a request, maybe damaged, and note it."""
        if damaged is None:
            damaged = not request.fixed and self.dice.chance(DAMAGED)
        if damaged:
            damage(self, request)
        exchange = self.pair.exchange(request)
        self.sent += 1
        handles = " ".join(f"{handle:08x}" for handle in request.handles)
        auths = " ".join(f"{a.session:08x}/{int(a.attributes):02x}/{a.value.hex()}" for a in request.auths)
        damages = " damaged" if damaged else ""
        locality = f" locality {request.locality}" if request.locality else ""
        self.log.append(
            f"{request.command.name} [{handles}] [{auths}] {request.parameters[1].hex()}{damages}{locality}: "
            f"{code_name(exchange.theirs.rc)} {code_name(exchange.ours.rc)} {exchange.what}"
        )
        self.count(exchange, damaged=damaged)
        if exchange.what:
            self.judge(exchange)
        if request.after is not None and self.is_success(exchange):
            request.after(exchange.theirs, exchange.ours)
        return exchange

    @abstractmethod
    def count(self, exchange: Exchange, *, damaged: bool) -> None:
        """A command is answered: a subclass counts it."""

    @abstractmethod
    def judge(self, exchange: Exchange) -> None:
        """Something is different: a subclass says what to do."""

    def is_success(self, exchange: Exchange) -> bool:
        """Have both succeeded?"""
        return exchange.theirs.rc == exchange.ours.rc == TPM_RC.SUCCESS
