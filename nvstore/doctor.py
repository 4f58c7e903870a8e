"""The check-up of a host: what is wrong, or soon may be, and what to do about it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

from nvstore.errors import NvstoreError, StateError
from nvstore.files import file_system_of, free_space, on_same_file_system
from nvstore.provider.status import ProviderStatus
from nvstore.provider_errors import ProviderLocked
from nvstore.state.vm import StateStatus

if TYPE_CHECKING:
    from nvstore.host import Host

LEAST_SPACE: Final = 64 << 20
"""Octets that should be free where states are; a state that grows needs room for a second file of its own."""

UNSAFE_FILE_SYSTEMS: Final = {
    "tmpfs": "it is lost when the host restarts",
    "ramfs": "it is lost when the host restarts",
    "overlay": "it may be lost with the container that it belongs to",
    "nfs": "whether a flush reaches the server's disk depends on how it is mounted and exported",
    "nfs4": "whether a flush reaches the server's disk depends on how it is mounted and exported",
}


class Level(IntEnum):
    """How bad it is; the worst one is the status that monitoring gets, and a note counts as OK."""

    OK = 0
    WARNING = 1
    ERROR = 2


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be."""

    level: Level
    subject: str
    problem: str
    remedy: str

    def to_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return {**vars(self), "level": self.grade}

    @property
    def grade(self) -> str:
        """Return how bad it is, in a word; what is good to know, and no fault, is a note."""
        return self.level.name.lower() if self.level else "note"


@dataclass(frozen=True)
class VmReport:
    """One VM, in a line of the page."""

    vm: str
    name: str
    provider: str
    epoch: int | None
    """The epoch of the provider's key that the newest generation is under."""
    seal: str
    freshness: str
    last_verified: str | None
    """When a backup of the provider was last verified."""
    lineage: str
    generation: int
    state: str
    """`intact`, `locked`, or the code of the error with which opening ends."""


@dataclass(frozen=True)
class Checkup:
    """The state of a host, on one page."""

    vms: Sequence[VmReport]
    findings: Sequence[Finding]

    @property
    def level(self) -> Level:
        """Return how bad the worst finding is."""
        return max((finding.level for finding in self.findings), default=Level.OK)

    def to_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "level": self.level.name.lower(),
            "vms": [dict(vars(vm)) for vm in self.vms],
            "findings": [finding.to_json() for finding in self.findings],
        }


def examine(host: "Host") -> Checkup:
    """Check providers, states, disk and audit log; every state is decrypted whose key is at hand."""
    providers = {status.name: status for status in host.providers.list()}
    vms, findings = [], list(_of_host(host, providers))
    for status in providers.values():
        findings += _of_provider(status)
        findings += _of_document(host, status)
    for state in host.list_states():
        problem, own = _of_state(host, state, providers.get(state.provider))
        findings += own
        vms.append(_report(state, providers.get(state.provider), problem))
    return Checkup(vms, sorted(findings, key=lambda finding: (-finding.level, finding.subject)))


def _report(state: StateStatus, provider: ProviderStatus | None, problem: str) -> VmReport:
    keys = list(provider.keys) if provider else []
    return VmReport(
        str(state.vm),
        state.name,
        state.provider,
        keys.index(state.kdk_id) + 1 if state.kdk_id in keys else None,
        provider.seal if provider else "none",
        state.freshness,
        provider.last_verified if provider else None,
        state.lineage or "created here",
        state.generation,
        problem or "intact",
    )


def _of_state(host: "Host", state: StateStatus, provider: ProviderStatus | None) -> tuple[str, list[Finding]]:
    subject, findings, problem = f"VM {state.name}", [], ""
    try:
        host.verify_state(state.vm)
    except ProviderLocked as error:
        problem = "locked"
        findings.append(Finding(Level.WARNING, subject, f"it was not decrypted: {error.cause}", error.remedy))
    except NvstoreError as error:
        problem = error.code
        remedy = error.remedy
        if isinstance(error, StateError):
            remedy += f" (vtpm state history {state.name})"
        findings.append(Finding(Level.ERROR, subject, error.cause, remedy))
    if not problem and (differing := host.index_differences(state.vm)):
        what = f"vms/{state.vm}.vm differs from the state in {', '.join(differing)}"
        remedy = "find out who changed it; opening the state puts it right"
        findings.append(Finding(Level.WARNING, subject, what, remedy))
    if provider and not problem and state.kdk_id != provider.kdk_id:
        findings.append(
            Finding(
                Level.WARNING,
                subject,
                f"it is under an older key of provider {provider.name}",
                f"vtpm rekey --provider {provider.name}",
            )
        )
    if state.lineage.startswith("copy "):
        findings.append(
            Finding(
                Level.WARNING,
                subject,
                f"it has the same secrets as its origin: {state.lineage}",
                "clone it again with --how fork or --how replace, unless the origin is gone",
            )
        )
    return problem, findings


def _of_provider(status: ProviderStatus) -> list[Finding]:
    subject, findings = f"provider {status.name}", []
    for warning in status.warnings:
        if "verified" in warning:
            remedy = f"vtpm provider backup {status.name} --out FILE, then vtpm provider verify FILE"
            level = Level.WARNING if status.last_verified else Level.ERROR
        elif "drill" in warning:
            remedy, level = "vtpm provider drill FILE, with the newest backup", Level.WARNING
        else:
            remedy, level = f"vtpm provider show {status.name}", Level.WARNING
        findings.append(Finding(level, subject, warning, remedy))
    return findings


def _of_document(host: "Host", status: ProviderStatus) -> Iterator[Finding]:
    """Yield what is wrong with a provider's file, and with where its key is."""
    subject = f"provider {status.name}"
    try:
        host.providers.check(status.name)
    except ProviderLocked as error:
        yield Finding(Level.WARNING, subject, f"it was not authenticated: {error.cause}", error.remedy)
    except NvstoreError as error:
        yield Finding(Level.ERROR, subject, error.cause, error.remedy)
    for path in host.providers.key_files(status.name):
        if on_same_file_system(path, host.directory / "states"):
            problem = (
                f"its key file {path} lies on the disk of what it protects: a copy of the disk opens all"
            )
            remedy = f"vtpm provider reseal {status.name} with --tpm, --systemd-creds or --passphrase"
            yield Finding(Level.OK, subject, problem, f"{remedy}, or --key-file on another disk")


def _of_host(host: "Host", providers: dict[str, ProviderStatus]) -> Iterator[Finding]:
    if not providers:
        remedy = "vtpm provider init NAME, or restore one from its backup"
        yield Finding(Level.WARNING, "host", "there is no key provider", remedy)
    try:
        verified = host.audit.verify(host.providers)
        if verified.authentic < verified.lines:
            problem = f"{verified.lines - verified.authentic} of {verified.lines} lines are not authenticated"
            yield Finding(Level.WARNING, "audit log", f"{problem}: {verified.why}", "vtpm audit verify")
    except NvstoreError as error:
        yield Finding(Level.ERROR, "audit log", error.cause, error.remedy)
    free = free_space(host.directory)
    if free < LEAST_SPACE:
        problem = f"{free >> 20} MiB are free at {host.directory}: a state that grows may find no room"
        yield Finding(Level.WARNING, "disk", problem, "make room")
    yield from _of_vault(host, providers)
    kind = file_system_of(host.directory)
    if kind in UNSAFE_FILE_SYSTEMS:
        problem = f"{host.directory} is on {kind}: {UNSAFE_FILE_SYSTEMS[kind]}"
        yield Finding(Level.WARNING, "disk", problem, "move the states to a local disk")


def _of_vault(host: "Host", providers: dict[str, ProviderStatus]) -> Iterator[Finding]:
    for name in host.vault.names():
        subject = f"secret {name}"
        try:
            host.vault.get(name)
            secret = host.vault.show(name)
        except ProviderLocked as error:
            yield Finding(Level.WARNING, subject, f"it was not decrypted: {error.cause}", error.remedy)
        except NvstoreError as error:
            yield Finding(Level.ERROR, subject, error.cause, error.remedy)
        else:
            provider = providers.get(secret.provider)
            if provider and provider.kdk_id != secret.kdk_id:
                problem = f"it is under an older key of provider {provider.name}"
                yield Finding(Level.WARNING, subject, problem, f"vtpm rekey --all --provider {provider.name}")
