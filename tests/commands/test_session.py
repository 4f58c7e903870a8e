"""Part 3, clause 11: session commands."""

import hashlib
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA384, HashAlgorithm

from tests.keys import RSA_MODULUS, put_ecc, put_hmac, put_rsa
from tests.recorded import load, vectors
from tests.scenarios import Client, Reply
from tests.sessions import AES_128, NO_CIPHER, XOR_SHA256, start_session
from vtpm.spec.algorithms import TPMT_SYM_DEF
from vtpm.spec.attributes import TPMA_NV
from vtpm.spec.constants import TPM_ALG, TPM_CC, TPM_ECC_CURVE, TPM_NT, TPM_RH, TPM_SE
from vtpm.spec.nv import TPMS_NV_PUBLIC
from vtpm.state.sequence import Sequence, SequenceKind
from vtpm.wire.error import TPM_RC

A = TPM_ALG
INDEX = 0x01000001
CBC = TPMT_SYM_DEF(A.AES, 128, A.CBC)
KEY, PUBLIC_KEY, SEQUENCE = 0x80000000, 0x80000001, 0x80000002


def start(tpm: Client, tpm_key: int = TPM_RH.NULL, bind: int = TPM_RH.NULL, **given: Any) -> Reply:
    """TPM2_StartAuthSession with parameters that are in order, but for those given."""
    parameters = {
        "nonce_caller": bytes(16),
        "encrypted_salt": b"",
        "session_type": TPM_SE.HMAC,
        "symmetric": NO_CIPHER,
        "auth_hash": A.SHA256,
    }
    return tpm.start_auth_session(tpm_key, bind, **(parameters | given))


def define(tpm: Client, auth: bytes = b"", **attributes: int) -> None:
    """Define an Index of 8 octets that its authValue reads and writes."""
    word = TPMA_NV(**({"AUTHREAD": True, "AUTHWRITE": True} | attributes))
    public = TPMS_NV_PUBLIC(INDEX, A.SHA256, word, b"", 8)
    assert tpm.nv_define_space(TPM_RH.OWNER, auth=auth, public_info=public).rc == TPM_RC.SUCCESS


class TestStart:
    """11.1: what is accepted"""

    @pytest.mark.parametrize(
        ("kind", "handle"),
        [(TPM_SE.HMAC, 0x02000000), (TPM_SE.POLICY, 0x03000000), (TPM_SE.TRIAL, 0x03000000)],
    )
    def test_handle(self, tpm: Client, kind: TPM_SE, handle: int) -> None:
        """The type of the handle is that of the session; the nonce is as long as the caller's."""
        reply = start(tpm, session_type=kind, nonce_caller=bytes(20))

        assert reply.session_handle == handle
        assert len(reply.nonce_tpm) == 20

    @pytest.mark.parametrize(
        ("alg", "size", "expected"),
        [
            (A.SHA256, 16, TPM_RC.SUCCESS),
            (A.SHA256, 32, TPM_RC.SUCCESS),
            (A.SHA1, 20, TPM_RC.SUCCESS),
            (A.SHA512, 64, TPM_RC.SUCCESS),
            (A.SHA256, 0, TPM_RC.SIZE.parameter(1)),
            (A.SHA256, 15, TPM_RC.SIZE.parameter(1)),
            (A.SHA256, 33, TPM_RC.SIZE.parameter(1)),
            (A.SHA1, 21, TPM_RC.SIZE.parameter(1)),
        ],
    )
    def test_nonce(self, tpm: Client, alg: TPM_ALG, size: int, expected: int) -> None:
        """A nonce has 16 octets at least, and no more than a digest."""
        assert start(tpm, nonce_caller=bytes(size), auth_hash=alg).rc == expected

    @pytest.mark.parametrize(
        ("symmetric", "expected"),
        [
            (AES_128, TPM_RC.SUCCESS),
            (XOR_SHA256, TPM_RC.SUCCESS),
            (TPMT_SYM_DEF(algorithm=A.AES, key_bits=256, mode=A.CFB), TPM_RC.SUCCESS),
            (TPMT_SYM_DEF(algorithm=A.AES, key_bits=128, mode=A.CBC), TPM_RC.MODE.parameter(4)),
            (TPMT_SYM_DEF(algorithm=A.CAMELLIA, key_bits=128, mode=A.CTR), TPM_RC.MODE.parameter(4)),
        ],
    )
    def test_symmetric(self, tpm: Client, symmetric: TPMT_SYM_DEF, expected: int) -> None:
        """A block cipher works in CFB mode."""
        assert start(tpm, symmetric=symmetric).rc == expected


class TestBind:
    """11.1: what a session can be bound to"""

    def test_empty_auth(self, tpm: Client) -> None:
        """A session bound to an entity without authValue has a key all the same."""
        reply = start(tpm, bind=TPM_RH.OWNER)

        assert len(tpm.tpm.volatile.sessions[reply.session_handle & 0xFFFFFF].session_key) == 32

    def test_no_key(self, tpm: Client) -> None:
        """A session that is neither bound nor salted has none."""
        start(tpm)

        assert tpm.tpm.volatile.sessions[0].session_key == b""

    @pytest.mark.parametrize("kind", [TPM_NT.PIN_PASS, TPM_NT.PIN_FAIL])
    def test_pin(self, tpm: Client, kind: TPM_NT) -> None:
        """A PIN Index cannot be bound to: its authValue is not always there."""
        define(tpm, TPM_NT=kind, NO_DA=True, AUTHWRITE=False, OWNERWRITE=True)

        assert start(tpm, bind=INDEX).rc == TPM_RC.HANDLE.handle(2)

    def test_public_key(self, tpm: Client) -> None:
        """An object whose private part is not loaded has no authValue to be bound to."""
        load(tpm, PUBLIC_KEY, ECC["public"])

        assert start(tpm, bind=PUBLIC_KEY).rc == TPM_RC.HANDLE.handle(2)

    @pytest.mark.parametrize("bind", [TPM_RH.LOCKOUT, TPM_RH.ENDORSEMENT, TPM_RH.PLATFORM, 0, 23])
    def test_other_entities(self, tpm: Client, bind: int) -> None:
        """Hierarchies, lockout and PCR can be bound to."""
        assert start(tpm, bind=bind).rc == TPM_RC.SUCCESS

    def test_bound_use(self, tpm: Client) -> None:
        """In its bound use, the session proves the authValue that it began with."""
        define(tpm, b"secret")
        session = start_session(tpm, bind=INDEX, bind_auth=b"secret")
        session.includes_auth = False

        session.check(tpm.nv_write(INDEX, INDEX, data=b"x", offset=0, sessions=[session]))

        # The Index's Name has changed with its first write, so the session is not bound to it any more.
        assert tpm.nv_read(INDEX, INDEX, size=1, offset=0, sessions=[session]).rc == TPM_RC.AUTH_FAIL.session(
            1
        )
        session.includes_auth, session.auth = True, b"secret"
        session.check(tpm.nv_read(INDEX, INDEX, size=1, offset=0, sessions=[session]))

    def test_dictionary_attack(self, tpm: Client) -> None:
        """A session bound to a protected entity is protected, whatever it is used for."""
        define(tpm, b"secret")
        session = start_session(tpm, bind=INDEX, bind_auth=b"wrong")

        for _ in range(tpm.tpm.lockout.max_tries):
            assert tpm.pcr_reset(16, sessions=[session]).rc == TPM_RC.AUTH_FAIL.session(1)
        assert tpm.pcr_reset(16, sessions=[session]).rc == TPM_RC.LOCKOUT


KEYS = vectors("hmac_sessions")["keys"]
ECC, RSA = KEYS


class TestSalt:
    """11.1: what a salt must be; tests of the recorded sessions have those that are right"""

    @pytest.fixture(autouse=True)
    def _loaded(self, tpm: Client) -> None:
        load(tpm, KEY, ECC["public"], ECC["private"])
        load(tpm, PUBLIC_KEY, ECC["public"])
        tpm.tpm.volatile.objects[SEQUENCE] = Sequence(SequenceKind.HASH, b"", {}, handle=SEQUENCE)

    def test_salt_without_key(self, tpm: Client) -> None:
        """Without a key there is no salt."""
        assert start(tpm, encrypted_salt=b"x").rc == TPM_RC.VALUE.parameter(2)

    @pytest.mark.parametrize(
        ("handle", "salt", "expected"),
        [
            (KEY, b"", TPM_RC.VALUE.parameter(2)),
            (KEY, b"x", TPM_RC.VALUE.parameter(2)),
            (KEY, b"\0\1x\0\1y", TPM_RC.VALUE.parameter(2)),
            (PUBLIC_KEY, b"x", TPM_RC.HANDLE.handle(1)),
            (SEQUENCE, b"x", TPM_RC.KEY.handle(1)),
            (0x8000000F, b"x", TPM_RC.REFERENCE_H0),
            (TPM_RH.OWNER, b"x", TPM_RC.VALUE.handle(1)),
        ],
    )
    def test_faulty(self, tpm: Client, handle: int, salt: bytes, expected: int) -> None:
        """The key must be able to decrypt the salt."""
        assert start(tpm, handle, encrypted_salt=salt).rc == expected

    @pytest.mark.parametrize("size", [255, 256, 257])
    def test_rsa(self, tpm: Client, size: int) -> None:
        """A salt for an RSA key is as long as its modulus, and properly encoded."""
        load(tpm, KEY, RSA["public"], RSA["private"])

        assert start(tpm, KEY, encrypted_salt=b"\1" * size).rc == TPM_RC.VALUE.parameter(2)

    @pytest.mark.parametrize(("alg", "judge"), [(A.SHA1, SHA1()), (A.SHA256, SHA256()), (A.SHA384, SHA384())])
    def test_oaep_key(self, tpm: Client, alg: TPM_ALG, judge: HashAlgorithm) -> None:
        """Part 1, RSA Labeled KEM: a key with a scheme of its own decrypts with that scheme's hash."""
        handle = put_rsa(tpm, "decrypt", A.OAEP, alg)
        padding = OAEP(mgf=MGF1(judge), algorithm=judge, label=b"SECRET\0")
        secret = RSAPublicNumbers(65537, RSA_MODULUS).public_key().encrypt(b"salt", padding)
        define(tpm, b"secret")
        session = start_session(tpm, tpm_key=handle, salt=b"salt", encrypted_salt=secret)
        session.auth = b"secret"

        session.check(tpm.nv_write(INDEX, INDEX, data=b"x", offset=0, sessions=[session]))

    @pytest.mark.parametrize(
        ("curve", "judge"),
        [
            (TPM_ECC_CURVE.NIST_P192, ec.SECP192R1()),
            (TPM_ECC_CURVE.NIST_P224, ec.SECP224R1()),
            (TPM_ECC_CURVE.NIST_P256, ec.SECP256R1()),
            (TPM_ECC_CURVE.NIST_P384, ec.SECP384R1()),
            (TPM_ECC_CURVE.NIST_P521, ec.SECP521R1()),
            (TPM_ECC_CURVE.BP_P256_R1, ec.BrainpoolP256R1()),
        ],
    )
    def test_ecc_key(self, tpm: Client, curve: TPM_ECC_CURVE, judge: ec.EllipticCurve) -> None:
        """Part 1, One-Pass ECDH: the salt is the KDFe of the shared x, with the key's nameAlg."""
        handle = put_ecc(tpm, "decrypt", curve=curve)
        point = tpm.read_public(handle).out_public.unique
        x, y = (int.from_bytes(octets, "big") for octets in (point.x, point.y))
        public = ec.EllipticCurvePublicNumbers(x, y, judge).public_key()
        ephemeral = ec.derive_private_key(0x1234567, judge)
        numbers = ephemeral.public_key().public_numbers()
        size = (judge.key_size + 7) // 8
        mine = [number.to_bytes(size, "big") for number in (numbers.x, numbers.y)]
        message = ephemeral.exchange(ec.ECDH(), public) + b"SECRET\0" + mine[0] + x.to_bytes(size, "big")
        salt = hashlib.sha256(b"\0\0\0\1" + message).digest()
        secret = b"".join(size.to_bytes(2, "big") + octets for octets in mine)
        define(tpm, b"secret")
        session = start_session(tpm, tpm_key=handle, salt=salt, encrypted_salt=secret)
        session.auth = b"secret"

        session.check(tpm.nv_write(INDEX, INDEX, data=b"x", offset=0, sessions=[session]))

    def test_large_value(self, tpm: Client) -> None:
        """As a number, the encrypted salt is below the modulus."""
        handle = put_rsa(tpm, "decrypt")

        for number in (RSA_MODULUS, RSA_MODULUS + 1, (1 << 1024) - 1):
            reply = start(tpm, handle, encrypted_salt=number.to_bytes(128, "big"))
            assert reply.rc == TPM_RC.VALUE.parameter(2)

    @pytest.mark.parametrize(("size", "expected"), [(32, TPM_RC.SUCCESS), (33, TPM_RC.VALUE.parameter(2))])
    def test_long_salt(self, tpm: Client, size: int, expected: int) -> None:
        """The salt is no longer than a digest of the key's hash."""
        handle = put_rsa(tpm, "decrypt")
        padding = OAEP(mgf=MGF1(SHA256()), algorithm=SHA256(), label=b"SECRET\0")
        secret = RSAPublicNumbers(65537, RSA_MODULUS).public_key().encrypt(bytes(size), padding)

        assert start(tpm, handle, encrypted_salt=secret).rc == expected

    def test_other_scheme(self, tpm: Client) -> None:
        """A key with another scheme cannot decrypt a salt."""
        handle = put_rsa(tpm, "decrypt", A.RSAES)

        assert start(tpm, handle, encrypted_salt=bytes(128)).rc == TPM_RC.VALUE.parameter(2)

    def test_key_that_decrypts_no_salt(self, tpm: Client) -> None:
        """A symmetric key is no key for salts."""
        assert start(tpm, put_hmac(tpm), encrypted_salt=b"x").rc == TPM_RC.KEY.handle(1)

    def test_signing_key(self, tpm: Client) -> None:
        """A key that may not decrypt is TPM_RC_ATTRIBUTES."""
        signing = ECC["public"].replace("00030472", "00040472", 1)
        load(tpm, KEY, signing, ECC["private"])

        assert start(tpm, KEY, encrypted_salt=b"x").rc == TPM_RC.ATTRIBUTES.handle(1)


class TestLimits:
    """11.1: how many sessions there can be"""

    def test_loaded(self, tpm: Client) -> None:
        """When every slot is taken, TPM_RC_SESSION_MEMORY; handles are given out from the lowest."""
        slots = tpm.tpm.profile.loaded_sessions

        assert [start(tpm).session_handle & 0xFF for _ in range(slots)] == list(range(slots))
        assert start(tpm).rc == TPM_RC.SESSION_MEMORY
        assert start(tpm, symmetric=CBC).rc == TPM_RC.MODE.parameter(4)

    def test_lowest_free(self, tpm: Client) -> None:
        """A new session gets the lowest number that is not in use, be it by a saved session."""
        for _ in range(4):
            start(tpm)
        tpm.tpm.reset.saved_sessions[4] = 17
        del tpm.tpm.volatile.sessions[1]

        assert start(tpm).session_handle == 0x02000001
        assert start(tpm).session_handle == 0x02000005

    def test_active(self, tpm: Client) -> None:
        """When every number is taken, TPM_RC_SESSION_HANDLES."""
        tpm.tpm.reset.saved_sessions |= {number: 17 + number for number in range(64)}

        assert start(tpm).rc == TPM_RC.SESSION_HANDLES

    def test_gap(self, tpm: Client) -> None:
        """While the oldest saved session is too old, the last slot is kept for its return."""
        reset, profile = tpm.tpm.reset, tpm.tpm.profile
        reset.saved_sessions[20] = reset.session_context
        reset.session_context += profile.context_gap
        for _ in range(profile.loaded_sessions - 1):
            assert start(tpm).rc == TPM_RC.SUCCESS
        reset.session_context += 1

        assert start(tpm).rc == TPM_RC.CONTEXT_GAP
        reset.session_context -= 1
        assert start(tpm).rc == TPM_RC.SUCCESS


class TestPolicyRestart:
    """11.2"""

    def test_restart(self, tpm: Client) -> None:
        """Everything that the session has accumulated is forgotten."""
        session = start_session(tpm, TPM_SE.POLICY)
        tpm.policy_password(session.handle)
        tpm.policy_command_code(session.handle, code=TPM_CC.NV_Read)

        assert tpm.policy_restart(session.handle).rc == TPM_RC.SUCCESS

        assert tpm.policy_get_digest(session.handle).policy_digest == bytes(32)
        assert tpm.policy_command_code(session.handle, code=TPM_CC.NV_Write).rc == TPM_RC.SUCCESS

    def test_nonce_stays(self, tpm: Client) -> None:
        """The session goes on with its nonces, and so with its time."""
        session = start_session(tpm, TPM_SE.POLICY)
        tpm.wait(1000)
        tpm.policy_restart(session.handle)

        assert tpm.tpm.volatile.sessions[0].nonce_tpm == session.nonce_tpm
        assert tpm.tpm.volatile.sessions[0].start_time == 0

    def test_hmac_session(self, tpm: Client) -> None:
        """Only policy sessions have a policy."""
        session = start_session(tpm)

        assert tpm.policy_restart(session.handle).rc == TPM_RC.VALUE.handle(1)
        assert tpm.policy_restart(session.handle | 0x01000000).rc == TPM_RC.HANDLE.handle(1)
