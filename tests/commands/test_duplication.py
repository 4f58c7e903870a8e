"""Part 3, clause 13: duplication commands."""

from typing import Any

import pytest

from tests.commands.test_hierarchy import with_recorded_seeds
from tests.commands.test_object import TEMPLATES, of_kind
from tests.crypto.published import label
from tests.objects import primary, template
from tests.scenarios import Client
from vtpm.spec.algorithms import TPMT_SYM_DEF_OBJECT
from vtpm.spec.constants import TPM_ALG


class TestImport:
    """13.3 Import"""

    @pytest.mark.parametrize("vector", of_kind("duplicate"), ids=label)
    def test_recorded(self, tpm: Client, vector: dict[str, Any]) -> None:
        """Storage keys of swtpm's seeds import what an independent program duplicated, and then load it."""
        with_recorded_seeds(tpm)
        parent = primary(tpm, TEMPLATES[vector["name"].split(" under ")[1].split(",")[0]])
        inner = bytes.fromhex(vector.get("inner_key", ""))
        cipher = (TPM_ALG.AES, 128, TPM_ALG.CFB) if inner else (TPM_ALG.NULL, 0, TPM_ALG.NULL)
        public = template(vector["object_public"])

        reply = tpm.import_object(
            parent,
            encryption_key=inner,
            object_public=public,
            duplicate=bytes.fromhex(vector["duplicate"]),
            in_sym_seed=bytes.fromhex(vector["inSymSeed"]),
            symmetric_alg=TPMT_SYM_DEF_OBJECT(*cipher),
        )

        loaded = tpm.load(parent, in_private=reply.out_private, in_public=public)
        assert loaded.name.hex() == vector["object_name"]
