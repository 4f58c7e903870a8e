"""`vtpm ek`, `inspect` and `lockout-reset`, of VMs that run and of those that do not."""

import json
import shlex
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_public_key
from cryptography.x509.oid import NameOID

from nvstore import Host
from tests.cli.hypervisor import Hypervisor
from tests.cli.test_vm import Installation, blobs_of
from tests.guest.test_event_log import SHA256, header, record
from tests.objects import SEALED, STORAGE_ECC, created, primary
from vtpm.manufacture.certificates import public_key_of
from vtpm.manufacture.templates import EK, SRK_HANDLE
from vtpm.spec.constants import TPM_ALG, TPM_RH
from vtpm.spec.structures import TPMS_PCR_SELECTION, TPMT_HA
from vtpm.state.tpm import TpmState
from vtpm.wire.error import TPM_RC

pytestmark = pytest.mark.slow

LOCKOUT_AUTH = b"lockout authorization"
PIN = b"a PIN nobody sees"


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    """An installation with a provider and a VM."""
    made = Installation(tmp_path)
    made.run("provider", "init", "main")
    made.run("create", "guest", "--allow-unverified", "--banks", "sha256")
    return made


def stored(installation: Installation) -> TpmState:
    """The TPM as it is stored."""
    return TpmState.restore(Host(installation.directory / "state").read_state("guest"), bytes)


def lock_out(guest: Hypervisor) -> int:
    """Fail until nothing more is heard; the handle of what is protected."""
    guest.hierarchy_change_auth(TPM_RH.LOCKOUT, new_auth=LOCKOUT_AUTH).check()
    item: int = guest.load(
        SRK_HANDLE, **created(guest, SRK_HANDLE, SEALED, data=b"secret", auth=PIN)
    ).object_handle
    for _ in range(3):
        assert guest.unseal(item, auths=[b"wrong"]).rc == TPM_RC.AUTH_FAIL.session(1)
    assert guest.unseal(item, auths=[PIN]).rc == TPM_RC.LOCKOUT
    return item


class TestEk:
    """Issue of keys and certificates without the VM noticing"""

    def test_pem(self, installation: Installation) -> None:
        """Each key and its certificate, which are those of the TPM."""
        told = installation.run("ek", "guest")
        certificates = x509.load_pem_x509_certificates(told.encode())
        public = {handle: item.public for handle, item in stored(installation).persistent.items()}

        assert [certificate.public_key() for certificate in certificates] == [
            public_key_of(public[EK.RSA_2048.value.handle]),
            public_key_of(public[EK.ECC_P384.value.handle]),
        ]
        assert told.count("BEGIN PUBLIC KEY") == len(certificates)

    def test_running(self, installation: Installation) -> None:
        """A TPM that runs tells the same as one that is off, and nothing is written."""
        off = json.loads(installation.run("ek", "guest", "--json"))
        with installation.serving(), Hypervisor(installation.run_dir / "guest.sock"):
            before = Host(installation.directory / "state").show_state("guest").generation
            running = json.loads(installation.run("ek", "guest", "--json"))
            assert Host(installation.directory / "state").show_state("guest").generation == before

        assert running == off
        assert [(item["key"], item["handle"], item["index"]) for item in off] == [
            ("RSA 2048", "0x81010001", "0x01c00002"),
            ("ECC NIST_P384", "0x81010016", "0x01c00016"),
        ]
        keys = [load_pem_public_key(item["public_key"].encode()) for item in off]
        assert isinstance(keys[0], rsa.RSAPublicKey)
        assert isinstance(keys[1], ec.EllipticCurvePublicKey)

    def test_bare(self, installation: Installation) -> None:
        """A TPM without endorsement keys says so."""
        installation.run("create", "bare", "--allow-unverified", "--bare")

        assert "--bare" in installation.run("ek", "bare", status=1)
        assert json.loads(installation.run("ek", "bare", "--json")) == []


class TestCertificates:
    """TCG EK Credential Profile, 2.2.1.5: a certificate can be replaced, its key never"""

    @pytest.mark.parametrize("is_running", [True, False])
    def test_renew(self, installation: Installation, *, is_running: bool) -> None:
        """New certificates of the host's authority for the same keys, which a guest reads at once."""
        before = certificates_of(installation)
        if is_running:
            with installation.serving(), Hypervisor(installation.run_dir / "guest.sock") as guest:
                installation.run("ek", "renew", "guest", "--subject", "another name")
                index = EK.RSA_2048.value.certificate
                size = guest.nv_read_public(index).check().nv_public.data_size
                read = guest.nv_read(index, index, size=min(size, 1024), offset=0).check().data
                assert guest.nv_write(TPM_RH.PLATFORM, index, data=b"x", offset=0).rc == TPM_RC.NV_LOCKED
                after = certificates_of(installation)
                assert after[0].public_bytes(Encoding.DER).startswith(read)
        else:
            installation.run("ek", "renew", "guest", "--subject", "another name")
        after = certificates_of(installation)

        assert [new.public_key() for new in after] == [old.public_key() for old in before]
        assert [new.issuer for new in after] == [old.issuer for old in before]
        for new, old in zip(after, before, strict=True):
            assert new.serial_number != old.serial_number
            assert new.subject.rfc4514_string() == "CN=another name"
            kinds = [extension.oid for extension in old.extensions]
            assert [extension.oid for extension in new.extensions] == kinds
        assert len(after) == len(before) == 2
        assert last_of(installation)["op"] == "ek-certificate"
        assert last_of(installation)["through"] == ("daemon" if is_running else "store")
        installation.run("check", "windows11", "guest")

    def test_install(self, installation: Installation) -> None:
        """Another authority's certificate is taken for the key that it names, in PEM and in DER."""
        old = certificates_of(installation)[0]
        file = installation.directory / "certificate"
        for form in (Encoding.PEM, Encoding.DER):
            made = signed_elsewhere(old.public_key())
            file.write_bytes(made.public_bytes(form))
            assert "0x01c00002" in installation.run("ek", "install", "guest", str(file))
            assert certificates_of(installation)[0] == made

    def test_other_authority(self, installation: Installation) -> None:
        """Requests that openssl answers, as the command says, become certificates that Windows takes."""
        place = installation.directory
        make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-384 -nodes -subj /CN=other -days 9"
        subprocess.run([*make.split(), "-keyout", "ca.key", "-out", "ca.pem"], cwd=place, check=True)
        for line in installation.run("ek", "csr", "guest", str(place / "requests")).splitlines():
            subprocess.run(shlex.split(line), cwd=place, check=True)
            installation.run("ek", "install", "guest", shlex.split(line)[-1])

        found = certificates_of(installation)
        assert {certificate.issuer.rfc4514_string() for certificate in found} == {"CN=other"}
        assert "passed       pre-attestation health check: EK certificate: issued by CN=other" in (
            installation.run("check", "windows11", "guest")
        )

    def test_request_is_no_certificate(self, installation: Installation) -> None:
        """An authority that certifies the key of the request instead has certified nothing of this TPM."""
        place = installation.directory
        installation.run("ek", "csr", "guest", str(place))
        request = x509.load_pem_x509_csr((place / "ek-81010001.csr").read_bytes())
        wrong = place / "wrong.pem"
        wrong.write_bytes(signed_elsewhere(request.public_key()).public_bytes(Encoding.PEM))

        assert request.is_signature_valid
        assert "none of the TPM's" in installation.run("ek", "install", "guest", str(wrong), status=1)

    def test_refused(self, installation: Installation) -> None:
        """What is no certificate, or another key's, changes nothing, whether the VM runs or not."""
        before = certificates_of(installation)
        other = signed_elsewhere(ec.generate_private_key(ec.SECP384R1()).public_key())
        file = installation.directory / "certificate"
        for octets, why in (
            (other.public_bytes(Encoding.PEM), "none of the TPM's endorsement keys"),
            (b"nothing", "no X.509 certificate"),
            (b"-----BEGIN CERTIFICATE-----\nnothing", "give the certificate alone"),
        ):
            file.write_bytes(octets)
            assert why in installation.run("ek", "install", "guest", str(file), status=1)
            with installation.serving(), Hypervisor(installation.run_dir / "guest.sock") as guest:
                assert why in installation.run("ek", "install", "guest", str(file), status=1)
                assert guest.get_random(bytes_requested=8).rc == 0
        assert certificates_of(installation) == before

    def test_bare(self, installation: Installation) -> None:
        """Without endorsement keys there is nothing to certify."""
        installation.run("create", "bare", "--allow-unverified", "--bare")

        assert "none to certify" in installation.run("ek", "renew", "bare", status=1)


class TestInspect:
    """What a TPM holds"""

    def test_off(self, installation: Installation) -> None:
        """What is permanent: identity, hierarchies, lockout, clock, banks, objects, Indices; no PCR."""
        facts = json.loads(installation.run("inspect", "guest", "--json"))

        assert not facts["started"]
        assert "pcr" not in facts
        assert facts["profile"] == "default"
        assert facts["identity"]["specification"] == "2.0, 0, 1.85"
        assert facts["banks"] == ["SHA256"]
        assert {item["handle"]: item["meaning"] for item in facts["persistent"]} == {
            "0x81000001": "storage root key",
            "0x81010001": "endorsement key",
            "0x81010016": "endorsement key",
        }
        assert [index["index"] for index in facts["nv"]] == ["0x01c00002", "0x01c00016", "0x01c08000"]
        assert all("WRITELOCKED" in index["attributes"] for index in facts["nv"])
        assert facts["lockout"]["max_tries"] == 3
        assert facts["clock"]["shutdown"] == "CLEAR"

    def test_running(self, installation: Installation) -> None:
        """PCR as the guest has extended them, transient objects, and whose authorizations are set."""
        with installation.serving(), Hypervisor(installation.run_dir / "guest.sock") as guest:
            digest = TPMT_HA(TPM_ALG.SHA256, b"measured".ljust(32))
            guest.pcr_extend(7, digests=(digest,)).check()
            primary(guest, STORAGE_ECC)
            guest.hierarchy_change_auth(TPM_RH.OWNER, new_auth=PIN).check()
            facts = json.loads(installation.run("inspect", "guest", "--json"))
            read = guest.pcr_read(pcr_selection_in=(TPMS_PCR_SELECTION(TPM_ALG.SHA256, b"\x80\0\0"),))
            assert guest.get_random(bytes_requested=8).rc == 0

        assert facts["started"]
        assert facts["pcr"]["SHA256"]["7"] == read.pcr_values[0].hex() != bytes(32).hex()
        assert len(facts["pcr"]["SHA256"]) == 24
        assert facts["transient_objects"] == 1
        assert {entry["name"]: entry["auth_set"] for entry in facts["hierarchies"]} == {
            "owner": True,
            "endorsement": False,
            "platform": False,
        }

    def test_secrets(self, installation: Installation) -> None:
        """No seed, proof, authorization or private part is in any of it, for people or for programs."""
        with installation.serving(), Hypervisor(installation.run_dir / "guest.sock") as guest:
            lock_out(guest)
            told = [
                installation.run(*words, "guest", *form)
                for words in (["inspect"], ["ek"])
                for form in ([], ["--json"])
            ]
        tpm = stored(installation)
        secrets = [LOCKOUT_AUTH, PIN, tpm.permanent.firmware_root]
        secrets += [secret for entry in tpm.hierarchies.values() for secret in (entry.seed, entry.proof)]
        secrets += [item.sensitive.sensitive for item in tpm.persistent.values() if item.sensitive]

        for text in told:
            for secret in secrets:
                assert secret
                assert secret.hex() not in text
                assert secret.decode("latin-1") not in text

    def test_people(self, installation: Installation) -> None:
        """Lines for people name what is there."""
        told = installation.run("inspect", "guest")

        assert "  0x81000001  meaning storage root key, kind RSA 2048, hierarchy owner" in told
        assert "  failed tries: 0\n" in told

    @pytest.mark.parametrize("command", ["ek", "inspect", "lockout-reset"])
    def test_unknown(self, installation: Installation, command: str) -> None:
        """A VM that is not there is named."""
        assert "none-such" in installation.run(command, "none-such", status=1)


class TestEventLog:
    """PC Client Platform Firmware Profile, "Event Logging": a log that the guest has handed over"""

    def test_explained(self, installation: Installation) -> None:
        """The events are told, and which PCR they do not lead to; PcrsMatchTcgLog is a line of the check."""
        log = installation.directory / "log"
        with installation.serving(), Hypervisor(installation.run_dir / "guest.sock") as guest:
            records = b""
            for number in range(8):
                digest = bytes([number]) * 32
                records += record(number, 4, {SHA256: digest}, bytes(4))
                guest.pcr_extend(number, digests=(TPMT_HA(TPM_ALG.SHA256, digest),)).check()
            log.write_bytes(header((SHA256, 32)) + records)
            given = ["guest", "--event-log", str(log)]
            facts = json.loads(installation.run("inspect", *given, "--json"))
            assert facts["unexplained"] == []
            assert facts["events"][7] == {"pcr": 7, "type": "EV_SEPARATOR", "says": ""}
            checked = installation.run("check", "windows11", *given)
            assert "passed       pre-attestation health check: PCR match the event log: 8 events" in checked
            assert "advice       BitLocker: Secure Boot in the event log: off" in checked

            guest.pcr_extend(7, digests=(TPMT_HA(TPM_ALG.SHA256, bytes(32)),)).check()
            assert "unexplained: SHA256 7\n" in installation.run("inspect", *given)
            installation.run("check", "windows11", *given, status=1)

    def test_errors(self, installation: Installation) -> None:
        """A log that is damaged, and one for a VM that is off."""
        log = installation.directory / "log"
        log.write_bytes(header((SHA256, 32)))
        given = ["guest", "--event-log", str(log)]
        assert "this one is off" in installation.run("inspect", *given, status=2)
        assert "not checked  pre-attestation health check: PCR match" in (
            installation.run("check", "windows11", *given)
        )
        log.write_bytes(header((SHA256, 32)) + b"cut")
        with installation.serving(), Hypervisor(installation.run_dir / "guest.sock"):
            assert "ends within an event" in installation.run("inspect", *given, status=1)


class TestLockoutReset:
    """Part 1, "Dictionary Attack Protection": the operator's way out"""

    def test_running(self, installation: Installation) -> None:
        """A guest that is locked out goes on at once, with its lockoutAuth as it was; this is noted."""
        with installation.serving(), Hypervisor(installation.run_dir / "guest.sock") as guest:
            item = lock_out(guest)
            assert guest.dictionary_attack_lock_reset(TPM_RH.LOCKOUT, auths=[b"wrong"]).rc
            told = json.loads(installation.run("lockout-reset", "guest", "--reason", "ticket 7", "--json"))
            assert stored(installation).lockout.failed_tries == 0
            assert guest.unseal(item, auths=[PIN]).out_data == b"secret"
            assert guest.dictionary_attack_lock_reset(TPM_RH.LOCKOUT, auths=[LOCKOUT_AUTH]).rc == 0

        assert told == {"vm": "guest", "failed_tries": 3}
        noted = last_of(installation)
        assert (noted["op"], noted["result"], noted["reason"]) == ("lockout-reset", "done", "ticket 7")
        assert (noted["through"], noted["failed_tries"]) == ("daemon", "3")

    @pytest.mark.parametrize("is_served", [True, False])
    def test_off(self, installation: Installation, *, is_served: bool) -> None:
        """A TPM that is off is not locked out after it, whether a daemon serves it or not."""
        with installation.serving(), Hypervisor(installation.run_dir / "guest.sock") as guest:
            lock_out(guest)
        assert stored(installation).lockout.failed_tries == 3
        if is_served:
            with installation.serving():
                installation.run("lockout-reset", "guest")
                tpm = stored(installation)
                with Hypervisor(installation.run_dir / "guest.sock") as guest:
                    assert guest.get_random(bytes_requested=8).rc == 0
        else:
            installation.run("lockout-reset", "guest")
            tpm = stored(installation)

        assert tpm.lockout.failed_tries == 0
        assert tpm.lockout.auth_value == LOCKOUT_AUTH
        assert last_of(installation)["through"] == "store"

    def test_suspended(self, installation: Installation) -> None:
        """A run that was stored is not made worthless."""
        host = Host(installation.directory / "state")
        with host.open_state("guest") as store:
            store.commit({"suspended": b"a run"})

        assert "start the VM" in installation.run("lockout-reset", "guest", status=1)
        assert blobs_of(installation, "guest")["suspended"] == b"a run"


def certificates_of(installation: Installation) -> list[x509.Certificate]:
    """The certificates that the TPM has."""
    return x509.load_pem_x509_certificates(installation.run("ek", "guest").encode())


def signed_elsewhere(key: Any) -> x509.Certificate:
    """A certificate of another authority."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "another authority")])
    begun = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key)
    begun = begun.serial_number(x509.random_serial_number())
    begun = begun.not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
    begun = begun.not_valid_after(datetime(2046, 1, 1, tzinfo=UTC))
    return begun.sign(ec.generate_private_key(ec.SECP384R1()), SHA384())


def last_of(installation: Installation) -> dict[str, Any]:
    """The last line of the audit log."""
    entry: dict[str, Any] = json.loads(installation.run("audit", "show", "--json", "--last", "1"))
    return entry
