"""Part 3, clause 15: symmetric primitives."""

import hashlib
import hmac
from typing import Any

import pytest
from cryptography.hazmat.decrepit.ciphers.algorithms import Camellia, TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES, SM4
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.cmac import CMAC

from tests.keys import put_cipher, put_ecc, put_hmac, put_rsa
from tests.libtpms import by_name, put_areas, put_external, recorded_tpm
from tests.scenarios import Client
from vtpm.spec.constants import TPM_ALG, TPM_RH, TPM_ST
from vtpm.wire.error import TPM_RC

IV = bytes(range(0xF0, 0x100))
CIPHERS = by_name("crypto-commands.json", "EncryptDecrypt2")
HMACS = by_name("crypto-commands.json", "HMAC")
HASHES = by_name("commands-deterministic.json", "Hash")


@pytest.fixture
def key(tpm: Client) -> int:
    """An AES key that may do everything, in any mode."""
    return put_cipher(tpm)


class TestEncryptDecrypt:
    """Part 3, 15.2 and 15.3"""

    @pytest.mark.parametrize("name", CIPHERS)
    def test_recorded(self, name: str) -> None:
        """Data and the IV that continues them are those of another TPM, in every mode."""
        tpm, vector = recorded_tpm(), CIPHERS[name]
        put_external(tpm, bytes.fromhex(vector["load_command"]))

        response = tpm.send(bytes.fromhex(vector["command"]))

        out, iv = bytes.fromhex(vector["data_out"]), bytes.fromhex(vector["iv_out"])
        parameters = len(out).to_bytes(2, "big") + out + len(iv).to_bytes(2, "big") + iv
        assert parameters == response[14:-5]

    @pytest.mark.parametrize("mode", [TPM_ALG.CTR, TPM_ALG.OFB, TPM_ALG.CBC, TPM_ALG.CFB, TPM_ALG.ECB])
    def test_round_trip_in_parts(self, tpm: Client, key: int, mode: TPM_ALG) -> None:
        """The IV that is returned continues the data; decryption gives them back."""
        data, iv = bytes(range(64)), b"" if mode is TPM_ALG.ECB else IV
        whole = tpm.encrypt_decrypt(key, decrypt=False, mode=mode, iv_in=iv, in_data=data)
        first = tpm.encrypt_decrypt2(key, in_data=data[:32], decrypt=False, mode=mode, iv_in=iv)
        second = tpm.encrypt_decrypt2(key, in_data=data[32:], decrypt=False, mode=mode, iv_in=first.iv_out)
        back = tpm.encrypt_decrypt2(key, in_data=whole.out_data, decrypt=True, mode=mode, iv_in=iv)

        assert whole.out_data == first.out_data + second.out_data
        assert (data, whole.iv_out) == (back.out_data, second.iv_out)

    @pytest.mark.parametrize(
        ("alg", "cipher"),
        [
            (TPM_ALG.CAMELLIA, Camellia),
            (TPM_ALG.SM4, SM4),
            (TPM_ALG.TDES, lambda key: TripleDES(key + key[:8])),
        ],
    )
    def test_other_ciphers(self, tpm: Client, alg: TPM_ALG, cipher: Any) -> None:
        """Other ciphers than AES, in a mode that OpenSSL has for all of them."""
        secret, data = bytes(range(16)), bytes(range(48))
        iv = IV[:8] if alg is TPM_ALG.TDES else IV
        key = put_cipher(tpm, secret, alg=alg)

        reply = tpm.encrypt_decrypt(key, decrypt=False, mode=TPM_ALG.CBC, iv_in=iv, in_data=data)
        back = tpm.encrypt_decrypt(key, decrypt=True, mode=TPM_ALG.CBC, iv_in=iv, in_data=reply.out_data)

        expected = Cipher(cipher(secret), CBC(iv)).encryptor().update(data)
        assert (expected, expected[-len(iv) :]) == (reply.out_data, reply.iv_out)
        assert data == back.out_data

    @pytest.mark.parametrize(
        ("attributes", "decrypt", "expected"),
        [
            ("sign", False, TPM_RC.SUCCESS),
            ("sign", True, TPM_RC.ATTRIBUTES.handle(1)),
            ("decrypt", True, TPM_RC.SUCCESS),
            ("decrypt", False, TPM_RC.ATTRIBUTES.handle(1)),
            ("decrypt restricted", True, TPM_RC.ATTRIBUTES.handle(1)),
        ],
    )
    def test_attributes(self, tpm: Client, attributes: str, *, decrypt: bool, expected: int) -> None:
        """Encryption needs sign, decryption needs decrypt, and neither is for a restricted key."""
        key = put_cipher(tpm, attributes=attributes)

        reply = tpm.encrypt_decrypt2(key, in_data=b"x", decrypt=decrypt, mode=TPM_ALG.CFB, iv_in=IV)

        assert expected == reply.rc

    @pytest.mark.parametrize(
        ("own", "asked", "expected"),
        [
            (TPM_ALG.NULL, TPM_ALG.CFB, TPM_RC.SUCCESS),
            (TPM_ALG.NULL, TPM_ALG.NULL, TPM_RC.MODE.parameter(3)),
            (TPM_ALG.CFB, TPM_ALG.NULL, TPM_RC.SUCCESS),
            (TPM_ALG.CFB, TPM_ALG.CFB, TPM_RC.SUCCESS),
            (TPM_ALG.CFB, TPM_ALG.CTR, TPM_RC.MODE.parameter(3)),
            (TPM_ALG.CMAC, TPM_ALG.CTR, TPM_RC.MODE.handle(1)),
        ],
    )
    def test_mode(self, tpm: Client, own: TPM_ALG, asked: TPM_ALG, expected: int) -> None:
        """The mode is the key's, or else the caller's; a key for MACs has none."""
        key = put_cipher(tpm, mode=own)

        assert expected == tpm.encrypt_decrypt2(key, in_data=b"x", decrypt=False, mode=asked, iv_in=IV).rc

    @pytest.mark.parametrize(
        ("mode", "iv", "size", "expected"),
        [
            (TPM_ALG.ECB, b"", 16, TPM_RC.SUCCESS),
            (TPM_ALG.ECB, IV, 16, TPM_RC.SIZE.parameter(4)),
            (TPM_ALG.ECB, b"", 15, TPM_RC.SIZE.parameter(1)),
            (TPM_ALG.CBC, IV, 17, TPM_RC.SIZE.parameter(1)),
            (TPM_ALG.CBC, IV[1:], 17, TPM_RC.SIZE.parameter(4)),
            (TPM_ALG.CFB, b"", 16, TPM_RC.SIZE.parameter(4)),
            (TPM_ALG.CFB, IV, 0, TPM_RC.SUCCESS),
        ],
    )
    def test_sizes(self, tpm: Client, key: int, mode: TPM_ALG, iv: bytes, size: int, expected: int) -> None:
        """The IV is one block, but for ECB, which has none; CBC and ECB take whole blocks."""
        data = bytes(size)

        assert expected == tpm.encrypt_decrypt2(key, in_data=data, decrypt=False, mode=mode, iv_in=iv).rc

    @pytest.mark.parametrize(
        ("iv", "blocks", "expected"),
        [
            (bytes(16), 4, 4),
            (b"\xff" * 16, 1, 0),
            (b"\xff" * 16, 4, 3),
            (b"\0" * 8 + b"\xff" * 8, 1, 1 << 64),
        ],
    )
    def test_counter(self, tpm: Client, key: int, iv: bytes, blocks: int, expected: int) -> None:
        """15.1, Table 64: all bits of the IV are one counter."""
        data = bytes(16 * blocks)

        reply = tpm.encrypt_decrypt2(key, in_data=data, decrypt=False, mode=TPM_ALG.CTR, iv_in=iv)

        assert reply.iv_out == expected.to_bytes(16, "big")

    def test_positions(self, tpm: Client, key: int) -> None:
        """EncryptDecrypt has its parameters in another order."""
        mode = tpm.encrypt_decrypt(key, decrypt=False, mode=TPM_ALG.NULL, iv_in=IV, in_data=b"")
        iv = tpm.encrypt_decrypt(key, decrypt=False, mode=TPM_ALG.CTR, iv_in=b"", in_data=b"")
        data = tpm.encrypt_decrypt(key, decrypt=False, mode=TPM_ALG.CBC, iv_in=IV, in_data=b"x")

        expected = [TPM_RC.MODE.parameter(2), TPM_RC.SIZE.parameter(3), TPM_RC.SIZE.parameter(4)]
        assert expected == [mode.rc, iv.rc, data.rc]

    def test_other_object(self, tpm: Client) -> None:
        """Only a symmetric key will do, and no sequence."""
        handles = put_rsa(tpm, "decrypt"), start_hash(tpm)
        replies = [
            tpm.encrypt_decrypt2(handle, in_data=b"", decrypt=True, mode=TPM_ALG.CFB, iv_in=IV)
            for handle in handles
        ]

        assert [TPM_RC.KEY.handle(1)] * 2 == [reply.rc for reply in replies]


def start_hash(tpm: Client) -> int:
    """The handle of a hash sequence."""
    handle: int = tpm.hash_sequence_start(auth=b"", hash_alg=TPM_ALG.SHA256).sequence_handle
    return handle


class TestHash:
    """Part 3, 15.4"""

    @pytest.mark.parametrize("name", HASHES)
    def test_recorded(self, name: str) -> None:
        """Digests and tickets are those of a TPM with the same proofs."""
        tpm, vector = recorded_tpm(), HASHES[name]

        assert vector["response"] == tpm.send(bytes.fromhex(vector["command"])).hex()

    @pytest.mark.parametrize(
        ("data", "hierarchy", "has_ticket"),
        [
            (b"", TPM_RH.OWNER, True),
            (b"\xffTC", TPM_RH.PLATFORM, True),
            (b"\xffTCG", TPM_RH.OWNER, False),
            (b"\xffTCG and more", TPM_RH.ENDORSEMENT, False),
            (b"data", TPM_RH.NULL, False),
        ],
    )
    def test_ticket(self, tpm: Client, data: bytes, hierarchy: int, *, has_ticket: bool) -> None:
        """Data that begins with TPM_GENERATED_VALUE gets the NULL ticket, and so does the null hierarchy."""
        reply = tpm.hash(data=data, hash_alg=TPM_ALG.SHA256, hierarchy=hierarchy)

        assert hashlib.sha256(data).digest() == reply.out_hash
        assert reply.validation.tag == TPM_ST.HASHCHECK
        assert (hierarchy if has_ticket else TPM_RH.NULL) == reply.validation.hierarchy
        assert has_ticket is bool(reply.validation.digest)

    @pytest.mark.parametrize("hierarchy", [TPM_RH.SVN_OWNER_BASE + 1, TPM_RH.SVN_NULL_BASE + 0xFFFF])
    def test_missing_hierarchy(self, tpm: Client, hierarchy: int) -> None:
        """A ticket cannot be of a hierarchy that the TPM does not have."""
        reply = tpm.hash(data=b"data", hash_alg=TPM_ALG.SHA256, hierarchy=hierarchy)

        assert TPM_RC.SVN_LIMITED.parameter(3) == reply.rc


class TestMac:
    """Part 3, 15.5 and 15.6"""

    @pytest.mark.parametrize("name", HMACS)
    def test_recorded(self, name: str) -> None:
        """HMACs are those of another TPM."""
        tpm, vector = recorded_tpm(), HMACS[name]
        put_areas(tpm, bytes.fromhex(vector["in_public"]), bytes.fromhex(vector["in_private"]))

        response = tpm.send(bytes.fromhex(vector["command"]))

        assert vector["mac"] == response[16:-5].hex()

    def test_cmac(self, tpm: Client) -> None:
        """A symmetric key makes CMACs, by its own mode or by the caller's choice."""
        secret, data = bytes(range(16)), b"some data"
        expected = CMAC(AES(secret))
        expected.update(data)
        own = put_cipher(tpm, secret, "sign", TPM_ALG.CMAC)
        free = put_cipher(tpm, secret, "sign")

        value = expected.finalize()
        assert value == tpm.mac(own, buffer=data, in_scheme=TPM_ALG.NULL).out_mac
        assert value == tpm.mac(free, buffer=data, in_scheme=TPM_ALG.CMAC).out_mac

    @pytest.mark.parametrize(
        ("own", "asked", "expected"),
        [
            (None, TPM_ALG.SHA384, TPM_ALG.SHA384),
            (None, TPM_ALG.NULL, TPM_RC.VALUE.parameter(2)),
            (None, TPM_ALG.CMAC, TPM_RC.SCHEME.parameter(2)),
            (TPM_ALG.SHA256, TPM_ALG.NULL, TPM_ALG.SHA256),
            (TPM_ALG.SHA256, TPM_ALG.SHA256, TPM_ALG.SHA256),
            (TPM_ALG.SHA256, TPM_ALG.SHA1, TPM_RC.VALUE.parameter(2)),
        ],
    )
    def test_scheme(self, tpm: Client, own: TPM_ALG | None, asked: TPM_ALG, expected: Any) -> None:
        """The hash is the key's, or else the caller's (Table 82)."""
        key = put_hmac(tpm, b"secret", scheme=TPM_ALG.HMAC if own else TPM_ALG.NULL, alg=own)

        reply = tpm.mac(key, buffer=b"data", in_scheme=asked)

        if isinstance(expected, TPM_ALG):
            assert hmac.digest(b"secret", b"data", expected.name.lower()) == reply.out_mac
        else:
            assert expected == reply.rc

    @pytest.mark.parametrize("mode", [TPM_ALG.CFB, TPM_ALG.NULL])
    def test_cipher_mode(self, tpm: Client, mode: TPM_ALG) -> None:
        """A mode for encryption makes no MAC."""
        key = put_cipher(tpm, mode=mode)
        expected = TPM_RC.VALUE if mode is TPM_ALG.NULL else TPM_RC.SCHEME

        assert expected.parameter(2) == tpm.mac(key, buffer=b"", in_scheme=TPM_ALG.NULL).rc

    def test_restricted(self, tpm: Client) -> None:
        """A restricted key is for Sign, which takes a ticket."""
        key = put_hmac(tpm, attributes="sign restricted", scheme=TPM_ALG.HMAC, alg=TPM_ALG.SHA256)

        for scheme in (TPM_ALG.NULL, TPM_ALG.SHA256):
            assert TPM_RC.ATTRIBUTES.handle(1) == tpm.mac(key, buffer=b"", in_scheme=scheme).rc

    def test_not_for_signing(self, tpm: Client) -> None:
        """The key needs sign."""
        key = put_hmac(tpm, attributes="decrypt")

        assert TPM_RC.KEY.handle(1) == tpm.mac(key, buffer=b"", in_scheme=TPM_ALG.SHA256).rc

    def test_other_object(self, tpm: Client) -> None:
        """Asymmetric keys and sequences make no MAC."""
        for handle in (put_ecc(tpm), start_hash(tpm)):
            assert TPM_RC.TYPE.handle(1) == tpm.mac(handle, buffer=b"", in_scheme=TPM_ALG.SHA256).rc

    def test_public_only(self, tpm: Client) -> None:
        """Without its secret, a key authorizes nothing."""
        key = put_hmac(tpm, private=False)

        assert tpm.mac(key, buffer=b"", in_scheme=TPM_ALG.SHA256).rc == TPM_RC.AUTH_UNAVAILABLE
