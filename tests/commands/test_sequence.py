"""Part 3, clause 17: hash, MAC and event sequences."""

import hashlib
import hmac

import pytest

from tests.keys import put_cipher, put_hmac, put_rsa
from tests.libtpms import by_name, recorded_tpm
from tests.scenarios import Client
from tests.sessions import CallerSession
from vtpm.spec.algorithms import TPMT_SYM_DEF
from vtpm.spec.constants import TPM_ALG, TPM_RH, TPM_SE, TPM_SU
from vtpm.spec.structures import TPML_DIGEST_VALUES, TPMS_PCR_SELECTION, TPMT_TK_HASHCHECK
from vtpm.wire.error import TPM_RC
from vtpm.wire.structure import marshal

RECORDED = by_name("crypto-commands.json", "hash sequence")
RECORDED_EVENT = by_name("crypto-commands.json", "event sequence")

GENERATED = b"\xffTCG"
HASH_ALGS = [TPM_ALG.SHA1, TPM_ALG.SHA256, TPM_ALG.SHA384, TPM_ALG.SHA512]


def start(tpm: Client, alg: TPM_ALG = TPM_ALG.SHA256, auth: bytes = b"") -> int:
    """The handle of a new hash sequence, or of an event sequence for TPM_ALG_NULL."""
    handle: int = tpm.hash_sequence_start(auth=auth, hash_alg=alg).sequence_handle
    return handle


class TestHashSequence:
    """Part 3, 17.4, 17.7 and 17.8"""

    @pytest.mark.parametrize("name", RECORDED)
    def test_recorded(self, name: str) -> None:
        """Digest and ticket are those of a TPM with the same proofs."""
        tpm, vector = recorded_tpm(), RECORDED[name]
        data = bytes((31 * i + 7) % 256 for i in range(1500))
        handle = start(tpm, TPM_ALG[name.split()[2].upper()])

        tpm.sequence_update(handle, buffer=data[:1000])
        reply = tpm.sequence_complete(handle, buffer=data[1000:], hierarchy=TPM_RH.OWNER)

        assert vector["result"] == reply.result.hex()
        assert vector["ticket"] == marshal(reply.validation, TPMT_TK_HASHCHECK).hex()

    @pytest.mark.parametrize(
        ("parts", "has_ticket"),
        [
            ([b"data"], True),
            ([b"data", b""], True),
            ([b"data", GENERATED], True),
            ([GENERATED], False),
            ([GENERATED, b"data"], False),
            ([b"\xff", b"TCG", b"data"], False),
            ([b"dat", b"a"], False),
            ([b"", b"data"], False),
            ([b""], False),
            ([b"\xffTC", b"X"], False),
        ],
    )
    def test_ticket(self, tpm: Client, parts: list[bytes], *, has_ticket: bool) -> None:
        """The first buffer must have four octets, which are not TPM_GENERATED_VALUE (17.7)."""
        handle = start(tpm)
        for part in parts[:-1]:
            assert tpm.sequence_update(handle, buffer=part).rc == TPM_RC.SUCCESS

        reply = tpm.sequence_complete(handle, buffer=parts[-1], hierarchy=TPM_RH.OWNER)

        assert hashlib.sha256(b"".join(parts)).digest() == reply.result
        assert has_ticket is bool(reply.validation.digest)
        assert (TPM_RH.OWNER if has_ticket else TPM_RH.NULL) == reply.validation.hierarchy

    def test_null_hierarchy(self, tpm: Client) -> None:
        """The null hierarchy has the NULL ticket."""
        reply = tpm.sequence_complete(start(tpm), buffer=b"data", hierarchy=TPM_RH.NULL)

        assert (reply.validation.hierarchy, reply.validation.digest) == (TPM_RH.NULL, b"")

    def test_same_ticket_as_hash(self, tpm: Client) -> None:
        """However data are hashed, the ticket is the same."""
        whole = tpm.hash(data=b"some data", hash_alg=TPM_ALG.SHA384, hierarchy=TPM_RH.ENDORSEMENT)
        handle = start(tpm, TPM_ALG.SHA384)
        tpm.sequence_update(handle, buffer=b"some ")
        parts = tpm.sequence_complete(handle, buffer=b"data", hierarchy=TPM_RH.ENDORSEMENT)

        assert whole.validation == parts.validation

    def test_end(self, tpm: Client) -> None:
        """The end flushes the sequence."""
        handle = start(tpm)
        tpm.sequence_complete(handle, buffer=b"", hierarchy=TPM_RH.OWNER)

        assert tpm.sequence_update(handle, buffer=b"").rc == TPM_RC.REFERENCE_H0

    def test_failure_changes_nothing(self, tpm: Client) -> None:
        """What a failed completion brought is no part of the digest."""
        handle = start(tpm)

        failed = tpm.sequence_complete(handle, buffer=b"lost", hierarchy=TPM_RH.SVN_OWNER_BASE + 1)

        assert TPM_RC.SVN_LIMITED.parameter(2) == failed.rc
        reply = tpm.sequence_complete(handle, buffer=b"data", hierarchy=TPM_RH.OWNER)
        assert hashlib.sha256(b"data").digest() == reply.result

    def test_authorization(self, tpm: Client) -> None:
        """A sequence is authorized with its authValue, and is no target of dictionary attacks."""
        handle = start(tpm, auth=b"secret\0\0")

        assert TPM_RC.BAD_AUTH.session(1) == tpm.sequence_update(handle, buffer=b"").rc
        assert tpm.sequence_update(handle, buffer=b"", auths=[b"secret"]).rc == TPM_RC.SUCCESS

    def test_hmac_session(self, tpm: Client) -> None:
        """A session can authorize the end of a sequence, and its authValue is part of the HMAC."""
        started = tpm.start_auth_session(
            TPM_RH.NULL,
            TPM_RH.NULL,
            nonce_caller=bytes(16),
            encrypted_salt=b"",
            session_type=TPM_SE.HMAC,
            symmetric=TPMT_SYM_DEF(TPM_ALG.NULL, 0, TPM_ALG.NULL),
            auth_hash=TPM_ALG.SHA256,
        )
        session = CallerSession(
            started.session_handle, TPM_ALG.SHA256, started.nonce_tpm, bytes(16), auth=b"secret"
        )
        handle = start(tpm, auth=b"secret")

        update = tpm.sequence_update(handle, buffer=b"data", sessions=[session])
        session.check(update)
        end = tpm.sequence_complete(handle, buffer=b"", hierarchy=TPM_RH.OWNER, sessions=[session])

        session.check(end)
        assert hashlib.sha256(b"data").digest() == end.result

    def test_slots(self, tpm: Client) -> None:
        """A sequence takes a transient slot."""
        replies = [tpm.hash_sequence_start(auth=b"", hash_alg=TPM_ALG.SHA256) for _ in range(17)]

        assert [reply.rc for reply in replies] == [TPM_RC.SUCCESS] * 16 + [TPM_RC.OBJECT_MEMORY]

    def test_end_of_power(self, tpm: Client) -> None:
        """A sequence does not survive the loss of power."""
        handle = start(tpm)
        tpm.power_cycle(shutdown=TPM_SU.STATE, startup=TPM_SU.STATE)

        assert tpm.sequence_update(handle, buffer=b"").rc == TPM_RC.REFERENCE_H0

    def test_key(self, tpm: Client) -> None:
        """A key is no sequence."""
        key = put_hmac(tpm)

        assert TPM_RC.MODE.handle(1) == tpm.sequence_update(key, buffer=b"").rc
        assert TPM_RC.MODE.handle(1) == tpm.sequence_complete(key, buffer=b"", hierarchy=TPM_RH.OWNER).rc


class TestMacSequence:
    """Part 3, 17.2 and 17.3"""

    def test_hmac(self, tpm: Client) -> None:
        """The HMAC of all data; there is no ticket for it."""
        key = put_hmac(tpm, b"secret")
        handle = tpm.mac_start(key, auth=b"", in_scheme=TPM_ALG.SHA256).sequence_handle
        tpm.sequence_update(handle, buffer=b"x" * 1000)
        reply = tpm.sequence_complete(handle, buffer=b"y", hierarchy=TPM_RH.OWNER)

        assert hmac.digest(b"secret", b"x" * 1000 + b"y", "sha256") == reply.result
        assert (reply.validation.hierarchy, reply.validation.digest) == (TPM_RH.NULL, b"")

    def test_cmac(self, tpm: Client) -> None:
        """A symmetric key makes the same CMAC in parts as in one."""
        key = put_cipher(tpm, attributes="sign", mode=TPM_ALG.CMAC)
        handle = tpm.mac_start(key, auth=b"", in_scheme=TPM_ALG.NULL).sequence_handle
        for part in (b"x" * 16, b"", b"x" * 15, b"x"):
            tpm.sequence_update(handle, buffer=part)
        reply = tpm.sequence_complete(handle, buffer=b"y", hierarchy=TPM_RH.OWNER)

        assert tpm.mac(key, buffer=b"x" * 32 + b"y", in_scheme=TPM_ALG.NULL).out_mac == reply.result

    def test_key_may_go(self, tpm: Client) -> None:
        """A sequence has its key's secret, so the key can be flushed."""
        key = put_hmac(tpm, b"secret")
        handle = tpm.mac_start(key, auth=b"", in_scheme=TPM_ALG.SHA1).sequence_handle
        del tpm.tpm.volatile.objects[key]

        reply = tpm.sequence_complete(handle, buffer=b"data", hierarchy=TPM_RH.NULL)

        assert hmac.digest(b"secret", b"data", "sha1") == reply.result

    def test_authorization(self, tpm: Client) -> None:
        """The key authorizes the beginning; the sequence has an authValue of its own."""
        key = put_hmac(tpm, b"secret", auth=b"key")
        assert TPM_RC.BAD_AUTH.session(1) == tpm.mac_start(key, auth=b"own", in_scheme=TPM_ALG.SHA1).rc
        started = tpm.mac_start(key, auth=b"own", in_scheme=TPM_ALG.SHA1, auths=[b"key"])

        reply = tpm.sequence_update(started.sequence_handle, buffer=b"", auths=[b"own"])

        assert reply.rc == TPM_RC.SUCCESS

    def test_errors(self, tpm: Client) -> None:
        """The key must make MACs, be unrestricted and able to sign; the scheme must fit (Table 82)."""
        cases = [
            (put_rsa(tpm), TPM_ALG.SHA1, TPM_RC.TYPE.handle(1)),
            (put_hmac(tpm, attributes="sign restricted"), TPM_ALG.SHA1, TPM_RC.ATTRIBUTES.handle(1)),
            (put_hmac(tpm, attributes="decrypt"), TPM_ALG.SHA1, TPM_RC.KEY.handle(1)),
            (put_hmac(tpm), TPM_ALG.NULL, TPM_RC.VALUE.parameter(2)),
            (put_hmac(tpm), TPM_ALG.CMAC, TPM_RC.SCHEME.parameter(2)),
            (start(tpm), TPM_ALG.SHA1, TPM_RC.TYPE.handle(1)),
        ]
        for key, scheme, expected in cases:
            assert expected == tpm.mac_start(key, auth=b"", in_scheme=scheme).rc


class TestEventSequence:
    """Part 3, 17.9"""

    def test_recorded(self) -> None:
        """The digests, of every bank, are those of another TPM; the PCR is extended with them."""
        tpm, vector = recorded_tpm(), next(iter(RECORDED_EVENT.values()))
        handle = start(tpm, TPM_ALG.NULL)
        tpm.sequence_update(handle, buffer=b"first")

        reply = tpm.event_sequence_complete(16, handle, buffer=b"second")

        assert vector["results_TPML_DIGEST_VALUES"] == marshal(reply.results, TPML_DIGEST_VALUES).hex()
        for value in reply.results:
            name = value.hash_alg.name.lower()
            extended = hashlib.new(name, bytes(len(value.digest)) + value.digest).digest()
            assert extended == tpm.tpm.pcr.banks[value.hash_alg][16]

    def test_same_as_pcr_event(self, tpm: Client) -> None:
        """PCR_Event has the same digests and the same effect."""
        handle = start(tpm, TPM_ALG.NULL)
        sequence = tpm.event_sequence_complete(8, handle, buffer=b"event")
        event = tpm.pcr_event(9, event_data=b"event")

        assert event.digests == sequence.results
        for bank in tpm.tpm.pcr.banks.values():
            assert bank[8] == bank[9]

    def test_no_pcr(self, tpm: Client) -> None:
        """With TPM_RH_NULL, only the digests are made."""
        before = {alg: list(bank) for alg, bank in tpm.tpm.pcr.banks.items()}

        reply = tpm.event_sequence_complete(TPM_RH.NULL, start(tpm, TPM_ALG.NULL), buffer=b"event")

        assert [value.hash_alg for value in reply.results] == HASH_ALGS
        assert before == tpm.tpm.pcr.banks

    def test_banks_without_pcr(self, tpm: Client) -> None:
        """17.9: there is a digest of every bank, even of one in which no PCR is allocated."""
        only = [TPMS_PCR_SELECTION(alg, b"\xff\xff\xff") for alg in (TPM_ALG.SHA256,)]
        none = [TPMS_PCR_SELECTION(alg, bytes(3)) for alg in HASH_ALGS if alg is not TPM_ALG.SHA256]
        tpm.pcr_allocate(TPM_RH.PLATFORM, pcr_allocation=(*only, *none)).check()
        tpm.power_cycle()

        reply = tpm.event_sequence_complete(16, start(tpm, TPM_ALG.NULL), buffer=b"event")

        assert [value.hash_alg for value in reply.results] == HASH_ALGS
        assert [*tpm.tpm.pcr.banks] == [TPM_ALG.SHA256]
        value = hashlib.sha256(bytes(32) + hashlib.sha256(b"event").digest()).digest()
        assert tpm.tpm.pcr.banks[TPM_ALG.SHA256][16] == value

    def test_kind(self, tpm: Client) -> None:
        """Each kind of sequence has its own end."""
        event, digest = start(tpm, TPM_ALG.NULL), start(tpm)

        wrong = tpm.sequence_complete(event, buffer=b"", hierarchy=TPM_RH.OWNER)
        other = tpm.event_sequence_complete(16, digest, buffer=b"")

        assert [TPM_RC.MODE.handle(1), TPM_RC.MODE.handle(2)] == [wrong.rc, other.rc]

    def test_locality(self, tpm: Client) -> None:
        """The locality must be one that may extend the PCR; otherwise the sequence stays as it was."""
        handle = start(tpm, TPM_ALG.NULL)

        assert tpm.event_sequence_complete(17, handle, buffer=b"x").rc == TPM_RC.LOCALITY
        reply = tpm.event_sequence_complete(17, handle, buffer=b"y", locality=2)

        assert hashlib.sha1(b"y").digest() == reply.results[0].digest

    def test_authorization(self, tpm: Client) -> None:
        """The PCR is authorized first, then the sequence."""
        handle = start(tpm, TPM_ALG.NULL, auth=b"secret")

        refused = tpm.event_sequence_complete(16, handle, buffer=b"", auths=[b"", b""])
        accepted = tpm.event_sequence_complete(16, handle, buffer=b"", auths=[b"", b"secret"])

        assert [TPM_RC.BAD_AUTH.session(2), TPM_RC.SUCCESS] == [refused.rc, accepted.rc]
