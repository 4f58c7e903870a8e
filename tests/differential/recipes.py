"""Part 1, 16.7: policies whose digests the caller computes, and the assertions that come to them."""

import hashlib
from dataclasses import dataclass
from typing import Any

from tests.sessions import HASHES
from vtpm.spec.constants import TPM_ALG, TPM_CC

Assertion = tuple[str, TPM_CC, bytes, dict[str, Any]]
"""A handler's name, the command code in the digest, what follows it there, and the parameters."""


@dataclass(frozen=True)
class Recipe:
    """Assertions one after the other; `branches` are the recipes of a PolicyOR at their end."""

    assertions: tuple[Assertion, ...]
    branches: tuple["Recipe", ...] = ()

    def digest(self, alg: TPM_ALG) -> bytes:
        """The policy digest of a session that has made these assertions."""
        size = hashlib.new(HASHES[alg]).digest_size
        digest = bytes(size)
        for _, code, octets, _ in self.assertions:
            digest = hashlib.new(HASHES[alg], digest + code.to_bytes(4, "big") + octets).digest()
        if self.branches:
            alternatives = b"".join(branch.digest(alg) for branch in self.branches)
            octets = bytes(size) + TPM_CC.PolicyOR.to_bytes(4, "big") + alternatives
            digest = hashlib.new(HASHES[alg], octets).digest()
        return digest

    def steps(self, alg: TPM_ALG) -> list[tuple[str, dict[str, Any]]]:
        """The handlers to call, with their parameters."""
        steps = [(verb, given) for verb, _, _, given in self.assertions]
        if self.branches:
            steps.append(("policy_or", {"p_hash_list": tuple(one.digest(alg) for one in self.branches)}))
        return steps


def for_command(code: TPM_CC) -> Assertion:
    """PolicyCommandCode."""
    return "policy_command_code", TPM_CC.PolicyCommandCode, code.to_bytes(4, "big"), {"code": code}


def for_duplication(new_parent: bytes) -> Recipe:
    """PolicyDuplicationSelect for any object, to the parent with this Name."""
    given = {"object_name": b"", "new_parent_name": new_parent, "include_object": False}
    octets = new_parent + b"\0"
    return Recipe((("policy_duplication_select", TPM_CC.PolicyDuplicationSelect, octets, given),))


WITH_AUTH: Assertion = ("policy_auth_value", TPM_CC.PolicyAuthValue, b"", {})
WITH_PASSWORD: Assertion = ("policy_password", TPM_CC.PolicyAuthValue, b"", {})
WRITTEN: Assertion = ("policy_nv_written", TPM_CC.PolicyNvWritten, b"\1", {"written_set": True})
AT_ZERO: Assertion = ("policy_locality", TPM_CC.PolicyLocality, b"\1", {"locality": 1})

ADMIN = (
    TPM_CC.ObjectChangeAuth,
    TPM_CC.Duplicate,
    TPM_CC.Certify,
    TPM_CC.ActivateCredential,
    TPM_CC.CertifyX509,
    TPM_CC.NV_ChangeAuth,
    TPM_CC.NV_UndefineSpaceSpecial,
)
"""Commands that need the ADMIN or DUP role for one of their handles."""

CHANGE, DUPLICATE = (Recipe((for_command(code),)) for code in ADMIN[:2])

BOOK = (
    *(Recipe((for_command(code),)) for code in (*ADMIN, TPM_CC.NV_Read, TPM_CC.Sign)),
    Recipe((WITH_AUTH,)),
    Recipe((WITH_PASSWORD,)),
    Recipe((WITH_AUTH, for_command(TPM_CC.Certify))),
    Recipe((WITH_PASSWORD, for_command(TPM_CC.Duplicate))),
    Recipe((WRITTEN,)),
    Recipe((AT_ZERO, WITH_AUTH)),
    Recipe((for_command(TPM_CC.Duplicate),), (CHANGE, DUPLICATE)),
)
"""The recipes that every stream begins with."""
