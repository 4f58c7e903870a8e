"""Part 3, clause 19: ephemeral EC keys."""

import hashlib

import pytest

from tests.keys import ecc_private, put_ecc, put_rsa, signing
from tests.libtpms import recorded_tpm
from tests.scenarios import Client, Reply, seeded
from vtpm import Instant, Tpm
from vtpm.crypto.curves import CURVES
from vtpm.crypto.ecc import Point, generator_of, point_of
from vtpm.engine.clone import WAYS
from vtpm.spec.algorithms import TPMS_ECC_POINT
from vtpm.spec.constants import TPM_ALG, TPM_ECC_CURVE, TPM_RH, TPM_ST, TPM_SU
from vtpm.spec.structures import TPMT_TK_HASHCHECK
from vtpm.state.suspended import VOLATILE
from vtpm.wire.error import TPM_RC

BN = TPM_ECC_CURVE.BN_P256
EMPTY = TPMS_ECC_POINT(b"", b"")
OFF_CURVE = TPMS_ECC_POINT(b"\x01", b"\x01")
DIGEST = hashlib.sha256(b"message").digest()
NO_TICKET = TPMT_TK_HASHCHECK(TPM_ST.HASHCHECK, TPM_RH.NULL, b"")


def structure_of(point: Point) -> TPMS_ECC_POINT:
    """A point as parameters have it."""
    return TPMS_ECC_POINT(point.x_octets, point.y_octets)


def hashed_point() -> tuple[bytes, Point]:
    """Octets whose digest is the x coordinate of a point, and the point."""
    curve = CURVES[BN]
    for number in range(100):
        s2 = b"base %d" % number
        x = int.from_bytes(hashlib.sha256(s2).digest(), "big") % curve.p
        square = (x * x * x + curve.a * x + curve.b) % curve.p
        if pow(square, (curve.p - 1) // 2, curve.p) == 1:
            return s2, Point(curve, x, pow(square, (curve.p + 1) // 4, curve.p))
    raise AssertionError


S2, P2 = hashed_point()


@pytest.fixture
def key(tpm: Client) -> int:
    """A key with the anonymous scheme."""
    return put_ecc(tpm, "sign", TPM_ALG.ECDAA, curve=BN)


class TestCommit:
    """Part 3, 19.2; Part 1, "TPM2_Commit"; that the committed number is used is a test of Sign"""

    def test_all_parameters(self, tpm: Client, key: int) -> None:
        """K is the key's product with P2; the same number makes L of P2 and E of P1."""
        generator = generator_of(CURVES[BN])

        same = tpm.commit(key, p1=structure_of(P2), s2=S2, y2=P2.y_octets)
        other = tpm.commit(key, p1=structure_of(generator), s2=S2, y2=P2.y_octets)

        expected = structure_of(P2.times(ecc_private(BN).d))
        assert expected == same.k == other.k
        assert same.l == same.e
        assert other.l != other.e
        assert same.l != other.l

    def test_nothing(self, tpm: Client, key: int) -> None:
        """Without points, E is the generator's product."""
        reply = tpm.commit(key, p1=EMPTY, s2=b"", y2=b"")

        assert (reply.k, reply.l) == (EMPTY, EMPTY)
        assert structure_of(point_of(BN, reply.e.x, reply.e.y)) == reply.e

    def test_one_point(self, tpm: Client, key: int) -> None:
        """Each point alone has only its own results."""
        first = tpm.commit(key, p1=structure_of(P2), s2=b"", y2=b"")
        second = tpm.commit(key, p1=EMPTY, s2=S2, y2=P2.y_octets)

        assert (first.k, first.l) == (EMPTY, EMPTY)
        assert first.e != EMPTY
        assert second.e == EMPTY
        assert second.l != EMPTY

    def test_counter(self, tpm: Client, key: int) -> None:
        """The counter counts commitments and ephemeral keys; a failure takes no number."""
        first = tpm.commit(key, p1=EMPTY, s2=b"", y2=b"").counter
        tpm.commit(key, p1=OFF_CURVE, s2=b"", y2=b"")
        second = tpm.ec_ephemeral(curve_id=BN).counter
        third = tpm.commit(key, p1=EMPTY, s2=b"", y2=b"").counter

        assert (first, second, third) == (0, 1, 2)

    def test_errors(self, tpm: Client, key: int) -> None:
        """It takes a key with an anonymous scheme, points on its curve, and s2 together with y2."""
        y2 = P2.y_octets
        public = put_ecc(tpm, "sign", TPM_ALG.ECDAA, curve=BN, private=False)
        cases = [
            ((put_rsa(tpm), EMPTY, b"", b""), TPM_RC.KEY.handle(1)),
            ((put_ecc(tpm, curve=BN), EMPTY, b"", b""), TPM_RC.SCHEME.handle(1)),
            ((key, EMPTY, S2, b""), TPM_RC.SIZE.parameter(3)),
            ((key, EMPTY, b"", y2), TPM_RC.SIZE.parameter(3)),
            ((key, EMPTY, S2 + b"x", y2), TPM_RC.ECC_POINT.parameter(2)),
            ((key, OFF_CURVE, b"", b""), TPM_RC.ECC_POINT.parameter(1)),
            ((public, EMPTY, b"", b""), TPM_RC.AUTH_UNAVAILABLE),
        ]
        for (handle, p1, s2, second), expected in cases:
            assert expected == tpm.commit(handle, p1=p1, s2=s2, y2=second).rc

    def test_slots(self, tpm: Client) -> None:
        """As many commitments are open as there are slots; older ones are lost."""
        slots = tpm.tpm.profile.commit_slots
        for _ in range(slots + 1):
            assert tpm.ec_ephemeral(curve_id=BN).rc == TPM_RC.SUCCESS

        point = structure_of(generator_of(CURVES[BN]))
        exchange = put_ecc(tpm, "decrypt", curve=BN)
        given = {"in_qs_b": point, "in_qe_b": point, "in_scheme": TPM_ALG.ECDH}
        replies = [tpm.z_gen_2phase(exchange, counter=c, **given) for c in (0, 1, slots, slots + 1)]

        wrong = TPM_RC.VALUE.parameter(4)
        assert [wrong, TPM_RC.SUCCESS, TPM_RC.SUCCESS, wrong] == [reply.rc for reply in replies]

    @pytest.mark.parametrize(
        ("shutdown", "startup", "expected"),
        [
            (TPM_SU.STATE, TPM_SU.STATE, TPM_RC.SUCCESS),
            (TPM_SU.STATE, TPM_SU.CLEAR, TPM_RC.SUCCESS),
            (TPM_SU.CLEAR, TPM_SU.CLEAR, TPM_RC.VALUE),
        ],
    )
    def test_power(self, tpm: Client, key: int, shutdown: TPM_SU, startup: TPM_SU, expected: int) -> None:
        """Commitments last until the next TPM Reset."""
        counter = tpm.commit(key, p1=EMPTY, s2=b"", y2=b"").counter
        tpm.power_cycle(shutdown=shutdown, startup=startup)
        again = put_ecc(tpm, "sign", TPM_ALG.ECDAA, curve=BN)

        scheme = signing(TPM_ALG.ECDAA, count=counter)
        reply = tpm.sign(again, digest=DIGEST, in_scheme=scheme, validation=NO_TICKET)

        assert expected == reply.rc

    def test_another_key(self, tpm: Client, key: int) -> None:
        """What was committed to with one key is another number with another key."""
        committed = tpm.commit(key, p1=EMPTY, s2=b"", y2=b"")
        other = put_ecc(tpm, "sign", TPM_ALG.ECDAA, curve=BN, label=b"other key")
        scheme = signing(TPM_ALG.ECDAA, count=committed.counter)

        signed = tpm.sign(other, digest=DIGEST, in_scheme=scheme, validation=NO_TICKET).signature.signature

        t = int.from_bytes(hashlib.sha256(signed.signature_r + DIGEST).digest(), "big")
        number = int.from_bytes(signed.signature_s, "big") - t * ecc_private(BN, b"other key").d
        assert structure_of(generator_of(CURVES[BN]).times(number)) != committed.e


class TestTwoFutures:
    """A number that signs two digests gives the key away, so no two futures of a TPM have the same."""

    @staticmethod
    def futures(tpm: Client, blobs: dict[str, bytes], *, sole: bool = False) -> list[Client]:
        """What becomes of the TPM that goes on from these blobs, twice."""
        found = []
        for seed in (b"one", b"other"):
            future = Client(start=False)
            future.now = tpm.now
            future.durable = {name: blob for name, blob in blobs.items() if name != VOLATILE}
            future.tpm = Tpm.restore(blobs, seeded(seed))
            if VOLATILE in blobs:
                future.tpm.resume(Instant(tpm.now), sole=sole)
            else:
                future.tpm.power_on(Instant(tpm.now))
            found.append(future)
        return found

    @staticmethod
    def signed(tpm: Client, key: int, counter: int, digest: bytes) -> Reply:
        """A signature with a committed number."""
        scheme = signing(TPM_ALG.ECDAA, count=counter)
        return tpm.sign(key, digest=digest, in_scheme=scheme, validation=NO_TICKET)

    @staticmethod
    def solved(signatures: list[Reply], digests: list[bytes]) -> int:
        """The private key, if both signatures have one number: s = r + T d, twice."""
        n = CURVES[BN].n
        (t, s), (u, v) = (
            (
                int.from_bytes(hashlib.sha256(one.signature_r + digest).digest(), "big") % n,
                int.from_bytes(one.signature_s, "big"),
            )
            for one, digest in zip((reply.signature.signature for reply in signatures), digests, strict=True)
        )
        return (s - v) * pow(t - u, -1, n) % n

    DIGESTS = (DIGEST, hashlib.sha256(b"another").digest())

    def test_attack(self, tpm: Client, key: int) -> None:
        """What `solved` does, where two processes take themselves for the only one."""
        counter = tpm.commit(key, p1=EMPTY, s2=b"", y2=b"").counter
        blobs = {**tpm.tpm.snapshot(), **tpm.tpm.snapshot_volatile()}
        both = zip(self.futures(tpm, blobs, sole=True), self.DIGESTS, strict=True)
        replies = [self.signed(future, key, counter, digest) for future, digest in both]

        assert self.solved(replies, list(self.DIGESTS)) == ecc_private(BN).d

    def test_open_commitment(self, tpm: Client, key: int) -> None:
        """Neither future of a snapshot uses what was committed to before it."""
        counter = tpm.commit(key, p1=EMPTY, s2=b"", y2=b"").counter
        blobs = {**tpm.tpm.snapshot(), **tpm.tpm.snapshot_volatile()}

        for future in self.futures(tpm, blobs):
            assert self.signed(future, key, counter, DIGEST).rc == TPM_RC.VALUE
            again = future.commit(key, p1=EMPTY, s2=b"", y2=b"").counter
            assert self.signed(future, key, again, DIGEST).rc == TPM_RC.SUCCESS

    @pytest.mark.parametrize("before", [0, 1])
    def test_later_commitments(self, tpm: Client, key: int, before: int) -> None:
        """What is committed to after it is another number in each future, though the counters agree."""
        for _ in range(before):
            tpm.commit(key, p1=EMPTY, s2=b"", y2=b"")
        blobs = {**tpm.tpm.snapshot(), **tpm.tpm.snapshot_volatile()}
        both = self.futures(tpm, blobs)
        made = [future.commit(key, p1=EMPTY, s2=b"", y2=b"") for future in both]
        replies = [
            self.signed(future, key, commitment.counter, digest)
            for future, commitment, digest in zip(both, made, self.DIGESTS, strict=True)
        ]

        assert made[0].counter == made[1].counter
        assert made[0].e != made[1].e
        assert self.solved(replies, list(self.DIGESTS)) != ecc_private(BN).d

    def test_copies(self, tpm: Client, key: int) -> None:
        """A copy of a TPM that was shut down with a commitment open does not use it."""
        counter = tpm.commit(key, p1=EMPTY, s2=b"", y2=b"").counter
        assert tpm.shutdown(shutdown_type=TPM_SU.STATE).rc == TPM_RC.SUCCESS

        for future in self.futures(tpm, WAYS["copy"](tpm.tpm.snapshot(), seeded())):
            assert future.startup(startup_type=TPM_SU.STATE).rc == TPM_RC.SUCCESS
            again = put_ecc(future, "sign", TPM_ALG.ECDAA, curve=BN)
            assert self.signed(future, again, counter, DIGEST).rc == TPM_RC.VALUE

    @pytest.mark.parametrize("lost", [False, True])
    def test_snapshot_of_saved_run(self, tpm: Client, key: int, *, lost: bool) -> None:
        """Nor does a snapshot taken after such a Shutdown, at the start that follows."""
        counter = tpm.commit(key, p1=EMPTY, s2=b"", y2=b"").counter
        assert tpm.shutdown(shutdown_type=TPM_SU.STATE).rc == TPM_RC.SUCCESS
        blobs = {**tpm.tpm.snapshot(), **tpm.tpm.snapshot_volatile()}

        for future in self.futures(tpm, blobs):
            future.durable.update({name: blob for name, blob in future.tpm.changes().items() if blob})
            if lost:
                future.lose_power()
            else:
                future.tpm.power_on(Instant(future.now))
            assert future.startup(startup_type=TPM_SU.STATE).rc == TPM_RC.SUCCESS
            again = put_ecc(future, "sign", TPM_ALG.ECDAA, curve=BN)
            assert self.signed(future, again, counter, DIGEST).rc == TPM_RC.VALUE

    def test_reverted(self, tpm: Client, key: int) -> None:
        """Nor are the numbers the same after two starts from one saved state with none open."""
        counter = tpm.commit(key, p1=EMPTY, s2=b"", y2=b"").counter
        assert self.signed(tpm, key, counter, DIGEST).rc == TPM_RC.SUCCESS
        assert tpm.shutdown(shutdown_type=TPM_SU.STATE).rc == TPM_RC.SUCCESS
        made = []
        for future in self.futures(tpm, tpm.tpm.snapshot()):
            assert future.startup(startup_type=TPM_SU.STATE).rc == TPM_RC.SUCCESS
            again = put_ecc(future, "sign", TPM_ALG.ECDAA, curve=BN)
            made.append(future.commit(again, p1=EMPTY, s2=b"", y2=b""))

        assert made[0].counter == made[1].counter == counter + 1
        assert made[0].e != made[1].e


class TestEcEphemeral:
    """Part 3, 19.3; that the key is used is a test of ZGen_2Phase"""

    @pytest.mark.parametrize("curve", [TPM_ECC_CURVE.NIST_P256, BN, TPM_ECC_CURVE.SM2_P256])
    def test_point(self, tpm: Client, curve: TPM_ECC_CURVE) -> None:
        """Points of the curve, with counters that go up."""
        replies = [tpm.ec_ephemeral(curve_id=curve) for _ in range(3)]

        assert [reply.counter for reply in replies] == [0, 1, 2]
        points = {point_of(curve, reply.q.x, reply.q.y) for reply in replies}
        assert len(points) == 3

    def test_deterministic_only_within(self) -> None:
        """The numbers depend on a nonce that every TPM Reset renews."""
        tpm = recorded_tpm()
        before = tpm.ec_ephemeral(curve_id=BN)
        tpm.power_cycle()
        after = tpm.ec_ephemeral(curve_id=BN)

        assert before.counter == after.counter
        assert before.q != after.q
