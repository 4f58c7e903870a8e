"""Checks of what an operating system asks of a TPM, each made by commands that it could send."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Final

from vtpm.caller.caller import Direct, Password
from vtpm.caller.messages import Refused, Reply
from vtpm.commands import Command
from vtpm.engine.tpm import Tpm
from vtpm.spec.algorithms import TPMS_SENSITIVE_CREATE, TPMT_SYM_DEF
from vtpm.spec.constants import TPM_ALG, TPM_CAP, TPM_HT, TPM_PT, TPM_RH, TPM_SE, TPM_SU
from vtpm.spec.objects import TPMT_PUBLIC

ALL: Final = 0x7FFFFFFF
NONCE: Final = bytes(32)
"""Of a session that has no key."""


class Verdict(Enum):
    """What a check has come to."""

    PASSED = "passed"
    FAILED = "failed"
    ADVICE = "advice"
    """It would fail a certification, and nothing else."""
    NOT_CHECKED = "not checked"


class Finding(Exception):  # noqa: N818 - it ends a check that did not pass
    """Why a check did not pass; without a remedy, the check's own."""

    verdict = Verdict.FAILED

    def __init__(self, found: str, remedy: str = "") -> None:
        super().__init__(found)
        self.found = found
        self.remedy = remedy


class Advice(Finding):
    """Nobody but a certification minds."""

    verdict = Verdict.ADVICE


class NotChecked(Finding):
    """It cannot be told as things are."""

    verdict = Verdict.NOT_CHECKED


@dataclass(frozen=True)
class Check:
    """
    One line: who asks, for what, what to do if it is not there; `run` gives what was found, or raises.

    A remedy says `{vm}` where the name of the VM belongs.
    """

    who: str
    name: str
    remedy: str
    run: "Callable[[Subject], str]"

    def made(self, subject: "Subject") -> dict[str, str]:
        """The line, with the verdict."""
        verdict, remedy = Verdict.PASSED, ""
        try:
            found = self.run(subject)
        except Finding as finding:
            verdict, found, remedy = finding.verdict, finding.found, finding.remedy or self.remedy
        except Refused as refused:
            verdict, found, remedy = Verdict.FAILED, str(refused), self.remedy
        return {
            "who": self.who,
            "check": self.name,
            "verdict": verdict.value,
            "found": found,
            "remedy": remedy,
        }


class Checklist(list[Check]):
    """Checks in their order; functions become checks by `check`."""

    def check(
        self, who: str, name: str, remedy: str
    ) -> "Callable[[Callable[[Subject], str]], Callable[[Subject], str]]":
        """Make a function the next check."""

        def declare(run: "Callable[[Subject], str]") -> "Callable[[Subject], str]":
            self.append(Check(who, name, remedy, run))
            return run

        return declare


class Policy:
    """A policy session that needs no HMAC, since neither it nor what it authorizes has a secret."""

    def __init__(self, handle: int) -> None:
        self.handle = handle

    def octets(self, command: Command, names: list[bytes], parameters: bytes) -> bytes:  # noqa: ARG002
        """The session's part of the authorization area: it ends with the command."""
        return self.handle.to_bytes(4, "big") + bytes(2) + b"\0" + bytes(2)


NOBODY: Final = Password()
"""The authorization of what has no authValue."""


class Subject(Direct):
    """A copy of a TPM, as the checks use it: started, with nothing of the guest's in the way."""

    def __init__(self, tpm: Tpm, now: datetime) -> None:
        super().__init__(tpm, tpm.clock.last)
        self.time = now
        self.is_running = tpm.volatile.started
        self._made: dict[int, int] = {}
        if not self.is_running:
            self.startup(startup_type=TPM_SU.CLEAR)
        for kind in (TPM_HT.TRANSIENT, TPM_HT.LOADED_SESSION):
            if not tpm.volatile.failed:
                for handle in self.capability(TPM_CAP.HANDLES, kind << 24):
                    self.flush_context(flush_handle=handle)

    def capability(self, capability: TPM_CAP, first: int = 0) -> list[Any]:
        """All that the TPM has of a capability from a value on."""
        found: list[Any] = []
        while True:
            reply = self.get_capability(capability=capability, property=first, property_count=ALL).check()
            found += reply.capability_data.data
            if not reply.more_data or not reply.capability_data.data:
                return found
            first = next_of(found[-1])

    def property(self, tag: TPM_PT) -> int:
        """A property of the TPM."""
        reply = self.get_capability(capability=TPM_CAP.TPM_PROPERTIES, property=tag, property_count=1)
        value = next(iter(reply.check().capability_data.data), None)
        if value is None or value.property != tag:
            raise Finding(f"TPM_PT_{tag.name} is not reported")
        return int(value.value)

    def text(self, *tags: TPM_PT) -> str:
        """Properties that are characters."""
        octets = b"".join(self.property(tag).to_bytes(4, "big") for tag in tags)
        return octets.rstrip(b"\0").decode("ascii", "backslashreplace")

    def persistent(self, handle: int) -> TPMT_PUBLIC | None:
        """The public area at a persistent handle, if there is an object."""
        reply = self.read_public(handle)
        if reply.rc:
            return None
        public: TPMT_PUBLIC = reply.out_public
        return public

    def primary(self, hierarchy: TPM_RH, template: TPMT_PUBLIC) -> Reply:
        """Make a primary object; `object_handle` of the reply is its handle."""
        return self.create_primary(hierarchy, **creation_of(template)).check()

    def standing(self, handle: int, hierarchy: TPM_RH, template: TPMT_PUBLIC) -> int:
        """The handle of a persistent key, or of what would be made persistent there."""
        if self.read_public(handle).rc == 0:
            return handle
        if handle not in self._made:
            self._made[handle] = self.primary(hierarchy, template).object_handle
        return self._made[handle]

    def policy(self, kind: TPM_SE = TPM_SE.POLICY) -> int:
        """Start a policy or trial session as Windows does: without a salt, bound to nothing."""
        reply = self.start_auth_session(
            TPM_RH.NULL,
            TPM_RH.NULL,
            nonce_caller=NONCE,
            encrypted_salt=b"",
            session_type=kind,
            symmetric=TPMT_SYM_DEF(TPM_ALG.NULL, 0, TPM_ALG.NULL),
            auth_hash=TPM_ALG.SHA256,
        )
        return int(reply.check().session_handle)


def creation_of(template: TPMT_PUBLIC, data: bytes = b"") -> dict[str, Any]:
    """The parameters of Create and CreatePrimary for something without an authValue."""
    return {
        "in_sensitive": TPMS_SENSITIVE_CREATE(user_auth=b"", data=data),
        "in_public": template,
        "outside_info": b"",
        "creation_pcr": (),
    }


def next_of(element: Any) -> int:
    """Where a list goes on after an element."""
    value = getattr(element, "property", getattr(element, "commandIndex", getattr(element, "alg", element)))
    return int(value) + 1


def made(checks: Iterable[Check], tpm: Tpm, now: datetime) -> list[dict[str, str]]:
    """Make the checks on a copy of a TPM, which they use up."""
    subject = Subject(tpm, now)
    return [check.made(subject) for check in checks]
