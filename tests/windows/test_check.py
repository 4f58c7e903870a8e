"""`vtpm check windows11`: what Windows 11 asks of a TPM, passed and failed."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.cli.hypervisor import Hypervisor
from tests.cli.test_vm import Installation
from tests.objects import SEALED, SIGN_ECC, STORAGE_RSA, created, creation, primary
from tests.scenarios import Client
from tests.windows.made import AUTHORITY, NOW, booted, made
from vtpm.engine.tpm import Tpm
from vtpm.manufacture.certificates import Model, Specification
from vtpm.manufacture.templates import EK, SRK_HANDLE
from vtpm.manufacture.windows import ALL_PCR, REQUIRED, examine
from vtpm.spec.attributes import TPMA_NV
from vtpm.spec.constants import TPM_ALG, TPM_CC, TPM_RH, TPM_SU
from vtpm.spec.nv import TPMS_NV_PUBLIC
from vtpm.spec.structures import TPMS_PCR_SELECTION, TPMT_HA
from vtpm.state.clock import Instant
from vtpm.state.profile import DEFAULT, PROFILES

pytestmark = pytest.mark.slow

EK_HANDLE, CERTIFICATE = EK.RSA_2048.value.handle, EK.RSA_2048.value.certificate
OPEN_INDEX = TPMA_NV(PPWRITE=True, AUTHREAD=True, OWNERREAD=True, NO_DA=True, PLATFORMCREATE=True)
UNMEASURED = {"enabled", "PCR hold measurements"}
P521 = "no curve that its tests stumble on"


@pytest.fixture(scope="module")
def blobs() -> dict[str, bytes]:
    """A TPM as `vtpm create` makes it."""
    return made()


def copy_of(client: Client) -> Tpm:
    """The same TPM again, at this moment."""
    tpm = client.tpm
    copy = Tpm.restore(tpm.snapshot() | tpm.snapshot_volatile(), os.urandom)
    copy.resume(Instant(client.now))
    return copy


def verdicts(tpm: Tpm) -> dict[str, str]:
    """What the lines say, but for those that passed."""
    found = {line["check"]: line["verdict"] for line in examine(tpm, NOW + timedelta(days=1))}
    return {name: verdict for name, verdict in found.items() if verdict != "passed"}


def set_owner(tpm: Client) -> None:
    tpm.hierarchy_change_auth(TPM_RH.OWNER, new_auth=b"owner").check()


def lock_out(tpm: Client) -> None:
    item = tpm.load(SRK_HANDLE, **created(tpm, SRK_HANDLE, SEALED, data=b"s", auth=b"PIN")).object_handle
    while tpm.unseal(item, auths=[b"wrong"]).rc != 0x921:
        pass


def disable_clear(tpm: Client) -> None:
    tpm.clear_control(TPM_RH.PLATFORM, disable=1).check()


def disable_storage(tpm: Client) -> None:
    tpm.hierarchy_control(TPM_RH.PLATFORM, enable=TPM_RH.ENDORSEMENT, state=0).check()


def sha1_alone(tpm: Client) -> None:
    banks = [TPMS_PCR_SELECTION(TPM_ALG.SHA1, ALL_PCR), TPMS_PCR_SELECTION(TPM_ALG.SHA256, bytes(3))]
    tpm.pcr_allocate(TPM_RH.PLATFORM, pcr_allocation=tuple(banks)).check()
    tpm.power_cycle().check()
    for number in range(8):
        tpm.pcr_extend(number, digests=(TPMT_HA(TPM_ALG.SHA1, b"measured".ljust(20)),)).check()


def no_measurements(tpm: Client) -> None:
    tpm.power_cycle().check()


def replace_key(tpm: Client, handle: int, hierarchy: int, template: str) -> None:
    tpm.evict_control(TPM_RH.OWNER, handle, persistent_handle=handle).check()
    key = primary(tpm, template, hierarchy)
    tpm.evict_control(TPM_RH.OWNER, key, persistent_handle=handle).check()


def other_storage_root(tpm: Client) -> None:
    replace_key(tpm, SRK_HANDLE, TPM_RH.OWNER, SIGN_ECC)


def other_endorsement_key(tpm: Client) -> None:
    replace_key(tpm, EK_HANDLE, TPM_RH.ENDORSEMENT, STORAGE_RSA)


def storage_root_with_auth(tpm: Client) -> None:
    tpm.evict_control(TPM_RH.OWNER, SRK_HANDLE, persistent_handle=SRK_HANDLE).check()
    made_key = tpm.create_primary(TPM_RH.OWNER, **creation(STORAGE_RSA, auth=b"a"))
    tpm.evict_control(TPM_RH.OWNER, made_key.object_handle, persistent_handle=SRK_HANDLE).check()


def no_certificate(tpm: Client) -> None:
    tpm.nv_undefine_space(TPM_RH.PLATFORM, CERTIFICATE).check()


def put_certificate(tpm: Client, octets: bytes) -> None:
    no_certificate(tpm)
    public = TPMS_NV_PUBLIC(CERTIFICATE, TPM_ALG.SHA256, OPEN_INDEX, b"", len(octets))
    tpm.nv_define_space(TPM_RH.PLATFORM, auth=b"", public_info=public).check()
    for at in range(0, len(octets), 1024):
        tpm.nv_write(TPM_RH.PLATFORM, CERTIFICATE, data=octets[at : at + 1024], offset=at).check()


def garbage(tpm: Client) -> None:
    put_certificate(tpm, b"no certificate")


def certificate_of_another(tpm: Client) -> None:
    put_certificate(tpm, tpm.tpm.nv[EK.ECC_P384.value.certificate].data)


def certificate_for_another_use(tpm: Client) -> None:
    key = tpm.read_public(EK_HANDLE).out_public
    put_certificate(tpm, AUTHORITY.certify_platform(key, "guest", Model("M", "m", "1"), 4, NOW))


def not_yet_valid(tpm: Client) -> None:
    key, later = tpm.read_public(EK_HANDLE).out_public, NOW + timedelta(days=30)
    put_certificate(
        tpm, AUTHORITY.certify_ek(key, "guest", Model("M", "m", "1"), Specification("2.0", 0, 185), 4, later)
    )


CERTIFICATES = dict.fromkeys(("EK certificate", "ECC EK certificate"), "not checked")
"""A key that is not to be seen is no reason to call its certificate wrong."""

KEYS_FAIL = {"capable of attestation", "ready for attestation", "seals to PCR 7 and 11"}


class TestLines:
    """What each of them looks at: HardwareReadiness.ps1, Win32_Tpm, tpmtool, HLK, BitLocker"""

    def test_passed(self, blobs: dict[str, bytes]) -> None:
        """A TPM of `vtpm create` passes, but for advice on a curve; what was found is said."""
        lines = examine(copy_of(booted(blobs)), NOW + timedelta(days=1))

        assert {line["check"]: line["verdict"] for line in lines if line["verdict"] != "passed"} == {
            P521: "advice"
        }
        assert len(lines) == len({line["check"] for line in lines}) == 22
        assert next(line["found"] for line in lines if line["check"] == "TPM 2.0") == "2.0, 0, 1.85"
        assert all(bool(line["remedy"]) == (line["verdict"] != "passed") for line in lines)

    @pytest.mark.parametrize(
        ("spoil", "failed", "otherwise"),
        [
            (set_owner, {"ready", "counter in NV"}, {}),
            (lock_out, {"not locked out"}, {}),
            (disable_clear, set(), {"can be cleared": "advice"}),
            (disable_storage, {"enabled", "endorsement key", "ready for attestation"}, CERTIFICATES),
            (sha1_alone, {"SHA-256 bank", "PCR hold measurements", "seals to PCR 7 and 11"}, {}),
            (no_measurements, {"PCR hold measurements"}, {}),
            (other_storage_root, {"ready for storage", *KEYS_FAIL}, {}),
            (storage_root_with_auth, KEYS_FAIL, {}),
            (other_endorsement_key, {"endorsement key", "EK certificate", "ready for attestation"}, {}),
        ],
        ids=lambda value: getattr(value, "__name__", ""),
    )
    def test_failed(
        self,
        blobs: dict[str, bytes],
        spoil: Callable[[Client], None],
        failed: set[str],
        otherwise: dict[str, str],
    ) -> None:
        """What is spoiled fails, with what to do about it, and nothing else does."""
        tpm = booted(blobs)
        spoil(tpm)

        expected = dict.fromkeys(failed, "failed") | {P521: "advice"} | otherwise
        assert verdicts(copy_of(tpm)) == expected

    @pytest.mark.parametrize(
        ("spoil", "found"),
        [
            (no_certificate, "there is none at 0x01c00002"),
            (garbage, "what is at 0x01c00002 is no certificate"),
            (certificate_of_another, "it is for another key than the one in the TPM"),
            (certificate_for_another_use, "it is not for an endorsement key (2.23.133.8.1)"),
            (not_yet_valid, "it is valid from 2026-02-01T03:04:05+00:00 to 9999-12-31T23:59:59+00:00"),
        ],
        ids=lambda value: getattr(value, "__name__", ""),
    )
    def test_certificate(self, blobs: dict[str, bytes], spoil: Callable[[Client], None], found: str) -> None:
        """A certificate that is not what it should be is told why."""
        tpm = booted(blobs)
        spoil(tpm)
        lines = examine(copy_of(tpm), NOW + timedelta(days=1))

        failed = {line["check"]: line["found"] for line in lines if line["verdict"] == "failed"}
        assert failed == {"EK certificate": found}

    def test_failure_mode(self, blobs: dict[str, bytes]) -> None:
        """A TPM that has failed responds to nothing."""
        tpm = booted(blobs)
        tpm.tpm.fail("for a test")

        assert verdicts(copy_of(tpm))["the TPM responds"] == "failed"

    def test_off(self, blobs: dict[str, bytes]) -> None:
        """What only a run can tell is not checked of a TPM that is off."""
        tpm = Tpm.restore(blobs, os.urandom)
        tpm.power_on(Instant(0))

        assert verdicts(tpm) == {P521: "advice"} | dict.fromkeys(UNMEASURED, "not checked")

    def test_bare(self) -> None:
        """A TPM with seeds alone lacks a certificate; Windows makes the rest."""
        tpm = Tpm.manufacture(os.urandom)
        tpm.power_on(Instant(0))

        found = {name for name, verdict in verdicts(tpm).items() if verdict == "failed"}
        assert found == {"EK certificate"}


class TestProfiles:
    """TPM V2.0 Command and Signal Profile"""

    @pytest.mark.parametrize("name", sorted(PROFILES))
    def test_profile(self, name: str) -> None:
        """No profile of this program fails a line."""
        found = verdicts(copy_of(booted(made(PROFILES[name]))))

        assert "failed" not in found.values()

    def test_command(self) -> None:
        """A profile without a command that Windows uses fails, one without a recommended one is advised."""
        for code, verdict in ((TPM_CC.PolicyNV, "failed"), (TPM_CC.PolicyPassword, "advice")):
            profile = replace(DEFAULT, name="own", commands=DEFAULT.commands - {code})
            name = "commands that Windows uses" if code in REQUIRED else "recommended commands"
            assert verdicts(copy_of(booted(made(profile))))[name] == verdict

    def test_algorithm(self) -> None:
        """A profile without an algorithm that Windows uses fails."""
        profile = replace(DEFAULT, name="own", algorithms=DEFAULT.algorithms - {TPM_ALG.RSAPSS})

        assert verdicts(copy_of(booted(made(profile))))["algorithms"] == "failed"


class TestCommand:
    """The command line"""

    def test_life(self, tmp_path: Path) -> None:
        """Off, running without measurements, and measured; the guest notices nothing."""
        installation = Installation(tmp_path)
        installation.run("provider", "init", "main")
        installation.run("create", "guest", "--allow-unverified", "--profile", "pc-client")
        off = installation.run("check", "windows11", "guest")
        assert "not checked  Get-Tpm: enabled: the VM is off" in off
        with installation.serving(), Hypervisor(installation.run_dir / "guest.sock") as guest:
            text = installation.run("check", "windows11", "guest", status=1)
            assert text == ""
            for number in range(8):
                guest.pcr_extend(number, digests=(TPMT_HA(TPM_ALG.SHA256, b"m" * 32),)).check()
            lines = json.loads(installation.run("check", "windows11", "guest", "--json"))
            values = guest.pcr_read(pcr_selection_in=(TPMS_PCR_SELECTION(TPM_ALG.SHA256, b"\0\x08\0"),))
            assert values.pcr_values == (bytes(32),)
            assert guest.shutdown(shutdown_type=TPM_SU.CLEAR).rc == 0

        assert {line["verdict"] for line in lines} == {"passed", "advice"}
        assert all("{vm}" not in line["remedy"] for line in lines)
