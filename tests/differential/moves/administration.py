"""Hierarchies, lockout, time, capabilities, tests, power, and commands of no sense."""

from tests.differential.damage import HANDLES
from tests.differential.moves.move import move
from tests.differential.pair import Auth, Request
from tests.differential.stream import Stream
from vtpm.commands import COMMANDS
from vtpm.spec.attributes import TPMA_SESSION
from vtpm.spec.constants import TPM_ALG, TPM_CAP, TPM_CC, TPM_CLOCK_ADJUST, TPM_PT, TPM_RH, TPM_SU
from vtpm.wire.error import TPM_RC

TIMED = frozenset(
    {TPM_CC.ClockSet, TPM_CC.DictionaryAttackParameters, TPM_CC.StartAuthSession, TPM_CC.PolicyCounterTimer}
    | {TPM_CC.Startup, TPM_CC.FlushContext, TPM_CC.GetCapability, TPM_CC.ECDH_KeyGen, TPM_CC.CreateLoaded}
)
"""Commands that are not made at random: time would show, or the callers lose track of sessions."""


@move(2)
def hierarchy(stream: Stream) -> Request:
    """Enable or disable."""
    enable = stream.pick([TPM_RH.OWNER, TPM_RH.ENDORSEMENT, TPM_RH.PLATFORM_NV])
    auth = stream.pick([TPM_RH.PLATFORM, TPM_RH.PLATFORM, TPM_RH.OWNER, TPM_RH.ENDORSEMENT])
    return stream.request("hierarchy_control", auth, enable=enable, state=stream.dice.chance(0.7))


@move(2)
def authorization(stream: Stream) -> Request:
    """Authorizations and policies of hierarchies."""
    entity = stream.pick([TPM_RH.OWNER, TPM_RH.ENDORSEMENT, TPM_RH.PLATFORM, TPM_RH.LOCKOUT])
    if stream.dice.chance(0.5):
        return stream.request("hierarchy_change_auth", entity, new_auth=stream.pick(stream.auths))
    alg = stream.pick([TPM_ALG.NULL, TPM_ALG.SHA256, TPM_ALG.SHA1])
    known = stream.pick(stream.recipes).digest(TPM_ALG.SHA256 if alg is TPM_ALG.NULL else alg)
    policies = [b"", known, known, bytes(32), bytes(20), *stream.digests[-3:]]
    return stream.request("set_primary_policy", entity, auth_policy=stream.pick(policies), hash_alg=alg)


@move(1)
def clear(stream: Stream) -> Request:
    """Clear, and what allows it; the seeds change."""
    by = stream.pick([TPM_RH.PLATFORM, TPM_RH.LOCKOUT])
    way = stream.pick(["clear", "clear_control", "clear_control", "change_eps", "change_pps"])
    if way == "clear_control":
        return stream.request(way, by, disable=stream.dice.chance(0.3))
    return stream.request(way, by if way == "clear" else TPM_RH.PLATFORM)


@move(2)
def lockout(stream: Stream) -> Request:
    """The protection against dictionary attacks."""
    if stream.dice.chance(0.5):
        return stream.request("dictionary_attack_lock_reset", TPM_RH.LOCKOUT)
    tries, long = stream.pick([0, 1, 3, 32]), stream.pick([0, 10000, 86400])
    given = {"new_max_tries": tries, "new_recovery_time": long, "lockout_recovery": stream.pick([0, 86400])}
    request = stream.request("dictionary_attack_parameters", TPM_RH.LOCKOUT, **given)
    request.fixed = True
    return request


@move(2)
def time(stream: Stream) -> Request:
    """Clock and Time."""
    by = stream.pick([TPM_RH.OWNER, TPM_RH.PLATFORM])
    way = stream.pick(["read_clock", "read_clock", "clock_set", "clock_rate_adjust"])
    if way == "clock_rate_adjust" and not stream.pair.judge.shares_seeds:
        # The rate stays with a peer, and cannot be read.
        way = "read_clock"
    if way == "read_clock":
        return stream.request(way)
    if way == "clock_rate_adjust":
        return stream.request(way, by, rate_adjust=stream.pick(list(TPM_CLOCK_ADJUST)))
    # Far from the clocks of both, which show different milliseconds.
    ahead = stream.pair.tpm.clock.clock + 100_000_000
    request = stream.request(way, by, new_time=stream.pick([ahead, ahead, 0xFFFF000000000001]))
    request.fixed = True
    return request


@move(5)
def capability(stream: Stream) -> Request:
    """Everything that a TPM says of itself and that does not depend on the program."""
    pick = stream.pick
    kinds = {
        TPM_CAP.HANDLES: [0, 1, 0x01000000, 0x02000000, 0x03000000, 0x40000000, 0x80000000, 0x81000000],
        TPM_CAP.ALGS: [0, 5, 0x10, 0xFFFF],
        TPM_CAP.COMMANDS: [0, 0x11E, 0x130, 0x180, 0x20000000],
        TPM_CAP.PP_COMMANDS: [0, 0x130],
        TPM_CAP.AUDIT_COMMANDS: [0, 0x140],
        TPM_CAP.PCRS: [0, 1],
        TPM_CAP.PCR_PROPERTIES: [0, 3, 0x13, 0x20],
        TPM_CAP.ECC_CURVES: [0, 4, 0x11],
        TPM_CAP.AUTH_POLICIES: [0, 0x40000001, 0x4000000D],
        TPM_CAP.TPM_PROPERTIES: [
            *(TPM_PT.PERMANENT, TPM_PT.STARTUP_CLEAR, TPM_PT.HR_LOADED),
            *(0, 0x100, 0x10E, 0x120, 0x12D, 0x20F, 0x300),
        ],
        TPM_CAP.VENDOR_PROPERTY: [0],
        TPM_CAP.ACT: [0, 0x40000110],
    }
    which = pick(list(kinds))
    first = pick(kinds[which])
    request = stream.request(
        "get_capability", capability=which, property=first, property_count=pick([0, 1, 1, 3, 200, 0xFFFFFFFF])
    )
    request.fixed = which is TPM_CAP.TPM_PROPERTIES
    return request


@move(1)
def test(stream: Stream) -> Request:
    """Self-tests, and random numbers."""
    verb, given = stream.pick(
        [
            ("self_test", {"full_test": True}),
            ("incremental_self_test", {"to_test": (TPM_ALG.SHA256, TPM_ALG.AES)}),
            ("get_test_result", {}),
            ("get_random", {"bytes_requested": stream.pick([0, 8, 32, 64, 65, 1000])}),
            ("stir_random", {"in_data": stream.pick([b"", b"x", bytes(128)])}),
        ]
    )
    return stream.request(verb, **given)


@move(2)
def shutdown(stream: Stream) -> Request | None:
    """Shutdown, loss of power and Startup, in all combinations that have a result."""
    way = stream.pick([None, TPM_SU.CLEAR, TPM_SU.STATE, TPM_SU.STATE])
    if way is not None:
        answer = stream.send(stream.request("shutdown", shutdown_type=way), damaged=False)
        if not stream.is_success(answer) or stream.dice.chance(0.2):
            return None
    stream.log.append("power is lost")
    stream.pair.lose_power()
    # A refused Startup makes libtpms forget that a protected entity was used before the loss of power.
    startup = TPM_SU.CLEAR if way is None else stream.pick(list(TPM_SU))
    request = stream.request("startup", startup_type=startup)
    request.locality = stream.pick([0] * 12 + [1, 3, 4])
    answer = stream.send(request, damaged=False)
    if answer.ours.rc != TPM_RC.SUCCESS and answer.theirs.rc == answer.ours.rc:
        stream.send(stream.request("startup", startup_type=TPM_SU.CLEAR), damaged=False)
    return None


def codes_of(stream: Stream) -> list[int]:
    """The commands that may be made at random."""
    kept = {TPM_CC.ClockRateAdjust} if not stream.pair.judge.shares_seeds else set()
    return sorted(stream.pair.tpm.profile.commands & COMMANDS.keys() - TIMED - kept)


@move(10)
def anything(stream: Stream) -> Request:
    """A command of the table with handles and parameters by chance."""
    command = COMMANDS[stream.pick(codes_of(stream))]
    handles = []
    for argument in command.handles:
        fit = [
            h for h in (*HANDLES, *stream.objects(), *stream.pair.tpm.nv) if is_well_formed(argument.codec, h)
        ]
        handles.append(stream.pick(fit or [interval[0] for interval in argument.codec.ranges]))
    octets = b"".join(stream.dice.value(codec) for codec in command.parameters.values())
    return stream.complete(command, handles, (octets, octets))


def is_well_formed(codec: object, handle: int) -> bool:
    """Would the handle be accepted by the unmarshalling?"""
    values, ranges = getattr(codec, "values", ()), getattr(codec, "ranges", ())
    return handle in values or any(handle in interval for interval in ranges)


@move(2)
def noise(stream: Stream) -> Request:
    """Octets by chance behind a header."""
    command = COMMANDS[stream.pick(codes_of(stream))]
    octets = stream.dice.octets(stream.dice.random.randrange(60))
    auths = [Auth(b"", attributes=TPMA_SESSION(1)) for _ in range(stream.pick([0, 1, 2]))]
    return Request(command, [stream.pick(HANDLES) for _ in command.handles], (octets, octets), auths)
