"""Faults that other TPMs have had, by their numbers: what provoked each of them is refused or right here."""

import struct
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.decrepit.ciphers.modes import CFB, OFB
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tests.keys import NULL_SIGNATURE_SCHEME, put_cipher, put_hmac, signing
from tests.objects import SEALED, STORAGE_ECC, created, creation, handle_of, primary
from tests.recorded import code_of
from tests.scenarios import Client, Password, seeded
from tests.sessions import AES_128, XOR_SHA256, CallerSession, start_session
from vtpm.commands import COMMANDS
from vtpm.commands.table import Area
from vtpm.crypto.primes import generated_prime
from vtpm.daemon.device.device import MIN_BUFFER_SIZE
from vtpm.spec.algorithms import TPMT_SIG_SCHEME
from vtpm.spec.attributes import TPMA_NV, TPMA_SESSION
from vtpm.spec.constants import TPM_ALG, TPM_CC, TPM_RH, TPM_SE, TPM_ST
from vtpm.spec.limits import MAX_RSA_KEY_BYTES, PRIVATE_VENDOR_SPECIFIC_BYTES
from vtpm.spec.nv import TPMS_NV_PUBLIC
from vtpm.spec.objects import TPM2B_PRIVATE
from vtpm.spec.structures import TPMS_PCR_SELECTION, TPMT_TK_HASHCHECK, TPMT_TK_VERIFIED
from vtpm.state.profile import DEFAULT
from vtpm.wire.error import TPM_RC
from vtpm.wire.structure import Record
from vtpm.wire.vocabulary import codec_of

HEADER = struct.Struct(">HII")
PASSWORD = bytes.fromhex("00000009 40000009 0000 01 0000")
"""The authorization area of one empty password."""


def command(code: TPM_CC, body: str, *, sessions: bool = False) -> bytes:
    """A command from the octets after its header."""
    octets = bytes.fromhex(body)
    tag = TPM_ST.SESSIONS if sessions else TPM_ST.NO_SESSIONS
    return HEADER.pack(tag, HEADER.size + len(octets), code) + octets


def xor_session(tpm: Client) -> bytes:
    """The handle of the session with which CVE-2023-1017 and 1018 begin, as octets."""
    nonce = bytes(range(0x40, 0x60)).hex()
    body = f"40000007 40000007 0020 {nonce} 0000 00 000a 000b 000b"
    start = command(TPM_CC.StartAuthSession, body)
    assert len(start) == 0x3D
    response = tpm.send(start)
    assert (code_of(response), len(response)) == (TPM_RC.SUCCESS, 48)
    return response[10:14]


def create_primary_decrypting(session: bytes, parameters: bytes) -> bytes:
    """CreatePrimary in the owner hierarchy; a session with only the attribute decrypt, and no HMAC."""
    area = session + bytes.fromhex("0000 20 0000")
    body = TPM_RH.OWNER.to_bytes(4, "big") + len(area).to_bytes(4, "big") + area + parameters
    return command(TPM_CC.CreatePrimary, body.hex(), sessions=True)


class TestParameterDecryption:
    """Part 3, 5.7: what is to be decrypted must be in the command."""

    @pytest.mark.parametrize("beyond", [1, 2, 3, 0x7FFF])
    def test_cve_2023_1017(self, tpm: Client, beyond: int) -> None:
        """CVE-2023-1017: a first parameter that ends beyond a command of the largest size."""
        session, room = xor_session(tpm), tpm.tpm.profile.max_command_size - 0x1D
        request = create_primary_decrypting(session, (room + beyond).to_bytes(2, "big") + bytes(room))
        assert len(request) == tpm.tpm.profile.max_command_size

        response = tpm.send(request)

        assert response == bytes.fromhex("8001 0000000a 00000995")

    @pytest.mark.parametrize("parameters", ["", "00"])
    def test_cve_2023_1018(self, tpm: Client, parameters: str) -> None:
        """CVE-2023-1018: no first parameter at all behind the authorization area."""
        request = create_primary_decrypting(xor_session(tpm), bytes.fromhex(parameters))
        assert len(request) == 0x1B + len(parameters) // 2

        assert tpm.send(request) == bytes.fromhex("8001 0000000a 0000099a")


UNFIT_SCHEMES = [
    signing(alg)
    for alg in (TPM_ALG.RSASSA, TPM_ALG.RSAPSS, TPM_ALG.ECDSA, TPM_ALG.ECDAA, TPM_ALG.SM2, TPM_ALG.ECSCHNORR)
]


@pytest.mark.parametrize("scheme", UNFIT_SCHEMES, ids=lambda scheme: scheme.scheme.name)
class TestHmacKeyWithAsymmetricScheme:
    """CVE-2025-2884 and CVE-2025-49133 (TCG VRT0009): a scheme that the key's type does not have."""

    def refused(self, tpm: Client, rc: int, number: int) -> None:
        """TPM_RC_SCHEME at the parameter inScheme, and the TPM goes on."""
        assert rc == TPM_RC.SCHEME.parameter(number)
        assert tpm.get_random(bytes_requested=8).rc == TPM_RC.SUCCESS

    @pytest.mark.parametrize("own", [TPM_ALG.NULL, TPM_ALG.HMAC])
    def test_sign(self, tpm: Client, scheme: TPMT_SIG_SCHEME, own: TPM_ALG) -> None:
        """Sign."""
        key = put_hmac(tpm, scheme=own, alg=None if own is TPM_ALG.NULL else TPM_ALG.SHA256)
        ticket = TPMT_TK_HASHCHECK(TPM_ST.HASHCHECK, TPM_RH.NULL, b"")

        self.refused(tpm, tpm.sign(key, digest=bytes(32), in_scheme=scheme, validation=ticket).rc, 2)

    def test_attest(self, tpm: Client, scheme: TPMT_SIG_SCHEME) -> None:
        """Quote, Certify and the other commands that attest."""
        key = put_hmac(tpm)
        item = primary(tpm)
        session = start_session(tpm)
        pcr = (TPMS_PCR_SELECTION(TPM_ALG.SHA256, b"\x01\0\0"),)

        quoted = tpm.quote(key, qualifying_data=b"", in_scheme=scheme, pcr_select=pcr)
        self.refused(tpm, quoted.rc, 2)
        self.refused(tpm, tpm.certify(item, key, qualifying_data=b"", in_scheme=scheme).rc, 2)
        timed = tpm.get_time(TPM_RH.ENDORSEMENT, key, qualifying_data=b"", in_scheme=scheme)
        self.refused(tpm, timed.rc, 2)
        audited = tpm.get_command_audit_digest(TPM_RH.ENDORSEMENT, key, qualifying_data=b"", in_scheme=scheme)
        self.refused(tpm, audited.rc, 2)
        tpm.get_random(
            bytes_requested=1, sessions=[replace(session, authorizes=False, attributes=AUDIT)]
        ).check()
        digested = tpm.get_session_audit_digest(
            TPM_RH.ENDORSEMENT, key, session.handle, qualifying_data=b"", in_scheme=scheme
        )
        self.refused(tpm, digested.rc, 2)

    def test_creation(self, tpm: Client, scheme: TPMT_SIG_SCHEME) -> None:
        """CertifyCreation, whose scheme comes third."""
        made = tpm.create_primary(TPM_RH.OWNER, **creation(STORAGE_ECC))

        certified = tpm.certify_creation(
            put_hmac(tpm),
            handle_of(made),
            qualifying_data=b"",
            creation_hash=made.creation_hash,
            in_scheme=scheme,
            ticket=made.creation_ticket,
        )

        self.refused(tpm, certified.rc, 3)

    def test_nv(self, tpm: Client, scheme: TPMT_SIG_SCHEME) -> None:
        """NV_Certify."""
        define(tpm, 8)
        tpm.nv_write(INDEX, INDEX, data=bytes(8), offset=0).check()

        certified = tpm.nv_certify(
            put_hmac(tpm), INDEX, INDEX, qualifying_data=b"", in_scheme=scheme, size=8, offset=0
        )

        self.refused(tpm, certified.rc, 2)


AUDIT = TPMA_SESSION(continueSession=True, audit=True)
INDEX = 0x01500020


def define(tpm: Client, size: int) -> None:
    """Define an Index that its authValue reads and writes."""
    attributes = TPMA_NV(AUTHREAD=True, AUTHWRITE=True, NO_DA=True)
    public = TPMS_NV_PUBLIC(INDEX, TPM_ALG.SHA256, attributes, b"", size)
    tpm.nv_define_space(TPM_RH.OWNER, auth=b"", public_info=public).check()


OVERSIZE = {
    "StirRandom": (TPM_CC.StirRandom, "0081" + "5a" * 129, 1),
    "Hash": (TPM_CC.Hash, "0401" + "5a" * 1025 + "000b 40000007", 1),
    "HashSequenceStart": (TPM_CC.HashSequenceStart, "0041" + "5a" * 65 + "000b", 1),
    "StartAuthSession": (
        TPM_CC.StartAuthSession,
        "40000007 40000007 0041" + "5a" * 65 + "0000 00 0010 000b",
        1,
    ),
    "PCR_Event": (TPM_CC.PCR_Event, "00000010 @ 0401" + "5a" * 1025, 1),
    "PCR_Extend": (TPM_CC.PCR_Extend, "00000010 @ 00000009" + "0004" * 9, 1),
    "PCR_Read": (TPM_CC.PCR_Read, "00000011" + "000b03ffffff" * 17, 1),
    "PolicyOR": (TPM_CC.PolicyOR, "% 00000009" + ("0020" + "00" * 32) * 9, 1),
    "PolicyPCR": (TPM_CC.PolicyPCR, "% 0041" + "5a" * 65 + "00000000", 1),
    "PolicyCpHash": (TPM_CC.PolicyCpHash, "% 0041" + "5a" * 65, 1),
    "PolicyNameHash": (TPM_CC.PolicyNameHash, "% 0041" + "5a" * 65, 1),
    "PolicyTemplate": (TPM_CC.PolicyTemplate, "% 0041" + "5a" * 65, 1),
    "IncrementalSelfTest": (TPM_CC.IncrementalSelfTest, "00000041" + "000b" * 65, 1),
    "HierarchyChangeAuth": (TPM_CC.HierarchyChangeAuth, "40000001 @ 0041" + "5a" * 65, 1),
    "SetPrimaryPolicy": (TPM_CC.SetPrimaryPolicy, "40000001 @ 0041" + "5a" * 65 + "000b", 1),
    "NV_DefineSpace": (TPM_CC.NV_DefineSpace, "40000001 @ 0041" + "5a" * 65 + "0000", 1),
    "CreatePrimary": (TPM_CC.CreatePrimary, "40000001 @ 0045 0041" + "5a" * 65 + "0000", 1),
    "LoadExternal": (TPM_CC.LoadExternal, "0000 004f 0008 000b 00000000 0041" + "5a" * 65 + "00100000", 2),
    "ContextLoad": (TPM_CC.ContextLoad, "00" * 8 + "80000000 40000001 ffff" + "5a" * 100, 1),
}
"""The parameter at fault; `@` is an authorization area, `%` the handle of a policy session."""


@pytest.mark.parametrize("name", OVERSIZE)
def test_cve_2021_3623_and_cve_2021_3746(tpm: Client, name: str) -> None:
    """
    CVE-2021-3623, CVE-2021-3746: a size beyond the largest leaves nothing behind that is saved later.

    The code is TPM_RC_SIZE, and the state that is saved afterwards is as before, in both its parts.
    """
    code, body, parameter = OVERSIZE[name]
    policy = start_session(tpm, TPM_SE.POLICY).handle.to_bytes(4, "big").hex()
    primary(tpm)
    permanent, volatile = tpm.tpm.snapshot(), tpm.tpm.snapshot_volatile()
    octets = body.replace("@", PASSWORD.hex()).replace("%", policy)

    response = tpm.send(command(code, octets, sessions="@" in body))

    assert code_of(response) == TPM_RC.SIZE.parameter(parameter)
    assert tpm.changes == {}
    assert (tpm.tpm.snapshot(), tpm.tpm.snapshot_volatile()) == (permanent, volatile)


MODES: dict[TPM_ALG, Any] = {
    TPM_ALG.CTR: modes.CTR,
    TPM_ALG.OFB: OFB,
    TPM_ALG.CBC: modes.CBC,
    TPM_ALG.CFB: CFB,
    TPM_ALG.ECB: lambda _iv: modes.ECB(),
}


@pytest.mark.parametrize("name", ["encrypt_decrypt", "encrypt_decrypt2"])
@pytest.mark.parametrize("bits", [128, 256])
@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
@pytest.mark.parametrize("decrypt", [False, True], ids=["encrypt", "decrypt"])
def test_cve_2021_3446_and_cve_2026_21444(
    tpm: Client,
    name: str,
    bits: int,
    mode: TPM_ALG,
    decrypt: bool,  # noqa: FBT001 - both directions
) -> None:
    """
    CVE-2021-3446, CVE-2026-21444: ivOut continues the data, rather than being ivIn again.

    Data in parts come out as the whole does, and as OpenSSL has it.
    """
    secret, iv, data = bytes(range(bits // 8)), bytes(range(0x80, 0x90)), bytes(range(80))
    key = put_cipher(tpm, secret)
    run = getattr(tpm, name)
    cipher: Any = Cipher(algorithms.AES(secret), MODES[mode](iv))
    judge = cipher.decryptor() if decrypt else cipher.encryptor()
    chain, parts = b"" if mode is TPM_ALG.ECB else iv, []

    for begin, end in ((0, 16), (16, 48), (48, 80)):
        reply = run(key, decrypt=decrypt, mode=mode, iv_in=chain, in_data=data[begin:end])
        assert mode is TPM_ALG.ECB or reply.iv_out != chain
        chain = reply.iv_out
        parts.append(reply.out_data)

    assert b"".join(parts) == judge.update(data) + judge.finalize()


def test_cve_2021_3505() -> None:
    """
    CVE-2021-3505: no bit of a generated prime is fixed, but for the highest and the lowest.

    Of 64 primes, a bit that is free is the same in all of them once in 2**63 times.
    """
    primes = [generated_prime(512, 65537, seeded(bytes([number]))) for number in range(64)]

    never = [bit for bit in range(512) if not any(prime >> bit & 1 for prime in primes)]
    always = [bit for bit in range(512) if all(prime >> bit & 1 for prime in primes)]
    assert (never, always) == ([], [0, 511])


@pytest.mark.parametrize(
    ("key_sign", "expected"),
    [
        ("", TPM_RC.HASH),
        ("00", TPM_RC.SIZE),
        ("000b", TPM_RC.SIZE),
        ("000b" + "00" * 31, TPM_RC.SIZE),
        ("0010" + "00" * 32, TPM_RC.HASH),
    ],
)
def test_policy_authorize_with_a_short_name(tpm: Client, key_sign: str, expected: TPM_RC) -> None:
    """Errata 1.4, 2.6.2; Part 3, 23.16: keySign is a Name with the digest of its algorithm."""
    session = start_session(tpm, TPM_SE.POLICY).handle
    ticket = TPMT_TK_VERIFIED(TPM_ST.VERIFIED, TPM_RH.NULL, None, b"")
    name = bytes.fromhex(key_sign)

    reply = tpm.policy_authorize(
        session, approved_policy=b"", policy_ref=b"", key_sign=name, check_ticket=ticket
    )

    assert reply.rc == expected.parameter(3)


@pytest.mark.parametrize("symmetric", [AES_128, XOR_SHA256], ids=["AES", "XOR"])
@pytest.mark.parametrize("size", [0, 1, 2, 16, 17])
def test_encrypted_response_of_few_octets(tpm: Client, symmetric: Any, size: int) -> None:
    """Issue 375 of libtpms: the first parameter of a response is encrypted whole, however short it is."""
    session = start_session(tpm, symmetric=symmetric)
    session.attributes = TPMA_SESSION(continueSession=True, encrypt=True)
    session.authorizes = False
    define(tpm, 32)
    tpm.nv_write(INDEX, INDEX, data=bytes(range(32)), offset=0).check()

    reply = tpm.nv_read(INDEX, INDEX, size=size, offset=0, sessions=[Password(), session])

    session.check(reply, 1)
    assert reply.parameters[:2] == size.to_bytes(2, "big")
    hidden = reply.parameters[2:]
    shown = session.crypt(hidden, session.nonce_tpm, session.nonce_caller, encrypt=False)
    assert shown == bytes(range(size))


@pytest.mark.parametrize("vendor", [0, 0x20000000, 0x80000000, 0xA0000000], ids=hex)
@pytest.mark.parametrize("code", [0, 0x11E, 0x1A4, 0x1FF, 0x400, 0x1000, 0xFFFF])
def test_command_code_beyond_the_table(tpm: Client, vendor: int, code: int) -> None:
    """Part 3, 5.2: an unknown code, vendor-specific or not, is TPM_RC_COMMAND_CODE."""
    assert code not in COMMANDS
    for body in (b"", bytes(64)):
        request = HEADER.pack(TPM_ST.NO_SESSIONS, HEADER.size + len(body), vendor | code) + body
        assert code_of(tpm.send(request)) == TPM_RC.COMMAND_CODE


def test_vendor_bit_of_a_known_command(tpm: Client) -> None:
    """The vendor bit makes another code of a known one."""
    request = HEADER.pack(TPM_ST.NO_SESSIONS, 12, 0x20000000 | TPM_CC.GetRandom) + b"\0\x08"

    assert code_of(tpm.send(request)) == TPM_RC.COMMAND_CODE


def test_longest_response() -> None:
    """A response with three sessions is never longer than TPM_PT_MAX_RESPONSE_SIZE."""
    sessions = 3 * (2 + 64 + 1 + 2 + 64)
    for entry in COMMANDS.values():
        parameters = entry.response.most() if entry.response else 0
        assert HEADER.size + 4 + parameters + sessions <= DEFAULT.max_response_size, entry.name


def test_smallest_buffer() -> None:
    """
    Nor is it longer than the smallest buffer that CMD_SET_BUFFERSIZE leaves, so none is ever cut.

    A private area that this TPM makes has nothing in it that is of another vendor's making.
    """
    sessions = 4 + 3 * (2 + 64 + 1 + 2 + 64)
    foreign = PRIVATE_VENDOR_SPECIFIC_BYTES - MAX_RSA_KEY_BYTES // 2
    for entry in COMMANDS.values():
        fields = entry.response.fields if isinstance(entry.response, Record) else {}
        parameters = entry.response.most() if entry.response else 0
        parameters -= foreign * sum(field is codec_of(TPM2B_PRIVATE) for field in fields.values())
        parameters += 0 if entry.sessions is Area.FORBIDDEN else sessions
        assert HEADER.size + parameters <= MIN_BUFFER_SIZE, entry.name


def test_sealed_data_with_a_session_of_each_kind(tpm: Client) -> None:
    """Issue 375 of libtpms again: one octet of sealed data, over an authorizing session."""
    parent = primary(tpm)
    item = handle_of(tpm.load(parent, **created(tpm, parent, SEALED, data=b"s")))
    for symmetric in (AES_128, XOR_SHA256):
        session: CallerSession = start_session(tpm, symmetric=symmetric)
        session.attributes = TPMA_SESSION(continueSession=True, encrypt=True)
        reply = tpm.unseal(item, sessions=[session])
        session.check(reply)
        shown = session.crypt(reply.parameters[2:], session.nonce_tpm, session.nonce_caller, encrypt=False)
        assert (reply.parameters[:2], shown) == (b"\0\x01", b"s")


def test_no_signature_scheme_is_no_way_around(tpm: Client) -> None:
    """CVE-2025-2884: a key without a scheme signs nothing where none is asked for either."""
    ticket = TPMT_TK_HASHCHECK(TPM_ST.HASHCHECK, TPM_RH.NULL, b"")

    reply = tpm.sign(put_hmac(tpm), digest=bytes(32), in_scheme=NULL_SIGNATURE_SCHEME, validation=ticket)

    assert reply.rc == TPM_RC.SCHEME.parameter(2)


@pytest.fixture
def without_sha1() -> Client:
    """A TPM whose profile has no SHA-1."""
    kept = tuple(alg for alg in DEFAULT.pcr_banks if alg is not TPM_ALG.SHA1)
    profile = replace(
        DEFAULT,
        name="without SHA-1",
        algorithms=DEFAULT.algorithms - {TPM_ALG.SHA1},
        pcr_banks=kept,
        active_banks=kept,
    )
    return Client(profile=profile)


HMAC_SHA1 = "0008000b00040072 0000 0005 0004 0000"


class TestForbiddenHash:
    """A profile without SHA-1: no object and no command brings it back (commit de20bf47 of libtpms)"""

    def test_key(self, without_sha1: Client) -> None:
        """A key whose scheme is HMAC with SHA-1 is neither created nor loaded."""
        given = creation(HMAC_SHA1)

        assert without_sha1.create_primary(TPM_RH.OWNER, **given).rc == TPM_RC.HASH.parameter(2)
        assert Client().create_primary(TPM_RH.OWNER, **given).rc == TPM_RC.SUCCESS

    def test_signature(self, without_sha1: Client) -> None:
        """A key without a scheme signs with other hashes only."""
        key, ticket = put_hmac(without_sha1), TPMT_TK_HASHCHECK(TPM_ST.HASHCHECK, TPM_RH.NULL, b"")
        codes = [
            without_sha1.sign(key, digest=digest, in_scheme=scheme, validation=ticket).rc
            for digest, scheme in (
                (bytes(20), signing(TPM_ALG.HMAC, TPM_ALG.SHA1)),
                (bytes(32), signing(TPM_ALG.HMAC)),
            )
        ]

        assert codes == [TPM_RC.HASH.parameter(2), TPM_RC.SUCCESS]

    def test_commands(self, without_sha1: Client) -> None:
        """Hash, HMAC and sessions do not take it."""
        tpm, key = without_sha1, put_hmac(without_sha1)

        hashed = tpm.hash(data=b"", hash_alg=TPM_ALG.SHA1, hierarchy=TPM_RH.NULL)
        assert hashed.rc == TPM_RC.HASH.parameter(2)
        assert tpm.mac_start(key, auth=b"", in_scheme=TPM_ALG.SHA1).rc == TPM_RC.SYMMETRIC.parameter(2)
        session = tpm.send(
            command(TPM_CC.StartAuthSession, "40000007 40000007 0010" + "00" * 16 + "0000 00 0010 0004")
        )
        assert code_of(session) == TPM_RC.HASH.parameter(5)
