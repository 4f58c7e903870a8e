"""Part 3's tables: the command table agrees with them, command by command."""

import importlib
import json
import pkgutil
import re
from typing import Any

import pytest

import vtpm.spec
from tests.recorded import code_of
from tests.scenarios import HEADER, Client
from tests.spec.facts import FACTS
from vtpm.commands import COMMANDS, Command
from vtpm.spec.constants import TPM_CAP, TPM_CC, TPM_PT, TPM_ST
from vtpm.wire import integers
from vtpm.wire.codec import Codec
from vtpm.wire.error import TPM_RC
from vtpm.wire.vocabulary import codec_of

TABLE: dict[int, dict[str, Any]] = {
    int(fact["code"], 16): fact for fact in json.loads((FACTS / "commands.json").read_text())["commands"]
}

OMITTED_RESULTS = {TPM_CC.PCR_Event: 1}
"""Results that Part 3 has (Table 133: digests) and the extracted facts do not."""

ABSENT = {
    "post-quantum signatures, and those of whole messages, whose algorithms are left out": {
        TPM_CC.SignDigest,
        TPM_CC.SignSequenceStart,
        TPM_CC.SignSequenceComplete,
        TPM_CC.VerifyDigestSignature,
        TPM_CC.VerifySequenceStart,
        TPM_CC.VerifySequenceComplete,
    },
    "post-quantum key encapsulation": {TPM_CC.Encapsulate, TPM_CC.Decapsulate},
    "there is no attached component": {
        TPM_CC.AC_GetCapability,
        TPM_CC.AC_Send,
        TPM_CC.Policy_AC_SendSelect,
    },
    "the firmware is the program, which its host updates": {
        TPM_CC.FieldUpgradeStart,
        TPM_CC.FieldUpgradeData,
        TPM_CC.FirmwareRead,
    },
}
"""Commands of Part 3 that are not implemented, by the reason."""

VENDOR_TCG_TEST = 0x20000000
"""Part 3, 34.2: the code of the command that stands for those of vendors."""

OTHER_NAMES = {
    "activate": {"activated"},
    "handle": {"key"},
    "object": {"certified", "item"},
    "policy_session": {"session"},
    "privacy_admin": {"privacy"},
    "save": {"saved"},
    "sign": {"sign_key"},
    "creation_ticket": {"ticket"},
    "certify_info": {"attested"},
    "quoted": {"attested"},
    "audit_info": {"attested"},
    "time_info": {"attested"},
}
"""
Names that say more of a part than Part 3's do, beside its name without "Handle".

All attestations share one response structure.
"""

OTHER_TYPES = {
    ("CreateLoaded", "objectHandle"): "TPMI_DH_OBJECT",
    ("CreatePrimary", "objectHandle"): "TPMI_DH_OBJECT",
    ("Load", "objectHandle"): "TPMI_DH_OBJECT",
    ("LoadExternal", "objectHandle"): "TPMI_DH_OBJECT",
    ("Certify", "signature"): "TPMT_SIGNATURE_NULL",
    ("CertifyCreation", "signature"): "TPMT_SIGNATURE_NULL",
    ("GetCommandAuditDigest", "signature"): "TPMT_SIGNATURE_NULL",
    ("GetSessionAuditDigest", "signature"): "TPMT_SIGNATURE_NULL",
    ("GetTime", "signature"): "TPMT_SIGNATURE_NULL",
    ("NV_Certify", "signature"): "TPMT_SIGNATURE_NULL",
    ("Quote", "signature"): "TPMT_SIGNATURE_NULL",
    ("ReadPublic", "outPublic"): "TPM2B_PUBLIC_NULL",
    ("PCR_Read", "pcrValues"): "TPML_DIGEST_READ",
    ("GetTestResult", "testResult"): "UINT32",
    ("ContextLoad", "context"): "",
}
"""
Where the type is another than Part 3's table says: what its text allows beside.

A transient handle is an object's; nobody signs for TPM_RH_NULL; an external object may have no nameAlg.
ContextLoad takes what ContextSave gave, padded by whoever kept it.
"""


INTEGERS = ("UINT8", "UINT16", "UINT32", "UINT64", "INT32")


def types_of_part_2() -> dict[str, Codec]:
    """The codec of every type by its name."""
    found = {name: codec_of(getattr(integers, name)) for name in INTEGERS}
    for module in pkgutil.iter_modules(vtpm.spec.__path__):
        for name, value in vars(importlib.import_module(f"vtpm.spec.{module.name}")).items():
            if name.startswith("TPM") and (hasattr(value, "wire") or hasattr(value, "__metadata__")):
                found[name] = codec_of(value)
    return found


TYPES = types_of_part_2()


def snake_case(name: str) -> str:
    """Part 3's name as Python writes it."""
    name = name.replace("PCRselect", "PcrSelect")
    return re.sub(r"([a-z0-9])([A-Z])|([A-Z]+)(?=[A-Z][a-z])", r"\1\3_\2", name).lower()


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


def test_absent() -> None:
    """Every command of Part 3 is there, or there is a reason why not."""
    assert TABLE.keys() - COMMANDS.keys() == set().union(*ABSENT.values())
    assert COMMANDS.keys() <= TABLE.keys()


@pytest.mark.parametrize("tag", [TPM_ST.NO_SESSIONS, TPM_ST.SESSIONS])
@pytest.mark.parametrize("code", [*sorted(set().union(*ABSENT.values())), VENDOR_TCG_TEST])
def test_refused(tpm: Client, code: int, tag: TPM_ST) -> None:
    """
    5.3: TPM_RC_COMMAND_CODE for what is absent, whatever follows.

    20.3, 20.4, 20.6 and 20.7 (signatures), 27.2, 27.3 and 27.4 (field upgrade), 32.2, 32.3 and 32.4
    (attached components), and 34.2 (a placeholder for commands of a vendor).
    """
    assert code_of(tpm.send(HEADER.pack(tag, 14, code) + bytes(4))) == TPM_RC.COMMAND_CODE


def test_counts(tpm: Client) -> None:
    """34.1 and Part 2, 6.13: there is no vendor's command, and the capabilities say so."""
    first = TPM_PT.TOTAL_COMMANDS
    reply = tpm.get_capability(capability=TPM_CAP.TPM_PROPERTIES, property=first, property_count=3)
    codes = tpm.get_capability(capability=TPM_CAP.COMMANDS, property=0, property_count=254)

    assert [item.value for item in reply.capability_data.data] == [len(COMMANDS), len(COMMANDS), 0]
    assert [item.commandIndex for item in codes.capability_data.data] == sorted(COMMANDS)
    assert not any(item.V for item in codes.capability_data.data)


def test_names(command: Command, fact: dict[str, Any]) -> None:
    """Handles, parameters and results are called as Part 3 calls them, in its order."""
    found = [handle.name for handle in command.handles] + list(command.parameters)
    parts = fact["handles_in"] + fact["parameters_in"]
    if command.response is not None:
        results = fact["handles_out"] + fact["parameters_out"]
        found += list(command.response.fields)[: len(results)]
        parts = parts + results
    for name, part in zip(found, parts, strict=True):
        proper = snake_case(part["name"])
        short = proper.removesuffix("_handle")
        assert name in {proper, short} | OTHER_NAMES.get(short, set())


def test_types(command: Command, fact: dict[str, Any]) -> None:
    """Handles, parameters and results have the types that Part 3 gives them."""
    codecs = [handle.codec for handle in command.handles] + list(command.parameters.values())
    parts = fact["handles_in"] + fact["parameters_in"]
    if command.response is not None:
        codecs += list(command.response.fields.values())
        parts = parts + fact["handles_out"] + fact["parameters_out"]
    for part, codec in zip(parts, codecs, strict=False):
        name = part["type"] + ("_NULL" if part.get("null_allowed") else "")
        name = OTHER_TYPES.get(
            (command.name, part["name"]), name if name in TYPES else f"{part['type']}_TYPE"
        )
        assert not name or TYPES[name] is codec, f"{part['name']} is not {name}"
