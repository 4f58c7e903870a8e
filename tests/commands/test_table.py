"""Part 3's tables: the command table agrees with them, command by command."""

import json
from typing import Any

import pytest

from tests.spec.facts import FACTS
from vtpm.commands import COMMANDS, Command
from vtpm.spec.constants import TPM_CC

TABLE: dict[int, dict[str, Any]] = {
    int(fact["code"], 16): fact for fact in json.loads((FACTS / "commands.json").read_text())["commands"]
}

OMITTED_RESULTS = {TPM_CC.PCR_Event: 1}
"""Results that Part 3 has (Table 133: digests) and the extracted facts do not."""


@pytest.fixture(params=sorted(COMMANDS), ids=lambda code: COMMANDS[code].name)
def command(request: pytest.FixtureRequest) -> Command:
    """Every command of the table."""
    return COMMANDS[request.param]


@pytest.fixture
def fact(command: Command) -> dict[str, Any]:
    """What Part 3 says of the command."""
    return TABLE[command.code]


def test_attributes(command: Command, fact: dict[str, Any]) -> None:
    """Part 2, 8.9: the TPMA_CC that GetCapability reports."""
    assert int(fact["tpma_cc"]["value"], 16) == command.tpma_cc


def test_roles(command: Command, fact: dict[str, Any]) -> None:
    """Each handle is authorized in the role that Part 3 gives it, or needs no authorization."""
    roles = [handle.role.name if handle.role else "none" for handle in command.handles]

    assert [handle["auth_role"] for handle in fact["handles_in"]] == roles


def test_parameters(command: Command, fact: dict[str, Any]) -> None:
    """A command has as many parameters as Part 3 gives it, and so has its response."""
    fields = command.response.fields if command.response else {}

    assert len(fact["parameters_in"]) == len(command.parameters)
    results = len(fact["handles_out"]) + len(fact["parameters_out"]) + OMITTED_RESULTS.get(command.code, 0)
    assert results == len(fields)


def test_encryption(command: Command, fact: dict[str, Any]) -> None:
    """The first parameter of command and response can be encrypted if it is a sized buffer."""
    assert fact["first_param_decrypt_on_command"] is command.decrypts
    assert fact["first_param_encrypt_on_response"] is command.encrypts


def test_physical_presence(command: Command, fact: dict[str, Any]) -> None:
    """Part 3, Table 217: may physical presence be asked for?"""
    assert (fact["physical_presence"] != "no") is command.physical_presence


def test_read_only_mode(command: Command, fact: dict[str, Any]) -> None:
    """Part 3, Table 207: what Read-Only mode refuses altogether."""
    assert (fact["read_only_mode"] != "not_permitted") is command.read_only
