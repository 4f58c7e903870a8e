"""What a real Windows VM got of its virtual TPM (tests/vectors/windows), judged by this one."""

import base64
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.objects import handle_of, primary
from tests.scenarios import Client
from vtpm.commands.key_signature import check_signature
from vtpm.crypto.digest import digest
from vtpm.spec.algorithms import TPMT_SIG_SCHEME, TPMT_SIGNATURE
from vtpm.spec.constants import TPM_ALG, TPM_GENERATED_VALUE, TPM_RH, TPM_ST
from vtpm.spec.context import TPMS_CREATION_DATA
from vtpm.spec.objects import TPMT_PUBLIC
from vtpm.spec.structures import TPMS_ATTEST, TPMT_HA
from vtpm.state.object import Object, name_of
from vtpm.wire.error import TPM_RC, TpmError
from vtpm.wire.structure import marshal, unmarshal

VM = json.loads((Path(__file__).parents[1] / "vectors" / "windows" / "shielded-vm.json").read_text())

EV_NO_ACTION = 3
EVENT = struct.Struct("<II20sI")
"""TCG PC Client Platform Firmware Profile, TCG_PCR_EVENT: PCR, type, SHA-1 digest, size of the event."""

SHA1_SIZE = 20
FIRMWARE_PCR = range(16)
"""Those that only software extends, and that begin with zeros."""


def octets_of(*path: str) -> bytes:
    """A value of the file."""
    value: Any = VM
    for name in path:
        value = value[name]
    return base64.b64decode(value)


AIK = octets_of("AK", "Public")
STATEMENTS = [
    pytest.param(octets_of("AK", "CreateAttestation"), octets_of("AK", "CreateSignature"), id="creation"),
    pytest.param(octets_of("Quote", "Quote"), octets_of("Quote", "Signature"), id="quote"),
]
PCRS = {pcr["Index"]: base64.b64decode(pcr["Digest"]) for pcr in VM["Log"]["PCRs"]}


class Event(NamedTuple):
    """One entry of the event log."""

    pcr: int
    kind: int
    digest: bytes


def statement_of(octets: bytes) -> Any:
    """A TPMS_ATTEST, whose `attested` is of a type that `type` says."""
    return unmarshal(TPMS_ATTEST, octets)


def events() -> Iterator[Event]:
    """The entries of the event log, in their order."""
    log = octets_of("Log", "Raw")
    end = 0
    while end < len(log):
        pcr, kind, value, size = EVENT.unpack_from(log, end)
        yield Event(pcr, kind, value)
        end += EVENT.size + size
    assert end == len(log)


def load_aik(tpm: Client) -> int:
    """The attestation key's public area in a transient handle."""
    public = unmarshal(TPMT_PUBLIC, AIK)
    return handle_of(tpm.load_external(in_private=None, in_public=public, hierarchy=TPM_RH.OWNER))


class TestAttestationKey:
    """Part 1, "Names"; Part 3, 18.3"""

    @pytest.mark.parametrize(
        ("kind", "octets"),
        [
            pytest.param(TPMT_PUBLIC, AIK, id="public area"),
            pytest.param(TPMS_CREATION_DATA, octets_of("AK", "CreateData"), id="creation data"),
            pytest.param(TPMS_ATTEST, octets_of("AK", "CreateAttestation"), id="creation"),
            pytest.param(TPMT_SIGNATURE, octets_of("AK", "CreateSignature"), id="signature"),
            pytest.param(TPMS_ATTEST, octets_of("Quote", "Quote"), id="quote"),
        ],
    )
    def test_octets(self, kind: type, octets: bytes) -> None:
        """Each structure is read to its last octet, and written the same again."""
        assert marshal(unmarshal(kind, octets)) == octets

    def test_creation(self) -> None:
        """CertifyCreation names the key, and has the digest of its creation data."""
        statement = statement_of(octets_of("AK", "CreateAttestation"))

        assert (statement.magic, statement.type) == (TPM_GENERATED_VALUE, TPM_ST.ATTEST_CREATION)
        assert statement.attested.object_name == name_of(unmarshal(TPMT_PUBLIC, AIK))
        assert statement.attested.creation_hash == digest(TPM_ALG.SHA256, octets_of("AK", "CreateData"))

    def test_name(self, tpm: Client) -> None:
        """LoadExternal gives the key the Name that its own TPM gave it."""
        statement = statement_of(octets_of("AK", "CreateAttestation"))

        assert tpm.read_public(load_aik(tpm)).name == statement.attested.object_name


@pytest.mark.parametrize(("statement", "signature"), STATEMENTS)
class TestSignatures:
    """Part 3, 18.3, 18.4 and 20.2: what the VM's TPM signed."""

    def test_own_code(self, statement: bytes, signature: bytes) -> None:
        """The signature is the key's, and of these octets only."""
        key = Object(unmarshal(TPMT_PUBLIC, AIK), None, TPM_RH.OWNER, b"")
        signed = unmarshal(TPMT_SIGNATURE, signature)

        check_signature(key, digest(TPM_ALG.SHA1, statement), signed)
        with pytest.raises(TpmError) as refused:
            check_signature(key, digest(TPM_ALG.SHA1, statement + b"\0"), signed)
        assert refused.value.rc is TPM_RC.SIGNATURE

    def test_commands(self, tpm: Client, statement: bytes, signature: bytes) -> None:
        """Hash, LoadExternal and VerifySignature agree, and give a ticket; not for other octets."""
        key, signed = load_aik(tpm), unmarshal(TPMT_SIGNATURE, signature)
        value = tpm.hash(data=statement, hash_alg=TPM_ALG.SHA1, hierarchy=TPM_RH.OWNER).out_hash
        other = bytes([value[0] ^ 1]) + value[1:]

        ticket = tpm.verify_signature(key, digest=value, signature=signed).validation

        assert (ticket.tag, ticket.hierarchy) == (TPM_ST.VERIFIED, TPM_RH.OWNER)
        refused = tpm.verify_signature(key, digest=other, signature=signed)
        assert refused.rc == TPM_RC.SIGNATURE.parameter(2)


class TestMeasuredBoot:
    """Part 1, "Extend of a PCR"; Part 3, 18.4 and 22.2"""

    def test_replay(self) -> None:
        """The event log explains every PCR that firmware extends."""
        values = {pcr: bytes(SHA1_SIZE) for pcr in FIRMWARE_PCR}
        for event in events():
            if event.kind != EV_NO_ACTION:
                values[event.pcr] = digest(TPM_ALG.SHA1, values[event.pcr], event.digest)

        assert values == {pcr: PCRS[pcr] for pcr in FIRMWARE_PCR}

    def test_quoted(self) -> None:
        """The quote has the digest of all 24 PCR, in their order."""
        quote = statement_of(octets_of("Quote", "Quote"))
        (selection,) = quote.attested.pcr_select

        assert (quote.magic, quote.type) == (TPM_GENERATED_VALUE, TPM_ST.ATTEST_QUOTE)
        assert (selection.hash, selection.pcr_select) == (TPM_ALG.SHA1, b"\xff\xff\xff")
        assert quote.attested.pcr_digest == digest(TPM_ALG.SHA1, *[PCRS[pcr] for pcr in sorted(PCRS)])

    def test_same_boot(self, tpm: Client) -> None:
        """With the same measurements, and with a key like the VM's, this TPM quotes the same."""
        for event in events():
            if event.kind != EV_NO_ACTION:
                tpm.pcr_extend(event.pcr, digests=(TPMT_HA(TPM_ALG.SHA1, event.digest),)).check()
        quote = statement_of(octets_of("Quote", "Quote"))
        key = primary(tpm, AIK.hex(), TPM_RH.ENDORSEMENT)

        reply = tpm.quote(
            key,
            qualifying_data=b"",
            in_scheme=TPMT_SIG_SCHEME(TPM_ALG.NULL, None),
            pcr_select=quote.attested.pcr_select,
        )

        assert statement_of(reply.attested).attested == quote.attested
