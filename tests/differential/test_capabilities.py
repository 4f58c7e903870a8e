"""The profile swtpm-compatible: it shows and refuses what libtpms 0.9 shows and refuses, octet by octet."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from tests.differential.judge import HAS_SWTPM, Swtpm
from tests.scenarios import HEADER, Caller, Client
from vtpm.commands.capability import GetCapabilityResponse
from vtpm.spec.constants import TPM_ALG, TPM_CAP, TPM_CC, TPM_ECC_CURVE, TPM_HT, TPM_PT, TPM_RH, TPM_ST
from vtpm.spec.structures import TPMS_TAGGED_PROPERTY
from vtpm.state.profile import SWTPM_COMPATIBLE
from vtpm.wire.structure import unmarshal

A = TPM_ALG
ALL = 1000

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not HAS_SWTPM, reason="swtpm is not installed")]

DIFFERENT = {
    TPM_PT.MANUFACTURER: "this program's: it does not pretend to be IBM's",
    TPM_PT.VENDOR_STRING_1: "this program's",
    TPM_PT.VENDOR_STRING_2: "this program's",
    TPM_PT.FIRMWARE_VERSION_1: "this program's",
    TPM_PT.FIRMWARE_VERSION_2: "this program's",
    TPM_PT.STARTUP_CLEAR: "swtpm calls its very first start orderly, although no Shutdown preceded it",
    TPM_PT.NV_COUNTERS_AVAIL: "libtpms keeps counters in RAM of a fixed size, this program where all NV is",
}
"""Where the two differ, and why."""

REQUESTS = [
    *[(kind, 0) for kind in TPM_CAP if kind not in (TPM_CAP.HANDLES, TPM_CAP.TPM_PROPERTIES)],
    *[(TPM_CAP.HANDLES, kind << 24) for kind in TPM_HT],
    *[(TPM_CAP.TPM_PROPERTIES, first) for first in (0, 0x100, 0x12F, 0x200, 0x300)],
    (TPM_CAP.AUTH_POLICIES, 0x40000000),
    (TPM_CAP.ACT, 0x40000110),
]


@pytest.fixture(scope="module")
def callers() -> Iterator[tuple[Caller, Caller]]:
    """Swtpm, and a TPM that is compatible with it."""
    judge = Swtpm()
    yield judge, Client(profile=SWTPM_COMPATIBLE)
    judge.close()


def request(code: TPM_CC, parameters: bytes) -> bytes:
    """A command without sessions."""
    return HEADER.pack(TPM_ST.NO_SESSIONS, HEADER.size + len(parameters), code) + parameters


def words(*values: int) -> bytes:
    """UINT32s."""
    return b"".join(value.to_bytes(4, "big") for value in values)


def properties(response: bytes) -> dict[int, int]:
    """The properties of a response, by tag."""
    answer: Any = unmarshal(GetCapabilityResponse, response[HEADER.size :])
    found: tuple[TPMS_TAGGED_PROPERTY, ...] = answer.capability_data.data
    return {element.property: element.value for element in found}


class TestCapabilities:
    """Part 3, 30.2: GetCapability"""

    @pytest.mark.parametrize(("kind", "first"), REQUESTS, ids=lambda value: f"{value:x}")
    def test_same(self, callers: tuple[Caller, Caller], kind: int, first: int) -> None:
        """Every capability is the same to the octet, but for the properties of the table."""
        theirs, ours = (
            caller.send(request(TPM_CC.GetCapability, words(kind, first, ALL))) for caller in callers
        )

        if kind == TPM_CAP.TPM_PROPERTIES and theirs != ours:
            known, own = properties(theirs), properties(ours)
            assert known.keys() == own.keys()
            assert {tag for tag, value in own.items() if value != known[tag]} <= DIFFERENT.keys()
        else:
            assert ours == theirs

    def test_table(self, callers: tuple[Caller, Caller]) -> None:
        """The table has no line that is not needed."""
        differing = set()
        for first in (0x100, 0x200):
            octets = request(TPM_CC.GetCapability, words(TPM_CAP.TPM_PROPERTIES, first, ALL))
            known, own = (properties(caller.send(octets)) for caller in callers)
            differing |= {tag for tag, value in own.items() if value != known[tag]}

        assert differing == DIFFERENT.keys()


HASHES = (A.SHA1, A.SHA256, A.SHA384, A.SHA512, A.SM3_256, A.SHA3_256, A.SHA3_384, A.SHA3_512)
CIPHERS = (A.TDES, A.AES, A.SM4, A.CAMELLIA, A.XOR)
SCHEMES = (A.RSASSA, A.RSAPSS, A.RSAES, A.OAEP, A.ECDSA, A.ECDH, A.ECDAA, A.SM2, A.ECSCHNORR, A.ECMQV, A.HMAC)


def halves(*values: int) -> bytes:
    """UINT16s."""
    return b"".join(value.to_bytes(2, "big") for value in values)


PARAMETERS = {
    **{
        f"{cipher.name} {bits} {mode.name}": halves(A.SYMCIPHER, cipher, bits, mode)
        for cipher, bits, mode in product(CIPHERS, (112, 128, 192, 256), (A.CFB, A.CBC, A.CMAC))
    },
    **{
        f"RSA {bits}": halves(A.RSA, A.NULL, A.NULL, bits) + words(0)
        for bits in (512, 1024, 2048, 3072, 4096, 8192)
    },
    **{
        f"RSA {scheme.name} {alg.name}": halves(A.RSA, A.NULL, scheme, alg, 2048) + words(0)
        for scheme, alg in product(SCHEMES, HASHES)
    },
    **{f"ECC {curve.name}": halves(A.ECC, A.NULL, A.NULL, curve, A.NULL) for curve in TPM_ECC_CURVE},
    **{
        f"ECC {scheme.name} {alg.name}": halves(A.ECC, A.NULL, scheme, alg, 3, A.NULL)
        for scheme, alg in product(SCHEMES, HASHES)
    },
    **{f"HMAC {alg.name}": halves(A.KEYEDHASH, A.HMAC, alg) for alg in HASHES},
    **{f"type {alg.name}": halves(alg) for alg in TPM_ALG},
}


class TestAlgorithms:
    """Part 3, 30.3: TestParms reads parameters as every command does"""

    @pytest.mark.parametrize("name", PARAMETERS)
    def test_parameters(self, callers: tuple[Caller, Caller], name: str) -> None:
        """What is implemented is accepted, and all else refused with the same code."""
        theirs, ours = (caller.send(request(TPM_CC.TestParms, PARAMETERS[name])) for caller in callers)

        assert ours == theirs

    @pytest.mark.parametrize("alg", TPM_ALG)
    def test_hash(self, callers: tuple[Caller, Caller], alg: TPM_ALG) -> None:
        """16.4: HashSequenceStart takes the hashes that there are."""
        octets = request(TPM_CC.HashSequenceStart, bytes(2) + halves(alg))
        theirs, ours = (caller.send(octets) for caller in callers)

        assert ours == theirs
        for caller in callers:
            if int.from_bytes(ours[6:10], "big") == 0:
                caller.send(request(TPM_CC.FlushContext, ours[10:14]))

    @pytest.mark.parametrize("curve", TPM_ECC_CURVE)
    def test_curve(self, callers: tuple[Caller, Caller], curve: TPM_ECC_CURVE) -> None:
        """14.6: ECC_Parameters takes the curves that there are."""
        octets = request(TPM_CC.ECC_Parameters, halves(curve))
        theirs, ours = (caller.send(octets) for caller in callers)

        assert ours[6:10] == theirs[6:10]


class TestAttributes:
    """Part 2, 8.3: TPMA_OBJECT"""

    @pytest.mark.parametrize("bit", range(32))
    def test_reserved_bits(self, callers: tuple[Caller, Caller], bit: int) -> None:
        """What later revisions of the library defined is reserved."""
        public = halves(A.KEYEDHASH, A.SHA256) + words(1 << bit) + bytes(2) + halves(A.NULL) + bytes(2)
        parameters = bytes(2) + halves(len(public)) + public + words(TPM_RH.NULL)
        octets = request(TPM_CC.LoadExternal, parameters)
        theirs, ours = (caller.send(octets) for caller in callers)

        assert ours[6:10] == theirs[6:10]


class TestCommands:
    """Part 3, 5.2: which commands there are"""

    def test_codes(self, callers: tuple[Caller, Caller]) -> None:
        """A command that is absent is TPM_RC_COMMAND_CODE, whatever else may be wrong."""
        absent = []
        for code in range(0x11E, 0x1A8):
            theirs, ours = (caller.send(HEADER.pack(0x8001, 10, code))[6:] for caller in callers)
            absent.append((theirs == words(0x143), ours == words(0x143)))

        assert all(theirs == ours for theirs, ours in absent)

    def test_transient_handles(self, callers: tuple[Caller, Caller]) -> None:
        """Part 2, 9.3: a transient handle beyond the slots is TPM_RC_VALUE, one within them a reference."""
        for number in range(6):
            octets = request(TPM_CC.ReadPublic, words(0x80000000 + number))
            theirs, ours = (caller.send(octets) for caller in callers)

            assert ours == theirs
