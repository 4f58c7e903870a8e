"""A connection to libvirt: its domains, their definitions, what happens to them."""

import html
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

from vtpm.daemon.errors import OperatorError
from vtpm.libvirt.definition import EXTERNAL, KEY_NAMESPACE, KEY_PREFIX, Definition

try:
    import libvirt
except ImportError:  # pragma: no cover - the extra `libvirt` is there wherever this is tested
    libvirt = None

TICK: Final = 500
"""Milliseconds after which waiting for events looks whether it shall end."""

KEEPALIVE: Final = (5, 3)
"""Seconds between two probes of the connection, and how many may stay without an answer."""

BASE_LABEL: Final = re.compile(
    r"<model>dac</model>.*?<baselabel type='(?:kvm|qemu)'>\+(\d+):\+(\d+)</baselabel>", re.DOTALL
)

TPMS: Final = re.compile(r"<tpm [^>]*/>|<tpm .*?</tpm>", re.DOTALL)


class LibvirtError(OperatorError):
    """Libvirt refuses, or cannot be reached; the text gives cause and remedy."""


@dataclass(frozen=True)
class User:
    """The user and the group that QEMU runs as."""

    uid: int
    gid: int


@dataclass(frozen=True)
class Event:
    """
    What happened to a domain: it is `defined`, `undefined`, `renamed`, or had its `former name`;

    its run `went` to another host, or goes on after it `came` from one.
    """

    kind: str
    name: str
    uuid: UUID


class Domain:
    """One domain of a hypervisor."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    @property
    def name(self) -> str:
        """Its name."""
        return str(self._handle.name())

    @property
    def uuid(self) -> UUID:
        """Its UUID."""
        return UUID(self._handle.UUIDString())

    @property
    def is_persistent(self) -> bool:
        """Does its definition outlive its run?"""
        return bool(asked(self._handle.isPersistent))

    @property
    def is_active(self) -> bool:
        """Does it run?"""
        return bool(asked(self._handle.isActive))

    @property
    def has_managed_save(self) -> bool:
        """Was it saved, so that its next start goes on where it was?"""
        return self.is_persistent and bool(asked(self._handle.hasManagedSaveImage))

    @property
    def snapshots(self) -> list[str]:
        """The names of its snapshots."""
        return list(asked(self._handle.snapshotListNames))

    def definition(self) -> Definition:
        """What its next start takes; of a transient domain, what its run has."""
        flags = libvirt.VIR_DOMAIN_XML_SECURE
        if self.is_persistent:
            flags |= libvirt.VIR_DOMAIN_XML_INACTIVE
        return Definition(asked(self._handle.XMLDesc, flags))

    def running_definition(self) -> Definition | None:
        """What its run has; nothing if it does not run."""
        return Definition(asked(self._handle.XMLDesc, 0)) if self.is_active else None

    def note_key(self, provider: str, key: str) -> None:
        """Write down in its definition, and in that of its run, which key its TPM needs."""
        flags = libvirt.VIR_DOMAIN_AFFECT_CONFIG if self.is_persistent else 0
        flags |= libvirt.VIR_DOMAIN_AFFECT_LIVE if self.is_active else 0
        element = f"<key provider='{html.escape(provider)}' id='{html.escape(key)}'/>"
        kind = libvirt.VIR_DOMAIN_METADATA_ELEMENT
        asked(self._handle.setMetadata, kind, element, KEY_PREFIX, KEY_NAMESPACE, flags)


class Hypervisor:
    """A connection to the libvirt of this host."""

    def __init__(self, uri: str | None) -> None:
        if libvirt is None:
            raise LibvirtError(
                "Python's binding of libvirt is missing; install vtpm with its extra, vtpm[libvirt]"
            )
        if uri and urlsplit(uri).hostname:
            raise LibvirtError(f"{uri} is another host, whose TPMs are there; run this on that host")
        libvirt.registerErrorHandler(lambda *_: None, None)
        self._connection = asked(libvirt.open, uri)
        self._is_closed = ""

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    @property
    def is_session(self) -> bool:
        """Is it the libvirt of a user, whose guests run as that user?"""
        return urlsplit(str(self._connection.getURI())).path == "/session"

    def domain(self, label: str | UUID) -> Domain:
        """A domain of a name or a UUID."""
        try:
            return Domain(asked(self._connection.lookupByUUIDString, str(UUID(str(label)))))
        except (ValueError, LibvirtError):
            return Domain(asked(self._connection.lookupByName, str(label)))

    def find(self, uuid: UUID) -> Domain | None:
        """The domain of a UUID, if there is one."""
        return next((domain for domain in self.domains() if domain.uuid == uuid), None)

    def domains(self) -> list[Domain]:
        """All domains, those that run and those that do not."""
        return [Domain(handle) for handle in asked(self._connection.listAllDomains)]

    def define(self, text: str) -> None:
        """Make or change a domain that outlives its run."""
        asked(self._connection.defineXMLFlags, text, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)

    def check_external(self, definition: Definition) -> None:
        """LibvirtError if libvirt says that such a domain gets no TPM from another process than its own."""
        try:
            told = self._connection.getDomainCapabilities(*definition.platform)
        except libvirt.libvirtError:
            return  # it cannot tell, and decides when the domain is defined
        tpms = TPMS.search(told)
        if tpms and f"<value>{EXTERNAL}</value>" not in tpms[0]:
            raise LibvirtError(
                "libvirt has no TPM of the kind `external` for this domain; libvirt 9.0 and later have, "
                "where they find swtpm's programs: install Debian's packages swtpm and swtpm-tools, or start "
                "libvirtd with PATH=$(vtpm compat-dir):$PATH"
            )

    def user_of_guests(self) -> User | None:
        """Whom QEMU runs as, where that is another user than this process'."""
        found = BASE_LABEL.search(asked(self._connection.getCapabilities))
        return None if found is None or self.is_session else User(int(found[1]), int(found[2]))

    def watch(
        self, take: Callable[[Event], None], is_ended: Callable[[], bool], ready: Callable[[], None]
    ) -> None:
        """
        Hand on what happens to domains until told to end; `ready` is called once nothing is missed.

        LibvirtError: the connection has ended.
        """
        events: list[Event] = []
        self._connection.setKeepAlive(*KEEPALIVE)
        self._connection.registerCloseCallback(self._closed, None)
        self._connection.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, _collect, events)
        libvirt.virEventAddTimeout(TICK, lambda *_: None, None)
        ready()
        while not is_ended():
            asked(libvirt.virEventRunDefaultImpl)
            while events:
                take(events.pop(0))
            if self._is_closed:
                raise LibvirtError(f"libvirt has gone: {self._is_closed}; start this again when it is back")

    def _closed(self, _connection: Any, reason: int, _opaque: Any) -> None:
        self._is_closed = {0: "an error", 1: "it ended", 2: "it does not answer"}.get(
            reason, "its client ended"
        )


def prepare_events() -> None:
    """Have libvirt tell events, which must be said before a connection is opened."""
    if libvirt is not None:
        libvirt.virEventRegisterDefaultImpl()


def _kind_of(event: int, detail: int) -> str:
    if event == libvirt.VIR_DOMAIN_EVENT_DEFINED:
        return "renamed" if detail == libvirt.VIR_DOMAIN_EVENT_DEFINED_RENAMED else "defined"
    if event == libvirt.VIR_DOMAIN_EVENT_UNDEFINED:
        return "former name" if detail == libvirt.VIR_DOMAIN_EVENT_UNDEFINED_RENAMED else "undefined"
    moves = {
        (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_MIGRATED): "went",
        (libvirt.VIR_DOMAIN_EVENT_RESUMED, libvirt.VIR_DOMAIN_EVENT_RESUMED_MIGRATED): "came",
    }
    return moves.get((event, detail), "")


def _collect(_connection: Any, handle: Any, event: int, detail: int, events: list[Event]) -> None:
    kind = _kind_of(event, detail)
    if kind:
        events.append(Event(kind, handle.name(), UUID(handle.UUIDString())))


def asked(call: Callable[..., Any], *arguments: Any) -> Any:
    """What libvirt answers; LibvirtError with what it says if it refuses."""
    try:
        return call(*arguments)
    except libvirt.libvirtError as error:
        raise LibvirtError(f"libvirt: {error}; see what `virsh` says of it") from None
