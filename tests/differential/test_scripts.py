"""Indices, PCR, policies, hierarchies and power: swtpm answers random scripts in the same way."""

from random import Random
from typing import Any

import pytest

from tests.differential.judge import HAS_SWTPM, Swtpm
from tests.engine.uses import Other
from tests.scenarios import Client, Password, Reply
from tests.sessions import NO_CIPHER
from vtpm.spec.attributes import TPMA_NV
from vtpm.spec.constants import TPM_ALG, TPM_CC, TPM_EO, TPM_NT, TPM_RH, TPM_SE, TPM_SU
from vtpm.spec.nv import TPMS_NV_PUBLIC
from vtpm.spec.structures import TPMS_PCR_SELECTION, TPMT_HA
from vtpm.state.profile import SWTPM_COMPATIBLE
from vtpm.wire.error import TPM_RC, decode

A = TPM_ALG
INDICES = (0x01000001, 0x01000002, 0x01800003)
ALGS = (A.SHA1, A.SHA256, A.SHA384)
STEPS = 60

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not HAS_SWTPM, reason="swtpm is not installed")]


class Script:
    """A random script, executed by swtpm and by this TPM."""

    def __init__(self, seed: int) -> None:
        self.judge, self.own = Swtpm(), Client(profile=SWTPM_COMPATIBLE)
        self.random = Random(seed)
        self.pick = self.random.choice
        self.sessions: list[int] = []
        self.log: list[str] = []
        self.is_over = False

    def run(self) -> None:
        """All its steps."""
        steps = [self.define, self.undefine, self.access, self.access, self.access, self.lock, self.pcr]
        steps += [self.policy, self.policy, self.authorized, self.hierarchy, self.power, self.session]
        try:
            for _ in range(STEPS):
                if not self.is_over:
                    self.pick(steps)()
        finally:
            self.judge.close()

    def both(self, verb: str, *handles: int, whole: bool = True, **given: Any) -> Reply:
        """
        The same command for both; their codes must be equal, and their parameters unless not `whole`.

        A lock may be found earlier: Part 3, 5.4 looks at it with the handles, libtpms does later.
        Then only libtpms notes the use of a protected entity, and the script is over.
        """
        self.log.append(f"{verb}({', '.join(map(hex, handles))}, {given})")
        theirs: Reply = getattr(self.judge, verb)(*handles, **given)
        if theirs.rc == TPM_RC.RETRY:
            # What libtpms 0.9 answers to the first use of a protected entity.
            theirs = getattr(self.judge, verb)(*handles, **given)
        ours: Reply = getattr(self.own, verb)(*handles, **given)
        if ours.rc == TPM_RC.NV_LOCKED and (theirs.rc != ours.rc or handles[0] in INDICES):
            assert theirs.rc != TPM_RC.SUCCESS
            self.is_over = True
            return ours
        story = "\n".join(self.log[-12:])
        assert theirs.rc == ours.rc, f"{decode(theirs.rc)} and {decode(ours.rc)} after\n{story}"
        assert not whole or theirs.parameters == ours.parameters, story
        return ours

    def auth(self) -> list[Password]:
        """Mostly an empty password."""
        return [Password(self.pick([b""] * 6 + [b"a", b"wrong"]))]

    def index(self) -> int:
        """One of the Indices, most often the first."""
        return self.pick([INDICES[0], *INDICES])

    def define(self) -> None:
        """A new Index, of any kind."""
        often = ("OWNERWRITE", "AUTHWRITE", "OWNERREAD", "AUTHREAD")
        names = [
            *often,
            "PPWRITE",
            "POLICYWRITE",
            "PPREAD",
            "POLICYREAD",
            "NO_DA",
            "ORDERLY",
            "CLEAR_STCLEAR",
        ]
        names += ["WRITEDEFINE", "WRITEALL", "WRITE_STCLEAR", "READ_STCLEAR", "GLOBALLOCK"]
        rare = ["POLICY_DELETE", "WRITTEN", "WRITELOCKED", "READLOCKED"]
        chosen = {name: self.random.random() < (0.7 if name in often else 0.25) for name in names}
        chosen |= {name: self.random.random() < 0.03 for name in rare}
        # A lock for good is durable at once here; libtpms writes what is orderly with the next Shutdown.
        chosen["WRITEDEFINE"] &= not chosen["ORDERLY"]
        creator = self.pick([TPM_RH.OWNER, TPM_RH.OWNER, TPM_RH.PLATFORM])
        by_platform = (creator == TPM_RH.PLATFORM) ^ (self.random.random() < 0.05)
        kind = self.pick([TPM_NT.ORDINARY] * 3 + list(TPM_NT))
        attributes = TPMA_NV(TPM_NT=kind, PLATFORMCREATE=by_platform, **chosen)
        alg = self.pick(ALGS)
        # libtpms keeps orderly Indices in half a kilobyte.
        sizes = [8, 8, 8, 20, 32, 48, 0, 7, 100]
        size = self.pick(sizes if attributes.ORDERLY else [*sizes, 2048, 2049])
        policy = self.pick([b"", b"", bytes({A.SHA1: 20, A.SHA256: 32, A.SHA384: 48}[alg]), bytes(7)])
        public = TPMS_NV_PUBLIC(self.index(), alg, attributes, policy, size)
        auth = self.pick([b"", b"", b"a", bytes(5), b"b" * 30])
        self.both("nv_define_space", creator, auth=auth, public_info=public, sessions=self.auth())

    def undefine(self) -> None:
        """Delete one, seldom."""
        if self.random.random() < 0.5:
            creator = self.pick([TPM_RH.OWNER, TPM_RH.PLATFORM])
            self.both("nv_undefine_space", creator, self.index(), sessions=self.auth())

    def access(self) -> None:
        """Read it or write it, by anybody."""
        index = self.index()
        auth = self.pick([TPM_RH.OWNER, TPM_RH.PLATFORM, index, index, self.index()])
        offset = self.pick([0, 0, 0, 1, 4, 8, 100])
        given: dict[str, Any] = self.pick(
            [
                {"verb": "nv_write", "data": self.data(), "offset": offset},
                {"verb": "nv_write", "data": bytes(range(8)), "offset": 0},
                {"verb": "nv_read", "size": self.pick([0, 1, 8, 20, 1024, 1025]), "offset": offset},
                {"verb": "nv_read", "size": 8, "offset": 0},
                {"verb": "nv_increment"},
                {"verb": "nv_extend", "data": self.data()},
                {"verb": "nv_set_bits", "bits": self.random.getrandbits(64)},
            ]
        )
        self.both(given.pop("verb"), auth, index, sessions=self.auth(), **given)
        self.both("nv_read_public", index)

    def data(self) -> bytes:
        """What is written."""
        return self.pick([b"", b"x", b"12345678", bytes(20), bytes(100), (7).to_bytes(4, "big") * 2])

    def lock(self) -> None:
        """A lock."""
        index = self.index()
        auth = self.pick([TPM_RH.OWNER, TPM_RH.PLATFORM, index])
        verb = self.pick(["nv_write_lock", "nv_read_lock"])
        if self.random.random() < 0.2:
            creator = self.pick([TPM_RH.OWNER, TPM_RH.PLATFORM])
            self.both("nv_global_write_lock", creator, sessions=self.auth())
        else:
            self.both(verb, auth, index, sessions=self.auth())
        self.both("nv_read_public", index)

    def pcr(self) -> None:
        """Extend, reset or read a PCR."""
        pcr = self.pick([0, 16, 16, 17, 23, 20])
        selection = (
            TPMS_PCR_SELECTION(self.pick(ALGS), self.pick([b"\0\0\x01", b"\x01\0\x83", b"\xff" * 3])),
        )
        verb = self.pick(["pcr_reset", "pcr_extend", "pcr_read"])
        if verb == "pcr_read":
            theirs, ours = (
                self.judge.pcr_read(pcr_selection_in=selection),
                self.own.pcr_read(pcr_selection_in=selection),
            )
            assert theirs.parameters[4:] == ours.parameters[4:]
        elif verb == "pcr_reset":
            self.both(verb, pcr)
        else:
            digests = (TPMT_HA(A.SHA256, bytes(32)), TPMT_HA(A.SHA1, bytes(20)))
            self.both(verb, pcr, digests=digests)

    def session(self) -> None:
        """A new policy or trial session, in the place of others if there are two."""
        while len(self.sessions) >= 2:
            self.both("flush_context", flush_handle=self.sessions.pop(0))
        reply = self.both(
            "start_auth_session",
            TPM_RH.NULL,
            TPM_RH.NULL,
            whole=False,
            nonce_caller=bytes(16),
            encrypted_salt=b"",
            session_type=self.pick([TPM_SE.POLICY, TPM_SE.POLICY, TPM_SE.TRIAL]),
            symmetric=NO_CIPHER,
            auth_hash=self.pick(ALGS),
        )
        self.sessions.append(reply.session_handle)

    def policy(self) -> None:
        """An assertion of a policy."""
        if not self.sessions:
            return
        session, index = self.pick(self.sessions), self.index()
        selection = (TPMS_PCR_SELECTION(self.pick(ALGS), self.pick([b"\0\0\x01", b"\x01\0\0", b"\0\0\0"])),)
        size = self.pick([20, 32, 48])
        given: dict[str, Any] = self.pick(
            [
                {"verb": "policy_command_code", "code": self.pick([TPM_CC.NV_Read, TPM_CC.NV_Write, 0x111])},
                {"verb": "policy_pcr", "pcr_digest": self.pick([b"", b"", bytes(size)]), "pcrs": selection},
                {"verb": "policy_nv_written", "written_set": self.pick([True, False])},
                {"verb": "policy_cp_hash", "cp_hash_a": bytes(size)},
                {"verb": "policy_name_hash", "name_hash": bytes(size)},
                {"verb": "policy_or", "p_hash_list": (bytes(20), bytes(32), bytes(48))},
                {"verb": "policy_or", "p_hash_list": (b"x" * size, b"y" * size)},
                {"verb": "policy_physical_presence"},
                {"verb": "policy_restart"},
                {"verb": "policy_restart"},
                {
                    "verb": "policy_duplication_select",
                    "object_name": b"",
                    "new_parent_name": b"\0\x0b" + bytes(32),
                },
            ]
        )
        if self.random.random() < 0.4:
            operation: dict[str, Any] = {
                # No negative ones: libtpms 0.9 orders them the wrong way round.
                "operand_b": self.pick([b"\0", b"\x7f", b"12345678", bytes(8), bytes(9)]),
                "offset": self.pick([0, 0, 1, 8, 9]),
                "operation": self.pick(list(TPM_EO)),
            }
            auth = self.pick([TPM_RH.OWNER, TPM_RH.PLATFORM, index])
            self.both("policy_nv", auth, index, session, sessions=self.auth(), **operation)
        else:
            if given["verb"] == "policy_duplication_select":
                given["include_object"] = self.pick([True, False])
            self.both(given.pop("verb"), session, **given)
        self.both("policy_get_digest", session)

    def authorized(self) -> None:
        """A use that a policy session authorizes, or not."""
        if self.sessions:
            session, index = Other(self.pick(self.sessions)), self.index()
            if self.random.random() < 0.5:
                self.both("nv_read", index, index, size=8, offset=0, sessions=[session])
            else:
                self.both("nv_write", index, index, data=b"87654321", offset=0, sessions=[session])

    def hierarchy(self) -> None:
        """Enable or disable, but never the platform itself."""
        enable = self.pick([TPM_RH.OWNER, TPM_RH.ENDORSEMENT, TPM_RH.PLATFORM_NV])
        state = self.random.random() < 0.7
        auth = self.pick([TPM_RH.PLATFORM, TPM_RH.PLATFORM, TPM_RH.OWNER, TPM_RH.ENDORSEMENT])
        self.both("hierarchy_control", auth, enable=enable, state=state, sessions=self.auth())

    def power(self) -> None:
        """A power cycle of any kind."""
        if self.random.random() < 0.5:
            return
        shutdown = self.pick([None, TPM_SU.CLEAR, TPM_SU.STATE, TPM_SU.STATE])
        if shutdown is not None:
            self.both("shutdown", shutdown_type=shutdown)
        self.log.append("lose power")
        self.judge.lose_power()
        self.own.lose_power()
        self.sessions.clear()
        # A refused Startup makes libtpms forget that a protected entity was used before the loss of power.
        startup = TPM_SU.CLEAR if shutdown is None else self.pick(list(TPM_SU))
        if self.both("startup", startup_type=startup).rc != TPM_RC.SUCCESS:
            self.both("startup", startup_type=TPM_SU.CLEAR)


@pytest.mark.parametrize("seed", range(40))
def test_script(seed: int) -> None:
    """The same codes, and the same parameters where nothing random is in them."""
    Script(seed).run()
