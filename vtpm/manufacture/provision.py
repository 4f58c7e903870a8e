"""Provisioning: a new TPM gets keys, certificates and PCR banks, by commands that a platform could send."""

from collections.abc import Callable, Iterable
from typing import Protocol, Self

from vtpm.commands.context import evict_control, flush_context
from vtpm.commands.hierarchy import create_primary
from vtpm.commands.nv import nv_write, nv_write_lock
from vtpm.commands.nv_definition import nv_define_space
from vtpm.commands.pcr import pcr_allocate
from vtpm.commands.startup import shutdown, startup
from vtpm.manufacture.templates import EK, PLATFORM_CERTIFICATE, SRK_HANDLE, SRK_TEMPLATE
from vtpm.spec.algorithms import TPMS_SENSITIVE_CREATE
from vtpm.spec.attributes import TPMA_NV
from vtpm.spec.constants import TPM_ALG, TPM_SU
from vtpm.spec.limits import MAX_NV_BUFFER_SIZE
from vtpm.spec.nv import TPMS_NV_PUBLIC
from vtpm.spec.objects import TPMT_PUBLIC
from vtpm.spec.structures import TPMS_PCR_SELECTION
from vtpm.state.clock import Instant
from vtpm.state.hierarchy import Hierarchy
from vtpm.state.object import Object
from vtpm.state.pcr import PCR_SELECT_SIZE
from vtpm.state.power import power_on
from vtpm.state.tpm import TpmState

CERTIFICATE_INDEX = TPMA_NV(
    PPWRITE=True,
    WRITEDEFINE=True,
    PPREAD=True,
    OWNERREAD=True,
    AUTHREAD=True,
    NO_DA=True,
    PLATFORMCREATE=True,
)
"""TCG EK Credential Profile, 2.2.1.5.1: whoever can reach the TPM reads it, only the platform writes it."""


class Certifier(Protocol):
    """Who signs certificates: an authority of our own, or a program."""

    def certify_ek(self, key: TPMT_PUBLIC) -> bytes:
        """The certificate of an endorsement key, in DER."""

    def certify_platform(self, key: TPMT_PUBLIC) -> bytes:
        """The platform certificate, in DER; empty for none."""


class Provisioning:
    """
    A TPM while it is provisioned: started at the beginning, shut down orderly at the end.

    Each step is a command that the platform or the owner could send.
    """

    def __init__(self, tpm: TpmState) -> None:
        self.tpm = tpm

    def __enter__(self) -> Self:
        power_on(self.tpm, Instant(0))
        startup(self.tpm, startup_type=TPM_SU.CLEAR)
        return self

    def __exit__(self, *_: object) -> None:
        shutdown(self.tpm, shutdown_type=TPM_SU.CLEAR)
        self.tpm.changes()

    def activate_banks(self, banks: Iterable[TPM_ALG]) -> None:
        """Allocate all PCR of these banks and none of the others, from the next TPM Reset on."""
        active = set(banks)
        pcr_allocate(
            self.tpm,
            self.tpm.platform,
            pcr_allocation=tuple(
                TPMS_PCR_SELECTION(bank, (b"\xff" if bank in active else b"\0") * PCR_SELECT_SIZE)
                for bank in self.tpm.profile.pcr_banks
            ),
        )

    def make_ek(self, key: EK) -> TPMT_PUBLIC:
        """Make an endorsement key persistent; its public area."""
        return self._persistent(self.tpm.endorsement, key.value.template, key.value.handle)

    def make_srk(self) -> TPMT_PUBLIC:
        """Make the storage root key persistent; its public area."""
        return self._persistent(self.tpm.owner, SRK_TEMPLATE, SRK_HANDLE)

    def write_certificate(self, index: int, certificate: bytes, *, lock: bool) -> None:
        """Define an Index of the platform, write the certificate, and lock it for good if `lock`."""
        tpm = self.tpm
        public = TPMS_NV_PUBLIC(index, TPM_ALG.SHA256, CERTIFICATE_INDEX, b"", len(certificate))
        nv_define_space(tpm, tpm.platform, auth=b"", public_info=public)
        for at in range(0, len(certificate), MAX_NV_BUFFER_SIZE):
            nv_write(
                tpm, tpm.platform, tpm.nv[index], data=certificate[at : at + MAX_NV_BUFFER_SIZE], offset=at
            )
        if lock:
            nv_write_lock(tpm, tpm.platform, tpm.nv[index])

    def _persistent(self, hierarchy: Hierarchy, template: TPMT_PUBLIC, handle: int) -> TPMT_PUBLIC:
        made = create_primary(
            self.tpm,
            hierarchy,
            in_sensitive=TPMS_SENSITIVE_CREATE(user_auth=b"", data=b""),
            in_public=template,
            outside_info=b"",
            creation_pcr=(),
        )
        item = self.tpm.volatile.objects[made.object_handle]
        assert isinstance(item, Object)
        evict_control(self.tpm, self.tpm.owner, item, persistent_handle=handle)
        flush_context(self.tpm, flush_handle=made.object_handle)
        return made.out_public


def provision(
    tpm: TpmState,
    certifier: Certifier | None,
    *,
    keys: Iterable[EK] = (EK.RSA_2048, EK.ECC_P384),
    banks: Iterable[TPM_ALG] | None = None,
    srk: bool = False,
    lock: bool = True,
    say: Callable[[str], object] = lambda _: None,
) -> None:
    """
    Give a new TPM what a PC Client platform expects; `changes` of the TPM are taken.

    Endorsement keys are persistent; with a certifier, their certificates and the platform's are in NV.
    `banks` are the active PCR banks, all of the profile's if none are named; `say` hears of each step.
    """
    with Provisioning(tpm) as work:
        first: TPMT_PUBLIC | None = None
        for key in keys:
            public = work.make_ek(key)
            first = first or public
            say(f"endorsement key {key.name} at 0x{key.value.handle:08x}")
            if certifier is not None:
                work.write_certificate(key.value.certificate, certifier.certify_ek(public), lock=lock)
                say(f"its certificate at 0x{key.value.certificate:08x}")
        platform = certifier.certify_platform(first) if certifier is not None and first is not None else b""
        if platform:
            work.write_certificate(PLATFORM_CERTIFICATE, platform, lock=lock)
            say(f"platform certificate at 0x{PLATFORM_CERTIFICATE:08x}")
        if srk:
            work.make_srk()
            say(f"storage root key at 0x{SRK_HANDLE:08x}")
        if banks is not None:
            chosen = list(banks)
            work.activate_banks(chosen)
            say(f"active PCR banks: {', '.join(bank.name for bank in chosen)}")
