"""vtpm/testing/client.py and messages.py: the commands of the table as methods."""

import hashlib
import inspect

import pytest

from vtpm.commands import COMMANDS
from vtpm.spec.attributes import TPMA_NV
from vtpm.spec.constants import TPM_ALG, TPM_CC, TPM_RH, TPM_SE
from vtpm.spec.nv import TPMS_NV_PUBLIC
from vtpm.testing import Client, Password, Refused, ResponseError, seeded, start_session
from vtpm.wire.error import TPM_RC

INDEX = 0x01800001
PUBLIC = TPMS_NV_PUBLIC(INDEX, TPM_ALG.SHA256, TPMA_NV(AUTHREAD=True, AUTHWRITE=True), b"", 4)


class TestMethods:
    """Every command is a method whose signature is that of Part 3"""

    def test_every_command(self, tpm: Client) -> None:
        """All commands of the table are there, and are listed."""
        names = {command.run.__name__ for command in COMMANDS.values()}

        assert names <= set(dir(tpm))
        assert all(callable(getattr(tpm, name)) for name in names)

    def test_signature(self, tpm: Client) -> None:
        """A method shows its handles and parameters, and what the command is."""
        method = tpm.nv_write

        names = list(inspect.signature(method).parameters)
        assert names == ["auth_handle", "nv_index", "data", "offset", "auths", "sessions", "locality"]
        assert method.__doc__ == COMMANDS[TPM_CC.NV_Write].run.__doc__
        assert method.__name__ == "nv_write"

    def test_no_such_command(self, tpm: Client) -> None:
        """What is no command is no attribute."""
        with pytest.raises(AttributeError, match="field_upgrade_start is no command"):
            _ = tpm.field_upgrade_start

    def test_handles_by_name(self, tpm: Client) -> None:
        """Handles are given by position or by name."""
        tpm.nv_define_space(auth_handle=TPM_RH.OWNER, auth=b"", public_info=PUBLIC).check()
        tpm.nv_write(INDEX, nv_index=INDEX, data=b"abcd", offset=0).check()

        assert tpm.nv_read(INDEX, INDEX, size=4, offset=0).data == b"abcd"

    def test_missing_handle(self, tpm: Client) -> None:
        """A call without a handle says which ones the command takes."""
        with pytest.raises(TypeError, match="TPM2_NV_Read takes the handles auth_handle, nv_index; 1 are"):
            tpm.nv_read(INDEX, size=4, offset=0)

    def test_wrong_parameters(self, tpm: Client) -> None:
        """A call with other parameters than the command's says which ones it takes."""
        with pytest.raises(TypeError, match="TPM2_GetRandom takes bytes_requested, not octets"):
            tpm.get_random(octets=8)
        with pytest.raises(TypeError, match="TPM2_ReadClock takes no parameters, not octets"):
            tpm.read_clock(octets=8)

    def test_passwords(self, tpm: Client) -> None:
        """`auths` are passwords in the order of the handles, and `sessions` take their place."""
        tpm.hierarchy_change_auth(TPM_RH.OWNER, new_auth=b"secret").check()

        assert tpm.clear(TPM_RH.PLATFORM, auths=[b"x"]).rc == TPM_RC.BAD_AUTH.session(1)
        tpm.nv_define_space(TPM_RH.OWNER, auths=[b"secret"], auth=b"", public_info=PUBLIC).check()
        tpm.nv_undefine_space(TPM_RH.OWNER, INDEX, sessions=[Password(b"secret")]).check()


class TestSessions:
    """The caller's side of a session"""

    def test_hmac(self, tpm: Client) -> None:
        """A session authorizes without showing the authValue, and knows the TPM by its HMAC."""
        tpm.hierarchy_change_auth(TPM_RH.OWNER, new_auth=b"secret").check()
        session = start_session(tpm)
        session.auth = b"secret"
        reply = tpm.nv_define_space(TPM_RH.OWNER, sessions=[session], auth=b"", public_info=PUBLIC).check()
        session.check(reply)
        session.check(tpm.nv_undefine_space(TPM_RH.OWNER, INDEX, sessions=[session]).check())

    def test_wrong_auth_value(self, tpm: Client) -> None:
        """Without the authValue it does not authorize, and a response of another TPM is found out."""
        tpm.hierarchy_change_auth(TPM_RH.OWNER, new_auth=b"secret").check()
        session = start_session(tpm)
        refused = tpm.nv_define_space(TPM_RH.OWNER, sessions=[session], auth=b"", public_info=PUBLIC)
        assert refused.rc == TPM_RC.BAD_AUTH.session(1)
        session.auth = b"secret"
        reply = tpm.nv_define_space(TPM_RH.OWNER, sessions=[session], auth=b"", public_info=PUBLIC).check()
        session.auth = b"another"

        with pytest.raises(ResponseError, match="was not made by the TPM"):
            session.check(reply)

    def test_policy(self, tpm: Client) -> None:
        """A policy session's digest is what was accumulated in it."""
        session = start_session(tpm, TPM_SE.POLICY)
        tpm.policy_command_code(session.handle, code=TPM_CC.NV_Write).check()

        extended = (
            bytes(32) + TPM_CC.PolicyCommandCode.to_bytes(4, "big") + TPM_CC.NV_Write.to_bytes(4, "big")
        )
        digest = tpm.policy_get_digest(session.handle).policy_digest
        assert digest == hashlib.sha256(extended).digest()

    def test_repr(self, tpm: Client) -> None:
        """A session does not show its secrets."""
        session = start_session(tpm)
        session.auth = b"secret"

        assert repr(session) == "<CallerSession 0x02000000>"


class TestReply:
    """A response: its code, its fields, its octets"""

    def test_refused(self, tpm: Client) -> None:
        """A refused command gives its code; its fields and `check` say why there are none."""
        reply = tpm.get_capability(capability=99, property=0, property_count=1)

        assert reply.rc == TPM_RC.VALUE.parameter(1)
        with pytest.raises(AttributeError, match="more_data: the response is TPM_RC_VALUE, parameter 1"):
            _ = reply.more_data
        with pytest.raises(
            Refused, match="TPM2_GetCapability was refused: TPM_RC_VALUE, parameter 1"
        ) as error:
            reply.check()
        assert error.value.rc == reply.rc

    def test_repr(self, tpm: Client) -> None:
        """What is shown names the command and the fields, without their values."""
        reply = tpm.get_random(bytes_requested=8)

        assert repr(reply.check()) == "<Reply to GetRandom: TPM_RC_SUCCESS, random_bytes>"


class TestClient:
    """A TPM in this process"""

    def test_deterministic(self) -> None:
        """The same seed gives the same TPM, another seed another one."""
        first, second, other = (
            Client(seed=seed).get_random(bytes_requested=16).octets for seed in (b"a", b"a", b"b")
        )

        assert first == second != other

    def test_time(self, tpm: Client) -> None:
        """Time passes only when the test says so."""
        before = tpm.read_clock().current_time.time
        assert tpm.read_clock().current_time.time == before
        tpm.wait(1500)

        assert tpm.read_clock().current_time.time == before + 1500

    def test_power(self, tpm: Client) -> None:
        """What is durable is there after a loss of power, the rest is not."""
        tpm.nv_define_space(TPM_RH.OWNER, auth=b"", public_info=PUBLIC).check()
        tpm.nv_write(INDEX, INDEX, data=b"abcd", offset=0).check()
        sequence = tpm.hash_sequence_start(auth=b"", hash_alg=TPM_ALG.SHA256).sequence_handle
        tpm.power_cycle(shutdown=None).check()

        assert tpm.nv_read(INDEX, INDEX, size=4, offset=0).data == b"abcd"
        assert tpm.sequence_update(sequence, buffer=b"").rc == TPM_RC.REFERENCE_H0

    def test_seeded(self) -> None:
        """A seeded source gives other octets each time, and the same ones from the beginning."""
        first, again = seeded(b"x"), seeded(b"x")
        given = [first(8), first(8)]

        assert given[0] != given[1]
        assert [again(8), again(8)] == given
