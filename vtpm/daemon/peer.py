"""
Who connects to a TPM's socket, and whether that TPM is the peer's own.

What the process says of itself, such as its command line, decides nothing.
Its AppArmor profile and its scope of systemd are given by libvirt, and a QEMU that a guest has taken over
can change neither of them:

- `libvirt-<UUID>` is the profile of a domain (libvirt, "QEMU/KVM/HV hypervisor driver", sVirt AppArmor);
- `machine-….scope` is its control group, and systemd-machined has the UUID of the machine in it.
"""

import contextlib
import logging
import os
import re
import select
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final
from uuid import UUID

log = logging.getLogger(__name__)

SO_PEERPIDFD: Final = 77
"""Linux 6.5, include/uapi/asm-generic/socket.h."""

UCRED: Final = struct.Struct("3i")
"""struct ucred of unix(7): process, user, group."""

DESCRIPTOR: Final = struct.Struct("i")
LABEL_SIZE: Final = 4096
PROFILE: Final = re.compile(r"libvirt-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?: \(\w+\))?")
SCOPE: Final = re.compile(r"/(machine-[^/]+\.scope)(?:/|$)")
MACHINE_ID: Final = re.compile(r"^ID=([0-9a-f]{32})$", re.MULTILINE)
MACHINES: Final = Path("/run/systemd/machines")
"""What systemd-machined notes of each machine; `unit:<scope>` leads to it."""

PROC: Final = Path("/proc")
REPEATED: Final = 10.0
"""Seconds in which the log names one refusal of a TPM; further ones are counted."""


class Peers(StrEnum):
    """Who may connect to a TPM, among those whom the mode of its socket lets connect."""

    AUTO = "auto"
    """A process of no known domain, and one of the TPM's own domain."""
    DOMAIN = "domain"
    """A process of the TPM's own domain."""
    ANY = "any"
    """Every process."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A process that has connected; `domains` are the UUIDs that label and scope name."""

    pid: int
    uid: int
    label: str = ""
    scope: str = ""
    domains: frozenset[UUID] = frozenset()

    def __str__(self) -> str:
        """Who it is, for a log: what another process has chosen of it stands in quotes."""
        told = [f"process {self.pid}", f"user {self.uid}"]
        told += [f"label {self.label!r}"] if self.label else []
        told += [f"scope {self.scope!r}"] if self.scope else []
        return ", ".join(told)


Reader = Callable[[socket.socket], Peer]


def peer_of(sock: socket.socket) -> Peer:
    """Read who has connected; what the kernel does not tell, or no longer, stays empty."""
    pid, uid, _gid = UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, UCRED.size))
    label = label_of(sock)
    profile = PROFILE.fullmatch(label)
    scope = scope_of(control_groups(sock, pid))
    machine = machine_of(scope) if scope else None
    domains = [UUID(profile[1])] if profile else []
    domains += [machine] if machine else []
    return Peer(pid, uid, label, scope, frozenset(domains))


def label_of(sock: socket.socket) -> str:
    """Return the security label that the peer had when it connected; empty where there are none."""
    with contextlib.suppress(OSError):
        label = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERSEC, LABEL_SIZE)
        return label.rstrip(b"\0").decode(errors="replace")
    return ""


def control_groups(sock: socket.socket, pid: int) -> str:
    """
    Return the control groups of the process that has connected; empty if it has ended.

    Its number may be another process' by then: it is still its own as long as its descriptor says so.
    """
    try:
        descriptor = DESCRIPTOR.unpack(sock.getsockopt(socket.SOL_SOCKET, SO_PEERPIDFD, DESCRIPTOR.size))[0]
    except OSError:  # an older kernel: the process of this number, if it was not replaced meanwhile
        try:
            descriptor = os.pidfd_open(pid)
        except OSError:
            return ""
    try:
        groups = (PROC / str(pid) / "cgroup").read_text(errors="replace")
        ended = select.poll()
        ended.register(descriptor, select.POLLIN)
        return "" if ended.poll(0) else groups
    except OSError:
        return ""
    finally:
        os.close(descriptor)


def scope_of(groups: str) -> str:
    """Return the scope of a machine that a process is in, by its control groups (cgroups(7)); or nothing."""
    for line in groups.splitlines():
        _number, controllers, path = (*line.split(":", 2), "", "", "")[:3]
        found = SCOPE.search(path) if controllers in {"", "name=systemd"} else None
        if found:
            return found[1]
    return ""


def machine_of(scope: str) -> UUID | None:
    """Return the UUID that systemd-machined has for a scope, if there is one."""
    try:
        found = MACHINE_ID.search((MACHINES / f"unit:{scope}").read_text(errors="replace"))
    except OSError:
        return None
    return UUID(found[1]) if found else None


class Gate:
    """Decides who may connect to the TPM of one domain, and notes whom it refuses."""

    def __init__(
        self, name: str, vm: UUID, peers: Peers, clock: Callable[[], float], reader: Reader = peer_of
    ) -> None:
        self._name, self._vm, self._peers, self._clock, self._reader = name, vm, peers, clock, reader
        self._said: float | None = None
        self._untold = 0
        self._is_warned = False

    def admits(self, sock: socket.socket) -> bool:
        """May this peer use the TPM? A refusal is logged."""
        if self._peers is Peers.ANY:
            return True
        peer = self._reader(sock)
        reason = self._refusal(peer)
        if reason:
            self.note(f"refused {peer}: {reason}")
            return False
        if not peer.domains and peer.uid not in {0, os.geteuid()} and not self._is_warned:
            self._is_warned = True
            log.warning(
                "%s: %s connects, and neither label nor scope says of which domain it is; any process that "
                "its mode lets connect to this socket may use the TPM. "
                "Confine guests by AppArmor, or run them in scopes of systemd-machined, "
                "and serve with --peers domain",
                self._name,
                peer,
            )
        return True

    def turned_away(self, sock: socket.socket) -> None:
        """Note a peer that found another client connected."""
        self.note(
            f"turned {self._reader(sock)} away: another client is connected, and is served on; "
            "a domain whose QEMU that is must not be started twice"
        )

    def note(self, text: str) -> None:
        """Log a line about this TPM, unless it was logged just now."""
        now = self._clock()
        if self._said is not None and now - self._said < REPEATED:
            self._untold += 1
            return
        more = f" ({self._untold} more since)" if self._untold else ""
        self._said, self._untold = now, 0
        log.warning("%s: %s%s", self._name, text, more)

    def _refusal(self, peer: Peer) -> str:
        others = peer.domains - {self._vm}
        if others:
            names = ", ".join(sorted(map(str, others)))
            return (
                f"it is of the domain {names}, and this TPM is that of {self._vm}; give the domain a TPM of "
                "its own by `vtpm attach`, or serve with --peers any"
            )
        if self._peers is Peers.DOMAIN and not peer.domains:
            return "nothing says of which domain it is; serve with --peers auto if it shall be let in"
        return ""
