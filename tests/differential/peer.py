"""The TPM that VTPM_PEER names, at a port of the TCG simulator's protocol, as the other opinion."""

import os
import re
import socket
import struct
import time
from typing import Any

from tests.differential.judge import Judge
from tests.differential.profiles import profile_of
from tests.differential.recipes import Recipe, for_command
from tests.keys import NULL_SIGNATURE_SCHEME
from tests.scenarios import Client, Password
from tests.sessions import start_session
from vtpm.control.mssim import SIM, UINT32, sized
from vtpm.spec.attributes import TPMA_NV
from vtpm.spec.constants import TPM_ALG, TPM_CAP, TPM_CC, TPM_HT, TPM_NT, TPM_RH, TPM_SE, TPM_SU
from vtpm.spec.nv import TPMS_NV_PUBLIC
from vtpm.spec.structures import TPMS_ATTEST, TPMS_PCR_SELECTION
from vtpm.wire.error import TPM_RC
from vtpm.wire.structure import unmarshal

VARIABLE = "VTPM_PEER"
FORM = re.compile(r"mssim:(?P<host>[^:]+|\[[^\]]+\]):(?P<port>\d{1,5})")
ANSWER_SECONDS = 60.0
COMES_BACK_SECONDS = 20.0
"""How long a program that has ended may take to be there again."""

STARTS = 5
"""How often in a row it may end while it is made ready for a stream."""

COUNTER = 0x01FFFFF0
"""An Index that is free between two streams."""


class PeerError(RuntimeError):
    """The peer cannot be used; the message says why, and what to do."""


def chosen() -> tuple[str, int] | None:
    """The peer that VTPM_PEER names, if it is set; PeerError if it names none."""
    value = os.environ.get(VARIABLE, "")
    if not value:
        return None
    found = FORM.fullmatch(value)
    if found is None or not 0 < int(found["port"]) < 65535:
        raise PeerError(f"{VARIABLE}={value} names no peer: give mssim:HOST:PORT, as mssim:127.0.0.1:2321")
    return found["host"].strip("[]"), int(found["port"])


class Peer(Judge):
    """The TPM at a command port, whose platform port is the next one; all that it keeps is deleted."""

    title, table, shares_seeds = "peer", "reference.toml", False

    def __init__(self, host: str, port: int) -> None:
        self.address = host, port
        self.names: dict[int, bytes] = {}
        self._open()
        self.banks: tuple[TPMS_PCR_SELECTION, ...] = ()
        self._power_cycle()
        self.startup(startup_type=TPM_SU.CLEAR).check()
        self.banks = self.capabilities(TPM_CAP.PCRS, 0)
        self.profile = profile_of(self)

    def _open(self) -> None:
        self._data = self._connected(0)
        self._platform = self._connected(1)

    def _connected(self, offset: int) -> socket.socket:
        host, port = self.address
        deadline = time.monotonic() + COMES_BACK_SECONDS
        while True:
            try:
                connection = socket.create_connection((host, port + offset), timeout=ANSWER_SECONDS)
            except OSError as error:
                if time.monotonic() > deadline:
                    remedy = f"start it there, or name another in {VARIABLE}"
                    raise PeerError(f"no TPM at {host}, port {port + offset}: {error}; {remedy}") from error
                time.sleep(0.1)
            else:
                # A connection that is reset leaves the port free for a program that is started again.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return connection

    def send(self, request: bytes, locality: int = 0) -> bytes:
        """Send octets as they are."""
        self._data.sendall(UINT32.pack(SIM.SEND_COMMAND) + bytes([locality]) + sized(request))
        (size,) = UINT32.unpack(self._exactly(self._data, UINT32.size))
        response = self._exactly(self._data, size)
        self._acknowledged(self._data)
        if not response:
            raise ConnectionError("the peer has no power")
        return response

    def _order(self, code: SIM) -> None:
        self._platform.sendall(UINT32.pack(code))
        self._acknowledged(self._platform)

    def _acknowledged(self, connection: socket.socket) -> None:
        if self._exactly(connection, UINT32.size) != bytes(UINT32.size):
            raise ConnectionError("the peer has refused a signal")

    @staticmethod
    def _exactly(connection: socket.socket, count: int) -> bytes:
        octets = b""
        while len(octets) < count:
            part = connection.recv(count - len(octets))
            if not part:
                raise ConnectionError("the peer has ended")
            octets += part
        return octets

    def name_of(self, handle: int) -> bytes:
        """The Name of an entity: what was noted, or the handle."""
        return self.names.get(handle, handle.to_bytes(4, "big"))

    def lose_power(self) -> None:
        """Power goes and comes again."""
        self._power_cycle()

    def _power_cycle(self) -> None:
        for code in (SIM.SIGNAL_POWER_OFF, SIM.SIGNAL_POWER_ON, SIM.SIGNAL_NV_ON, SIM.SIGNAL_PHYS_PRES_OFF):
            self._order(code)

    def restart(self) -> None:
        """Whoever has started it starts it again."""
        self.close()
        self._open()

    def close(self) -> None:
        """Leave; the peer goes on."""
        self._data.close()
        self._platform.close()

    def capabilities(self, kind: TPM_CAP, first: int) -> tuple[Any, ...]:
        """All elements of a kind from `first` on."""
        found: list[Any] = []
        while True:
            reply = self.get_capability(capability=kind, property=first, property_count=0xFFFF).check()
            data = reply.capability_data.data
            found += data
            if not reply.more_data or not data:
                return tuple(found)
            first = self._after(kind, data[-1])

    @staticmethod
    def _after(kind: TPM_CAP, last: Any) -> int:
        names = {TPM_CAP.ALGS: "alg", TPM_CAP.TPM_PROPERTIES: "property", TPM_CAP.COMMANDS: "commandIndex"}
        return int(getattr(last, names[kind]) if kind in names else last) + 1

    def renew(self) -> None:
        """Delete all that a stream can have left, and shut down; what cannot be deleted is an error."""
        for _ in range(STARTS):
            try:
                self._renew()
            except ConnectionError:
                time.sleep(0.5)
                self.restart()
            else:
                return
        host, port = self.address
        raise PeerError(f"the TPM at {host}, port {port}, ends again and again: look at its own output")

    def _renew(self) -> None:
        self._power_cycle()
        self.startup(startup_type=TPM_SU.CLEAR).check()
        self.clear_control(TPM_RH.PLATFORM, disable=False).check()
        self.clear(TPM_RH.PLATFORM).check()
        for handle in self.capabilities(TPM_CAP.HANDLES, TPM_HT.PERSISTENT << 24):
            self.evict_control(TPM_RH.PLATFORM, handle, persistent_handle=handle).check()
        for index in self.capabilities(TPM_CAP.HANDLES, TPM_HT.NV_INDEX << 24):
            self._delete(index)
        self._forget_settings()
        self.counter = self.largest_counter()
        given = {"qualifying_data": b"", "in_scheme": NULL_SIGNATURE_SCHEME}
        attested = self.get_command_audit_digest(TPM_RH.ENDORSEMENT, TPM_RH.NULL, **given).check().attested
        attest: Any = unmarshal(TPMS_ATTEST, attested)
        self.audits = attest.attested.audit_counter
        self.shutdown(shutdown_type=TPM_SU.CLEAR).check()
        self._power_cycle()

    def _delete(self, index: int) -> None:
        if self.nv_undefine_space(TPM_RH.PLATFORM, index).rc == TPM_RC.SUCCESS:
            return
        code = TPM_CC.NV_UndefineSpaceSpecial
        recipe = Recipe((for_command(code),))
        session = start_session(self, TPM_SE.POLICY)
        for verb, given in recipe.steps(TPM_ALG.SHA256):
            getattr(self, verb)(session.handle, **given).check()
        public = self.nv_read_public(index).check()
        self.names = {index: public.nv_name}
        done = self.nv_undefine_space_special(index, TPM_RH.PLATFORM, sessions=[session, Password()])
        if done.rc != TPM_RC.SUCCESS:
            remedy = "start the peer again with the state of a new TPM"
            raise PeerError(f"the peer keeps the Index 0x{index:08x} of an earlier stream: {remedy}")

    def _forget_settings(self) -> None:
        audited = tuple(self.capabilities(TPM_CAP.AUDIT_COMMANDS, 0))
        lists: dict[str, Any] = {"set_list": (), "clear_list": ()}
        self.set_command_code_audit_status(TPM_RH.PLATFORM, audit_alg=TPM_ALG.SHA256, **lists).check()
        lists["clear_list"] = tuple(code for code in audited if code != TPM_CC.SetCommandCodeAuditStatus)
        self.set_command_code_audit_status(TPM_RH.PLATFORM, audit_alg=TPM_ALG.NULL, **lists).check()
        given = {"new_max_tries": 32, "new_recovery_time": 600, "lockout_recovery": 86400}
        self.dictionary_attack_parameters(TPM_RH.LOCKOUT, **given).check()
        self.set_algorithm_set(TPM_RH.PLATFORM, algorithm_set=0)
        self.pcr_allocate(TPM_RH.PLATFORM, pcr_allocation=self.banks).check()
        for number in (20, 21, 22):
            self.pcr_set_auth_policy(TPM_RH.PLATFORM, auth_policy=b"", hash_alg=TPM_ALG.NULL, pcr_num=number)

    def largest_counter(self) -> int:
        """From where the next NV counter counts."""
        attributes = TPMA_NV(
            TPM_NT=TPM_NT.COUNTER, OWNERWRITE=True, OWNERREAD=True, AUTHREAD=True, NO_DA=True
        )
        public = TPMS_NV_PUBLIC(COUNTER, TPM_ALG.SHA256, attributes, b"", 8)
        self.nv_define_space(TPM_RH.OWNER, auth=b"", public_info=public).check()
        self.nv_increment(TPM_RH.OWNER, COUNTER).check()
        value = self.nv_read(TPM_RH.OWNER, COUNTER, size=8, offset=0).check().data
        self.nv_undefine_space(TPM_RH.OWNER, COUNTER).check()
        return int.from_bytes(value, "big")

    def adopt(self, own: Client) -> None:
        """Make this TPM's settings and counters those of the peer, which has been renewed."""
        lockout, permanent = own.tpm.lockout, own.tpm.permanent
        lockout.max_tries, lockout.recovery_time, lockout.lockout_recovery = 32, 600, 86400
        permanent.audit_alg = TPM_ALG.SHA256
        permanent.shutdown = TPM_SU.CLEAR
        permanent.max_counter = self.counter
        permanent.audit_counter = self.audits
        own.tpm.touch_permanent()
        own.keep(own.tpm.changes())
