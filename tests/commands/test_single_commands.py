"""The commands of libtpms' fuzzing corpus, each sent to a new TPM, and what two other TPMs answered."""

from typing import NamedTuple

import pytest

from tests.libtpms import DIRECTORY
from tests.recorded import code_of
from tests.scenarios import Client
from vtpm.wire.error import TPM_RC

NO_ANSWER = "none"


class Recorded(NamedTuple):
    """One command, and the response codes of libtpms and of IBM's tpm_server."""

    command: bytes
    libtpms: str
    tpm_server: str

    @property
    def name(self) -> str:
        """The command's first octets, and how many there are."""
        return f"{self.command[:14].hex()}-{len(self.command)}"


def recorded() -> list[Recorded]:
    """The commands of the file."""
    _heading, *rows = (DIRECTORY / "single-commands.tsv").read_text().splitlines()
    return [
        Recorded(bytes.fromhex(command), libtpms, server)
        for command, libtpms, server in (row.split("\t") for row in rows)
    ]


RECORDED = recorded()


class Difference(NamedTuple):
    """What this TPM answers where the others answer something else, or differ among themselves."""

    code: int
    libtpms: int | None
    tpm_server: int | None
    clause: str


DIFFERENCES = {
    "80020000000e0000017e00000000": Difference(
        TPM_RC.AUTHSIZE, TPM_RC.SIZE, TPM_RC.SIZE, "Part 3, 5.5: an authorizationSize out of range"
    ),
    "80020000002d0000012a40000001000000094000000900000000000000000e11": Difference(
        TPM_RC.VALUE.parameter(2),
        TPM_RC.VALUE.parameter(2),
        TPM_RC.SUCCESS,
        "Part 2, TPMI_RH_NV_LEGACY_INDEX: NV_DefineSpace defines no Index of another handle type",
    ),
    "0000000000000000000000000000000000000000": Difference(
        TPM_RC.TAG, TPM_RC.VALUE, TPM_RC.VALUE, "Part 3, 6.1: the tag of a TPM without TPM 1.2 compatibility"
    ),
    "80": Difference(TPM_RC.COMMAND_SIZE, None, None, "Part 3, 5.2: a command has a header"),
    "8001000e": Difference(TPM_RC.COMMAND_SIZE, None, None, "Part 3, 5.2: a command has a header"),
}
"""By the first 32 octets of the command."""


def code_or_none(recorded: str) -> int | None:
    """A response code of the file."""
    return None if recorded == NO_ANSWER else int(recorded, 16)


@pytest.mark.parametrize("vector", RECORDED, ids=lambda v: v.name)
def test_single_command(tpm: Client, vector: Recorded) -> None:
    """The code that both others answer; where not, what the table says and why."""
    others = code_or_none(vector.libtpms), code_or_none(vector.tpm_server)
    difference = DIFFERENCES.get(vector.command[:32].hex())

    code = code_of(tpm.send(vector.command))

    if difference is None:
        assert (code, code) == others
    else:
        assert (code, *others) == difference[:3]


def test_differences_are_real() -> None:
    """The table explains commands of the corpus only, and only where not all three agree."""
    assert set(DIFFERENCES) <= {vector.command[:32].hex() for vector in RECORDED}
    for difference in DIFFERENCES.values():
        assert len(set(difference[:3])) > 1
