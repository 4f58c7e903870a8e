"""vtpm/trace/codes.py, names.py and secrecy.py against the declarations they speak of."""

import pytest

from vtpm.commands import COMMANDS, Command
from vtpm.spec import algorithms, context, nv, objects, structures
from vtpm.spec.constants import TPM_CC
from vtpm.trace.codes import MEANINGS
from vtpm.trace.names import NUMBERS, handle_name
from vtpm.trace.secrecy import SECRET_ARGUMENTS, SECRET_FIELDS
from vtpm.wire.error import TPM_RC

MODULES = (algorithms, context, nv, objects, structures)
BY_NAME = {command.name: command for command in COMMANDS.values()}


def arguments_of(command: Command) -> set[str]:
    """The parameters of a command and the fields of its response."""
    return {*command.parameters, *(command.response.fields if command.response else ())}


def fields_of(structure: str) -> set[str]:
    """The fields of a structure of Part 2."""
    (found,) = {vars(module)[structure] for module in MODULES if structure in vars(module)}
    return set(found.wire.fields)


def test_every_code_has_a_meaning() -> None:
    """Part 2, 6.6.3: no response code goes without an explanation."""
    assert set(MEANINGS) == set(TPM_RC)


@pytest.mark.parametrize(("owner", "field"), NUMBERS)
def test_numbers_exist(owner: str, field: str) -> None:
    """A field whose numbers have names is one of the command or the structure."""
    assert field in (arguments_of(BY_NAME[owner]) if owner in BY_NAME else fields_of(owner))


@pytest.mark.parametrize("code", SECRET_ARGUMENTS)
def test_secret_arguments_exist(code: TPM_CC) -> None:
    """A secret argument is one of the command."""
    assert SECRET_ARGUMENTS[code] <= arguments_of(COMMANDS[code])


@pytest.mark.parametrize("structure", SECRET_FIELDS)
def test_secret_fields_exist(structure: str) -> None:
    """A secret field is one of the structure."""
    assert SECRET_FIELDS[structure] <= fields_of(structure)


def test_no_auth_value_is_forgotten() -> None:
    """Every parameter that is an authValue by its name is a secret."""
    named = {
        (command.code, name)
        for command in COMMANDS.values()
        for name in command.parameters
        if name in ("auth", "new_auth") and command.code != TPM_CC.PolicySigned  # there, a signature
    }

    assert named <= {(code, name) for code, names in SECRET_ARGUMENTS.items() for name in names}


@pytest.mark.parametrize(
    ("handle", "name"),
    [
        (0x40000001, "TPM_RH_OWNER"),
        (0x40000009, "TPM_RS_PW"),
        (16, "PCR 16"),
        (0x01C00002, "NV Index 0x01C00002"),
        (0x02000001, "HMAC session 0x02000001"),
        (0x03000001, "policy session 0x03000001"),
        (0x80000000, "transient object 0x80000000"),
        (0x81010001, "persistent object 0x81010001"),
        (0x40000400, "0x40000400"),
        (0x77000000, "0x77000000"),
    ],
)
def test_handles(handle: int, name: str) -> None:
    """A handle says what it refers to."""
    assert handle_name(handle) == name
