"""swtpm and this TPM side by side: one command for both, and what must be equal in their responses."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.differential.audits import Audits, Executed
from tests.differential.comparison import comparable
from tests.differential.counterparts import Counterparts
from tests.differential.judge import Judge, Swtpm
from tests.differential.peer import Peer
from tests.differential.seeds import adopt_factory, adopt_null, adopt_permanent
from tests.scenarios import HEADER, Caller, Client, Reply, reply_of, request_of
from tests.sessions import CallerSession, ResponseError
from vtpm.commands import COMMANDS, Command
from vtpm.engine.handles import entity_of
from vtpm.engine.tpm import Tpm
from vtpm.spec.attributes import TPMA_SESSION
from vtpm.spec.constants import TPM_CC, TPM_HT, TPM_RH, TPM_ST, TPM_SU
from vtpm.state.session import Session, binding_of
from vtpm.wire.error import TPM_RC, TpmError, decode

REMAKERS = frozenset({TPM_CC.Clear, TPM_CC.ChangeEPS, TPM_CC.ChangePPS})
"""Commands after which the seeds or proofs are others."""

AFTER_SHUTDOWN = frozenset(
    {TPM_CC.EC_Ephemeral, TPM_CC.Commit, TPM_CC.PCR_Extend, TPM_CC.PCR_Event, TPM_CC.PCR_Reset}
    | {TPM_CC.EventSequenceComplete, TPM_CC.ContextSave, TPM_CC.ContextLoad}
)
"""Commands that make what a Shutdown has saved stale for libtpms alone, or for this TPM alone."""

PIN_SIZE = 8
"""Octets of a PIN Index."""

NEW_AUTH = frozenset({TPM_CC.HierarchyChangeAuth, TPM_CC.NV_ChangeAuth, TPM_CC.PCR_SetAuthValue})
"""Commands whose first parameter is the authValue that authorizes their response."""


@dataclass
class Auth:
    """How one handle is authorized: by a password, or by a session that both have."""

    value: bytes = b""
    """The authValue."""
    session: int = TPM_RH.TPM_RS_PW
    attributes: TPMA_SESSION = field(default_factory=lambda: TPMA_SESSION(continueSession=True))
    authorizes: bool = True


@dataclass
class Request:
    """A command for both; parameters are for swtpm and for this TPM, and mostly the same."""

    command: Command
    handles: list[int]
    parameters: tuple[bytes, bytes]
    auths: list[Auth] = field(default_factory=list)
    after: Callable[[Reply, Reply], None] | None = None
    """What to do if both have succeeded."""
    locality: int = 0
    fixed: bool = False
    """May no part be changed at random, since time or another random value would show?"""
    edit: Callable[[bytes], bytes] | None = None
    """A change of the finished command."""


@dataclass
class Split:
    """A parameter with one value for the other TPM and another for this one."""

    theirs: Any
    ours: Any


@dataclass
class Exchange:
    """What both have answered."""

    request: Request
    sent: bytes
    theirs: Reply
    ours: Reply
    what: str = ""
    """What is different, if anything is."""

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Command, their code, our code, and what is different."""
        return self.request.command.name, str(code_name(self.theirs.rc)), code_name(self.ours.rc), self.what


def code_name(rc: int) -> str:
    """A response code by its name and position."""
    return str(decode(rc)).removeprefix("TPM_RC_").removeprefix("TPM_RC.")


def answer_of(command: Command, response: bytes) -> Reply:
    """A response; a refusal by the tag may have either tag itself."""
    tag, size, rc = HEADER.unpack_from(response)
    if rc == TPM_RC.BAD_TAG and size == len(response) == HEADER.size and tag == TPM_ST.NO_SESSIONS:
        return Reply(rc, response, command=command.name)
    return reply_of(command, response)


@dataclass
class Side:
    """One of the two: how to reach it, and the caller's side of its sessions."""

    caller: Caller
    sessions: dict[int, CallerSession] = field(default_factory=dict)
    audits: Audits = field(default_factory=Audits)

    def forget(self, session: int) -> None:
        """A session has ended."""
        self.sessions.pop(session, None)
        self.audits.forget(session)


class Pair:
    """The two TPMs: with the same seeds, if those of the other can be read."""

    def __init__(self, judge: Judge, seed: int) -> None:
        self.judge = judge
        judge.renew()
        self.own = Client(profile=judge.profile, seed=b"differential" + seed.to_bytes(8, "big"), start=False)
        self.counterparts = Counterparts()
        self.sides = (Side(judge), Side(self.own))
        self.began = time.monotonic()
        self.has_lost_allocation = False
        """Has one of REMAKERS followed PCR_Allocate without a Startup between?"""
        self.has_gone_on = False
        """Has a Shutdown been followed by a change, by which the two do not mean the same?"""
        self.command: Command = COMMANDS[TPM_CC.Startup]
        """The command that was sent last."""
        self.sent = b""
        self.has_reset_by_policy = False
        """Has lockout's policy authorized a DictionaryAttackLockReset?"""
        if isinstance(judge, Peer):
            judge.adopt(self.own)
        else:
            adopt_factory(self.own)
        self.adopt_permanent()
        for side in self.sides:
            side.caller.startup(startup_type=TPM_SU.CLEAR).check()
        self.adopt_null()

    def adopt_permanent(self) -> None:
        """Keep the seeds of the permanent hierarchies equal."""
        if isinstance(self.judge, Swtpm):
            adopt_permanent(self.own, self.judge)

    def adopt_null(self) -> None:
        """Keep the seed of the null hierarchy equal."""
        if isinstance(self.judge, Swtpm):
            adopt_null(self.own, self.judge)

    @property
    def tpm(self) -> Tpm:
        """The state of this TPM, where the generator looks for what there is."""
        return self.own.tpm

    def lose_power(self) -> None:
        """Both lose power, and the callers forget their sessions that are not saved."""
        self.judge.lose_power()
        self.own.lose_power()

    def exchange(self, request: Request) -> Exchange:
        """Send a command to both and compare."""
        own_names = [self.own.name_of(handle) for handle in request.handles]
        all_names = [[self.counterparts.translated(name) for name in own_names], own_names]
        sent, replies, faults, executions = [], [], [], []
        is_shut_down, audit_alg = self.tpm.permanent.shutdown is not None, self.tpm.permanent.audit_alg
        is_audited = request.command.code in self.tpm.permanent.audited
        is_part = self.is_part_of_pin(request)
        self.own.now = int(1000 * (time.monotonic() - self.began))
        for side, plain, names in zip(self.sides, request.parameters, all_names, strict=True):
            octets, parameters = self.octets_of(side, request, names, plain)
            sent.append(octets)
            self.command, self.sent = request.command, octets
            command = COMMANDS.get(int.from_bytes(octets[6:10].ljust(4, b"\0"), "big"), request.command)
            response = side.caller.send(octets, request.locality)
            if response[6:10] == TPM_RC.RETRY.to_bytes(4, "big"):
                # What libtpms 0.9 answers to the first use of a protected entity.
                response = side.caller.send(octets, request.locality)
            reply = answer_of(command, response)
            replies.append(reply)
            executed = Executed(command, request.handles, names, parameters, reply.parameters)
            executions.append(executed)
            faults.append(self.conclude(side, request, reply, executed) if command is request.command else "")
        theirs, ours = replies
        exchange = Exchange(request, sent[1], theirs, ours)
        if theirs.rc != ours.rc:
            exchange.what = "code"
        elif theirs.rc == TPM_RC.SUCCESS:
            exchange.what = self.difference(theirs, ours, faults) or self.divergence(request)
            exchange.what = exchange.what or ("part of a PIN" if is_part else "")
            if is_shut_down and request.command.code != TPM_CC.Startup:
                is_stale = self.tpm.permanent.shutdown is None
                self.has_gone_on |= is_stale or request.command.code in AFTER_SHUTDOWN
            if not self.judge.shares_seeds:
                self.counterparts.learn(theirs, ours)
            self.follow(request)
            if self.tpm.permanent.audit_alg is audit_alg:
                for side, executed in zip(self.sides, executions, strict=True):
                    side.audits.follow(executed, audit_alg if is_audited else None)
            if not self.tpm.reset.command_audit_digest:
                self.restart_audit()
        return exchange

    def restart_audit(self) -> None:
        """The command audit of this TPM begins anew, and so must swtpm's."""
        for side in self.sides:
            side.audits.commands = b""

    def is_part_of_pin(self, request: Request) -> bool:
        """Will it be the first write to a PIN Index, and not of all of it?"""
        is_write = request.command.code == TPM_CC.NV_Write and self.judge.shares_seeds
        index = self.tpm.nv.get(request.handles[1]) if is_write else None
        size = int.from_bytes(request.parameters[1][:2], "big")
        return index is not None and index.is_pin and not index.attributes.WRITTEN and size < PIN_SIZE

    def divergence(self, request: Request) -> str:
        """What makes the states of the two differ from this Startup on, if the other is swtpm."""
        if request.command.code != TPM_CC.Startup or not self.judge.shares_seeds:
            return ""
        return "saved state" if self.has_gone_on else "allocation" if self.has_lost_allocation else ""

    def difference(self, theirs: Reply, ours: Reply, faults: list[str]) -> str:
        """The name of the first field that must be equal and is not; nothing if there is none."""
        if any(faults):
            return " and ".join(fault or "nothing" for fault in faults)
        if theirs.octets[:2] != ours.octets[:2]:
            return "tag"
        if [auth[1] for auth in theirs.auths] != [auth[1] for auth in ours.auths]:
            return "session attributes"
        by_fields = not self.judge.shares_seeds
        first, second = (comparable(reply, by_fields=by_fields) for reply in (theirs, ours))
        for name in first:
            if first[name] == second.get(name):
                continue
            shares = self.judge.shares_seeds or name not in second
            if shares or not self.counterparts.are_alike(theirs.command, name, first[name], second[name]):
                return name
        return "" if len(first) == len(second) else "fields"

    def octets_of(
        self, side: Side, request: Request, names: list[bytes], parameters: bytes
    ) -> tuple[bytes, bytes]:
        """The command for one of them, with its own sessions; and the parameters in it, maybe encrypted."""
        handles = [*request.handles, *[TPM_RH.NULL] * len(request.auths)]
        sessions = [self.session_of(side, *pair) for pair in zip(request.auths, handles, strict=False)]
        for session in sessions[request.command.authorizations :]:
            if session is not None:
                session.authorizes = False
        for auth, session in zip(request.auths, sessions, strict=True):
            if session is not None and auth.attributes.decrypt and request.command.decrypts:
                size = int.from_bytes(parameters[:2], "big")
                plain = parameters[2 : 2 + size]
                secret = session.crypt(plain, session.next_nonce, session.nonce_tpm, encrypt=True)
                parameters = parameters[:2] + secret + parameters[2 + size :]
        self.exchange_nonces(request.auths, sessions)
        area = b""
        for auth, session in zip(request.auths, sessions, strict=True):
            if session is None:
                head = auth.session.to_bytes(4, "big") + b"\0\0" + bytes([auth.attributes])
                area += head + len(auth.value).to_bytes(2, "big") + auth.value
            else:
                area += session.octets(request.command, names, parameters)
        octets = request_of(request.command, request.handles, area, parameters)
        return request.edit(octets) if request.edit is not None else octets, parameters

    @staticmethod
    def exchange_nonces(auths: list[Auth], sessions: list[CallerSession | None]) -> None:
        """Part 1, "HMAC Computation": the first session's HMAC covers the nonces of those that encrypt."""
        if not sessions or sessions[0] is None:
            return
        sessions[0].other_nonces = b""
        seen: list[int] = []
        for attribute in ("decrypt", "encrypt"):
            for place, (auth, session) in enumerate(zip(auths, sessions, strict=True)):
                if place > 0 and session is not None and getattr(auth.attributes, attribute):
                    if place not in seen:
                        sessions[0].other_nonces += session.nonce_tpm
                    seen.append(place)

    def session_of(self, side: Side, auth: Auth, handle: int) -> CallerSession | None:
        """The caller's side of a session, ready for this use; none for a password or an unknown session."""
        session = side.sessions.get(auth.session)
        if session is None:
            return None
        session.auth, session.attributes, session.authorizes = auth.value, auth.attributes, auth.authorizes
        loaded = self.tpm.volatile.sessions.get(auth.session & 0xFFFFFF)
        session.password, session.terse = None, False
        session.includes_auth = not (loaded is not None and auth.authorizes and self.is_bound(loaded, handle))
        policy = loaded.policy if loaded is not None and loaded.handle == auth.session else None
        if policy is not None:
            session.includes_auth = policy.auth_value_needed
            session.password = auth.value if policy.password_needed else None
            session.terse = True
        if not session.includes_auth and session.password is None:
            # It encrypts with the authValue all the same, so that a wrong one would go unnoticed.
            session.auth = self.auth_value_of(handle)
        return session

    def auth_value_of(self, handle: int) -> bytes:
        """The authValue of an entity; empty if there is none to have."""
        try:
            found: Any = entity_of(self.tpm, handle, 0, 0)  # type: ignore[arg-type]
            return bytes(found.auth_value)
        except (TpmError, AttributeError, AssertionError):
            return b""

    def is_bound(self, session: Session, handle: int) -> bool:
        """Part 1, 16.6.10: is a session bound to an entity as it is now, so that its key has no authValue?"""
        if session.bound is None:
            return False
        try:
            found: Any = entity_of(self.tpm, handle, 0, 0)  # type: ignore[arg-type]
        except TpmError:
            return False
        return hasattr(found, "auth_value") and session.bound == binding_of(found)

    def conclude(self, side: Side, request: Request, reply: Reply, executed: Executed) -> str:
        """Read the authorization area of a response, and decrypt its first parameter; gives what is wrong."""
        if reply.rc != TPM_RC.SUCCESS:
            return ""
        fault = ""
        uses = [
            (place, auth, side.sessions[auth.session])
            for place, auth in enumerate(request.auths[: len(reply.auths)])
            if auth.session in side.sessions
        ]
        for place, _, session in uses:
            session.auth = self.auth_of_response(request, place) if session.includes_auth else session.auth
            try:
                session.check(reply, place)
            except ResponseError:
                fault = "response HMAC"
        # The HMACs are of what was sent, so that it is decrypted only now.
        for _, auth, session in uses:
            if auth.attributes.encrypt and request.command.encrypts:
                self.decrypt(session, reply, request.command)
        if reply.fields and not side.audits.is_attested(executed, reply):
            fault = "audit digest"
        for place, auth, session in uses:
            side.audits.follow_session(executed, session)
            if not reply.auths[place][1] & TPMA_SESSION(continueSession=True):
                side.forget(auth.session)
        return fault

    @staticmethod
    def auth_of_response(request: Request, place: int) -> bytes:
        """Part 1, "Response HMAC": the authValue after the command."""
        code, old = request.command.code, request.auths[place].value
        if place == 0 and code in NEW_AUTH:
            octets = request.parameters[0]
            return octets[2 : 2 + int.from_bytes(octets[:2], "big")].rstrip(b"\0")
        if place == 0 and code == TPM_CC.Clear and request.handles[0] == TPM_RH.LOCKOUT:
            return b""
        return old

    @staticmethod
    def decrypt(session: CallerSession, reply: Reply, command: Command) -> None:
        """Put the plain first parameter in the place of the encrypted one."""
        size = int.from_bytes(reply.parameters[:2], "big")
        octets = reply.parameters[2 : 2 + size]
        plain = session.crypt(octets, session.nonce_tpm, session.nonce_caller, encrypt=False)
        parameters = reply.parameters[:2] + plain + reply.parameters[2 + size :]
        handle = reply.octets[10:14] if command.response_handle else b""
        body = handle + parameters
        header = TPM_ST.NO_SESSIONS.to_bytes(2, "big") + (10 + len(body)).to_bytes(4, "big") + bytes(4)
        opened = reply_of(command, header + body)
        reply.parameters, reply.fields = opened.parameters, opened.fields

    def follow(self, request: Request) -> None:
        """Keep the seeds equal, and note what makes the two differ from here on."""
        if request.command.code == TPM_CC.DictionaryAttackLockReset:
            self.has_reset_by_policy |= request.auths[0].session >> 24 == TPM_HT.POLICY_SESSION
        if request.command.code in REMAKERS:
            self.has_lost_allocation |= self.tpm.volatile.pcr_reconfigured
            self.adopt_permanent()
        if request.command.code == TPM_CC.Startup:
            self.adopt_null()

    def forget(self, session: int) -> None:
        """A session is flushed."""
        for side in self.sides:
            side.forget(session)
