"""Part 3, 10.1 and 10.2: self-tests, by answers that were known before."""

from collections.abc import Callable, Collection
from functools import cache, partial

from vtpm.crypto.curves import CURVES
from vtpm.crypto.digest import digest, hmac_digest
from vtpm.crypto.drbg import DerivationGenerator
from vtpm.crypto.ecc import EccKey, combination, generator_of, is_on_curve, mqv_point
from vtpm.crypto.kdf import kdf_2, kdf_a, kdf_e, xor_obfuscate
from vtpm.crypto.rsa import RsaKey, mgf1, oaep_decrypt, oaep_encode, pkcs1_decode, pkcs1_encode
from vtpm.crypto.signing import (
    ecdaa_sign,
    ecdsa_sign,
    ecdsa_verify,
    ecschnorr_sign,
    ecschnorr_verify,
    rsapss_sign,
    rsapss_verify,
    rsassa_sign,
    rsassa_verify,
    sm2_sign,
    sm2_verify,
)
from vtpm.crypto.symmetric import cmac, crypt
from vtpm.spec.constants import TPM_ALG, TPM_ECC_CURVE
from vtpm.wire.error import TpmError

A = TPM_ALG
octets = bytes.fromhex


class SelfTestError(Exception):
    """An algorithm does not give the answer that is known."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the self-test of {name} has failed")


ABC = b"abc"
DIGESTS = {
    A.SHA1: "a9993e364706816aba3e25717850c26c9cd0d89d",
    A.SHA256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    A.SHA384: "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed"
    "8086072ba1e7cc2358baeca134c825a7",
    A.SHA512: "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
    "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
    A.SHA3_256: "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532",
    A.SHA3_384: "ec01498288516fc926459f58e2c6ad8df9b473cb0fc08c2596da7cf0e49be4b2"
    "98d88cea927ac7f539f1edf228376d25",
    A.SHA3_512: "b751850b1a57168a5693cd924b6b096e08f621827444f70d884f5d0240d2712e"
    "10e116e9192af3c91a7ec57647e3934057340b4cf408d5a56592f8274eec53f0",
    A.SM3_256: "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0",
}
"""FIPS 180-4, FIPS 202 and GB/T 32905: of the three octets "abc"."""

SEQUENCE = "0123456789abcdeffedcba9876543210"
BLOCKS = {
    A.AES: (
        "000102030405060708090a0b0c0d0e0f",
        "00112233445566778899aabbccddeeff",
        "69c4e0d86a7b0430d8cdb78070b4c55a",
    ),
    A.CAMELLIA: (SEQUENCE, SEQUENCE, "67673138549669730857065648eabe43"),
    A.SM4: (SEQUENCE, SEQUENCE, "681edf34d206965e86b3e94f536e4246"),
    A.TDES: (
        "0123456789abcdef23456789abcdef01456789abcdef0123",
        "5468652071756663",
        "a826fd8ce53b855f",
    ),
}
"""FIPS 197, RFC 3713, GB/T 32907 and SP 800-67: key, block, and the block encrypted."""

MODE_KEY = octets("2b7e151628aed2a6abf7158809cf4f3c")
MODE_TEXT = octets("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51")
MODES = {
    A.ECB: ("", "3ad77bb40d7a3660a89ecaf32466ef97f5d3d58503b9699de785895a96fdbaaf"),
    A.CBC: (
        "000102030405060708090a0b0c0d0e0f",
        "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2",
    ),
    A.CFB: (
        "000102030405060708090a0b0c0d0e0f",
        "3b3fd92eb72dad20333449f8e83cfb4ac8a64537a0b3a93fcde3cdad9f1ce58b",
    ),
    A.OFB: (
        "000102030405060708090a0b0c0d0e0f",
        "3b3fd92eb72dad20333449f8e83cfb4a7789508d16918f03f53c52dac54ed825",
    ),
    A.CTR: (
        "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
        "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff",
    ),
}
"""SP 800-38A, with AES-128: initialization vector and cipher text."""


def _digests(alg: TPM_ALG) -> bool:
    return digest(alg, ABC) == octets(DIGESTS[alg])


def _hmac() -> bool:
    """RFC 4231, case 2"""
    known = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    return hmac_digest(A.SHA256, b"Jefe", b"what do ya want for nothing?") == octets(known)


def _cipher(alg: TPM_ALG) -> bool:
    key, plain, hidden = map(octets, BLOCKS[alg])
    there, _ = crypt(alg, A.ECB, key, b"", plain, encrypt=True)
    back, _ = crypt(alg, A.ECB, key, b"", hidden, encrypt=False)
    return there == hidden and back == plain


def _mode(alg: TPM_ALG) -> bool:
    iv, hidden = map(octets, MODES[alg])
    there, _ = crypt(A.AES, alg, MODE_KEY, iv, MODE_TEXT, encrypt=True)
    back, _ = crypt(A.AES, alg, MODE_KEY, iv, hidden, encrypt=False)
    return there == hidden and back == MODE_TEXT


def _cmac() -> bool:
    """SP 800-38B, example 2"""
    return cmac(A.AES, MODE_KEY, MODE_TEXT[:16]) == octets("070a16b46b4d4144f79bdd9dd04a287c")


def _kdf_a() -> bool:
    known = "f28c172f09032231bb24c0c1854ccef79c1c64ae2137c50518f66f8e30f2ad6ef33e5b2d43c343853637e581d49c3752"
    return kdf_a(A.SHA256, b"key", b"KAT", b"newer", b"older", 384) == octets(known)


def _kdf_e() -> bool:
    known = "ac2c8de7b52a2018e16041e7f10f9fc846090e81fdc9f83624399d3ba1f105f6799aa9b7db5a878543ddeccc68984890"
    return kdf_e(A.SHA256, b"shared", b"KAT", b"party u", b"party v", 384) == octets(known)


def _kdf_2() -> bool:
    known = "762d12e5a99cb9a719a8c7a2c8094ada54c5111f245d9803c1bf63b84e4c4b3be28cfe9b5b6638b2d5ed9f117576d8cc"
    return kdf_2(A.SHA256, b"shared", 48) == octets(known)


def _mgf1() -> bool:
    known = (
        "382576a7841021cc28fc4c0948753fb8312090cea942ea4c4e735d10dc724b155f9f6069f289d61daca0cb814502ef04eae1"
    )
    return mgf1(A.SHA256, b"bar", 50) == octets(known)


def _xor() -> bool:
    mask = kdf_a(A.SHA256, b"key", b"XOR", b"newer", b"older", 24)
    return xor_obfuscate(A.SHA256, b"key", b"newer", b"older", bytes(3)) == mask != bytes(3)


RSA_P = (
    "d45c5f65fda9d992621a6cf4577eb59ab1fa98f61df30a09eef6406131863c7f"
    "2c02fbe016f3f6e8d83fe6371506a3281bd4411d8ce95be6ed2e4e02ccca50b7"
)
RSA_Q = (
    "c11a8738004e86f9f28ddd4b47aaffa2338e01ad981263ddb672dae06aa25139"
    "97a6edc8d7af7eb01055b5de83d0661dd5963e5a7c259d5bd9839f83c510b2c5"
)
RSA_KEY = RsaKey(int(RSA_P, 16), int(RSA_Q, 16), 65537)
"""A key of 1024 bits that is used for nothing but these tests."""

VALUE, OTHER = digest(A.SHA256, ABC), digest(A.SHA256)


def _generator() -> DerivationGenerator:
    return DerivationGenerator(b"seed", b"KAT", b"", b"")


def _derivation() -> bool:
    return _generator()(16) == octets("affce16eeb2e151ed03166fc18bd2654")


def _rsa() -> bool:
    hidden = RSA_KEY.public.raw(ABC)
    return hidden == pow(int.from_bytes(ABC, "big"), 65537, RSA_KEY.public.modulus).to_bytes(128, "big") and (
        RSA_KEY.raw(hidden) == ABC.rjust(128, b"\0")
    )


def _rsassa() -> bool:
    signature = rsassa_sign(RSA_KEY, A.SHA256, VALUE)
    known = "aba35e14774ceb774f1d94575b3241029a8d0bb90601d9f29ebf8fc5eb75ea4a"
    rsassa_verify(RSA_KEY.public, A.SHA256, VALUE, signature)
    return digest(A.SHA256, signature) == octets(known) and _refuses(
        rsassa_verify, RSA_KEY.public, A.SHA256, OTHER, signature
    )


def _rsapss() -> bool:
    signature = rsapss_sign(RSA_KEY, A.SHA256, VALUE)
    rsapss_verify(RSA_KEY.public, A.SHA256, VALUE, signature)
    return _refuses(rsapss_verify, RSA_KEY.public, A.SHA256, OTHER, signature)


def _rsaes() -> bool:
    hidden = RSA_KEY.public.raw(pkcs1_encode(ABC, 128, lambda count: b"\xa5" * count))
    return pkcs1_decode(RSA_KEY.raw(hidden)) == ABC


def _oaep() -> bool:
    hidden = RSA_KEY.public.raw(oaep_encode(A.SHA256, b"KAT\0", ABC, 128, _generator()))
    return oaep_decrypt(RSA_KEY, A.SHA256, b"KAT\0", hidden) == ABC and _refuses(
        oaep_decrypt, RSA_KEY, A.SHA256, b"TAK\0", hidden
    )


def _refuses(action: Callable[..., object], *arguments: object) -> bool:
    try:
        action(*arguments)
    except TpmError:
        return True
    return False


P256 = CURVES[TPM_ECC_CURVE.NIST_P256]
ECC_KEY = EccKey(P256, 0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721)
OTHER_KEY = EccKey(P256, 0x0123456789ABCDEF)
ECC_POINT = (
    0x60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6,
    0x7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299,
)
ECDSA_SIGNATURE = (
    0xEFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716,
    0xF7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8,
)
"""RFC 6979, A.2.5: the public point of the key, and its signature of "sample" with SHA-256."""


def _ecc() -> bool:
    """Both ways of this program to multiply, OpenSSL's and its own; the constants of every curve."""
    public, own = ECC_KEY.public, combination((ECC_KEY.d, generator_of(P256)))
    return (public.x, public.y) == (own.x, own.y) == ECC_POINT and all(
        is_on_curve(curve, curve.g_x, curve.g_y) for curve in CURVES.values()
    )


def _ecdsa() -> bool:
    sample = digest(A.SHA256, b"sample")
    ecdsa_verify(ECC_KEY.public, sample, ECDSA_SIGNATURE)
    ecdsa_verify(ECC_KEY.public, VALUE, ecdsa_sign(ECC_KEY, A.SHA256, VALUE, _generator()))
    return _refuses(ecdsa_verify, ECC_KEY.public, VALUE, ECDSA_SIGNATURE)


def _ecdh() -> bool:
    known = octets("cb621a13614656af19bb2550e17e05be1406030ec200e7c61876097f40399949")
    shared = OTHER_KEY.shared_point(ECC_KEY.public)
    return ECC_KEY.shared_x(OTHER_KEY.public) == shared.x_octets == known


# The other schemes are tested on the smallest curve, since their arithmetic is that of all curves.
SMALL = CURVES[TPM_ECC_CURVE.NIST_P192]
SMALL_KEY, SMALL_OTHER = EccKey(SMALL, 0x0123456789ABCDEF), EccKey(SMALL, 0xFEDCBA9876543210)


def _ecmqv() -> bool:
    shared = mqv_point(SMALL_KEY, SMALL_OTHER, SMALL_OTHER.public, SMALL_KEY.public)
    return shared.x == 0x834DB8E2DF3690FF47A4EE8F572C5C304BFC39A4153B28AB


def _ecschnorr() -> bool:
    signature = ecschnorr_sign(SMALL_KEY, A.SHA256, VALUE, _generator())
    ecschnorr_verify(SMALL_KEY.public, A.SHA256, VALUE, signature)
    return signature == (
        0xB975F5874FF12ED60C3D4E25F4F29C41660F02EB958A1F5B,
        0x3F12E69A415A05263B0B721A91F3098AB0A7D20F02534DD0,
    )


def _ecdaa() -> bool:
    return ecdaa_sign(SMALL_KEY, A.SHA256, VALUE, SMALL_OTHER.d, _generator()) == (
        0xD03166FC5EF29D1A5E600E014AA6AB28888AC4E2F53092B2,
        0x50997070849A3EF2357E475DDFFE79E44EB38FA461763B58,
    )


def _sm2() -> bool:
    key = EccKey(CURVES[TPM_ECC_CURVE.SM2_P256], OTHER_KEY.d)
    signature = sm2_sign(key, VALUE, _generator())
    sm2_verify(key.public, VALUE, signature)
    return signature == (
        0x6F156E2D8E1A713291FC89A0E86A36A59E92BEE0A763B92EC4E9EC7C97325D68,
        0x59A8BA5469198F8237F7E27D2E52029A4C72F84A6A0113B78EBA1B32DB7F4B86,
    )


TESTS: dict[TPM_ALG, Callable[[], bool]] = {
    **{alg: partial(_digests, alg) for alg in DIGESTS},
    **{alg: partial(_cipher, alg) for alg in BLOCKS},
    **{alg: partial(_mode, alg) for alg in MODES},
    A.HMAC: _hmac,
    A.CMAC: _cmac,
    A.XOR: _xor,
    A.MGF1: _mgf1,
    A.KDF1_SP800_108: _kdf_a,
    A.KDF1_SP800_56A: _kdf_e,
    A.KDF2: _kdf_2,
    A.RSA: _rsa,
    A.RSASSA: _rsassa,
    A.RSAPSS: _rsapss,
    A.RSAES: _rsaes,
    A.OAEP: _oaep,
    A.ECC: _ecc,
    A.ECDSA: _ecdsa,
    A.ECDH: _ecdh,
    A.ECMQV: _ecmqv,
    A.ECSCHNORR: _ecschnorr,
    A.ECDAA: _ecdaa,
    A.SM2: _sm2,
}
"""The test of each algorithm; KEYEDHASH and SYMCIPHER are kinds of object, which compute nothing."""


def check(algorithms: Collection[TPM_ALG]) -> None:
    """Test algorithms, and the generator that keys are derived with; SelfTestError if one fails."""
    for alg in sorted(TESTS.keys() & set(algorithms)):
        _check(alg.name, TESTS[alg])
    _check("the key derivation generator", _derivation)


def _check(name: str, test: Callable[[], bool]) -> None:
    try:
        passed = test()
    except Exception as error:  # what is broken may fail in any way
        raise SelfTestError(name) from error
    if not passed:
        raise SelfTestError(name)


@cache
def check_first(algorithms: frozenset[TPM_ALG]) -> None:
    """Test algorithms, unless the same ones have passed in this process."""
    check(algorithms)
