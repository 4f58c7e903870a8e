"""Part 3, clause 13: duplication commands."""

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests.commands.test_hierarchy import with_recorded_seeds
from tests.commands.test_object import TEMPLATES, flipped, of_kind
from tests.crypto.published import label
from tests.objects import SEALED, SIGN_ECC, STORAGE_ECC, STORAGE_RSA, created, handle_of, primary, template
from tests.scenarios import Client, Reply
from tests.sessions import start_session
from vtpm.spec.algorithms import TPMT_SYM_DEF_OBJECT
from vtpm.spec.constants import TPM_ALG, TPM_CC, TPM_RH, TPM_SE
from vtpm.spec.objects import TPM2B_PRIVATE, TPMT_PUBLIC
from vtpm.wire.error import TPM_RC
from vtpm.wire.vocabulary import codec_of

NULL = TPM_RH.NULL
NO_INNER = TPMT_SYM_DEF_OBJECT(TPM_ALG.NULL, 0, TPM_ALG.NULL)
INNER = TPMT_SYM_DEF_OBJECT(TPM_ALG.AES, 128, TPM_ALG.CFB)
KEY = bytes(range(16))
STORAGE_AES = "0025000b00030072 0000 0006 0080 0043 0000"
POLICY = hashlib.sha256(
    bytes(32) + bytes.fromhex(f"{TPM_CC.PolicyCommandCode:08x}{TPM_CC.Duplicate:08x}")
).digest()
"""Allows the object to be duplicated, and nothing else."""


def movable(octets: str = SEALED, /, **changes: bool) -> TPMT_PUBLIC:
    """A template of an object that can be duplicated."""
    public = template(octets)
    attributes = public.object_attributes.but(fixedTPM=False, fixedParent=False, **changes)
    return replace(public, object_attributes=attributes, auth_policy=POLICY)


@dataclass
class Movable:
    """A loaded object that can be duplicated."""

    tpm: Client
    handle: int

    def duplicate(
        self, new_parent: int, symmetric: TPMT_SYM_DEF_OBJECT = NO_INNER, key: bytes = b""
    ) -> Reply:
        """Duplicate it, as its policy allows."""
        session = start_session(self.tpm, TPM_SE.POLICY)
        self.tpm.policy_command_code(session.handle, code=TPM_CC.Duplicate)
        reply = self.tpm.duplicate(
            self.handle, new_parent, sessions=[session], encryption_key_in=key, symmetric_alg=symmetric
        )
        self.tpm.flush_context(flush_handle=session.handle)
        return reply

    @property
    def public(self) -> TPMT_PUBLIC:
        """The public area."""
        public: TPMT_PUBLIC = self.tpm.read_public(self.handle).out_public
        return public

    def imported(self, parent: int, duplicate: bytes, seed: bytes, key: bytes = b"", **given: Any) -> Reply:
        """Import its duplicate."""
        parameters = {
            "encryption_key": key,
            "object_public": self.public,
            "duplicate": duplicate,
            "in_sym_seed": seed,
            "symmetric_alg": INNER if key else NO_INNER,
        }
        return self.tpm.import_object(parent, **parameters | given)

    def is_loaded_by(self, parent: int, imported: Reply) -> bool:
        """Is what was imported the same object?"""
        reply = self.tpm.load(parent, in_private=imported.out_private, in_public=self.public)
        same: bool = reply.name == self.tpm.read_public(self.handle).name
        return same and self.tpm.unseal(handle_of(reply), auths=[b"pw"]).out_data == b"secret"


def made(tpm: Client, **changes: bool) -> Movable:
    """Sealed data that can be duplicated."""
    parent = primary(tpm)
    blob = created(tpm, parent, movable(**changes), data=b"secret", auth=b"pw")
    return Movable(tpm, handle_of(tpm.load(parent, **blob)))


class TestDuplicate:
    """13.1 Duplicate"""

    @pytest.mark.parametrize("new_parent", [STORAGE_ECC, STORAGE_RSA])
    @pytest.mark.parametrize("key", [b"", KEY, None])
    def test_round(self, tpm: Client, new_parent: str, key: bytes | None) -> None:
        """The new parent imports it, whoever made the key of the inner wrapper."""
        item, parent = made(tpm), primary(tpm, new_parent, TPM_RH.ENDORSEMENT)

        reply = item.duplicate(parent, NO_INNER if key == b"" else INNER, key or b"")

        assert b"secret" not in reply.octets
        assert len(reply.encryption_key_out) == (16 if key is None else 0)
        inner = reply.encryption_key_out or key or b""
        imported = item.imported(parent, reply.duplicate, reply.out_sym_seed, inner)
        assert item.is_loaded_by(parent, imported)

    def test_public_parent(self, tpm: Client) -> None:
        """The public area of the new parent is enough."""
        item, parent = made(tpm), primary(tpm, hierarchy=TPM_RH.ENDORSEMENT)
        public = tpm.read_public(parent).out_public
        seen = tpm.load_external(in_private=None, in_public=public, hierarchy=NULL).object_handle

        reply = item.duplicate(seen)

        assert item.is_loaded_by(parent, item.imported(parent, reply.duplicate, reply.out_sym_seed))

    @pytest.mark.parametrize("key", [b"", KEY])
    def test_no_parent(self, tpm: Client, key: bytes) -> None:
        """Without a new parent there is no outer wrapper; then any parent can import it."""
        item, parent = made(tpm), primary(tpm, STORAGE_AES)

        reply = item.duplicate(NULL, INNER if key else NO_INNER, key)

        assert reply.out_sym_seed == b""
        assert (b"secret" in reply.duplicate) is (not key)
        assert item.is_loaded_by(parent, item.imported(parent, reply.duplicate, b"", key))

    @pytest.mark.parametrize(
        ("symmetric", "key", "expected"),
        [
            (NO_INNER, KEY, TPM_RC.SIZE.parameter(1)),
            (INNER, KEY[1:], TPM_RC.SIZE.parameter(1)),
            (INNER, KEY + b"x", TPM_RC.SIZE.parameter(1)),
        ],
    )
    def test_key_size(self, tpm: Client, symmetric: TPMT_SYM_DEF_OBJECT, key: bytes, expected: int) -> None:
        """The key of the inner wrapper fits its algorithm."""
        assert expected == made(tpm).duplicate(primary(tpm), symmetric, key).rc

    def test_encrypted_duplication(self, tpm: Client) -> None:
        """With encryptedDuplication there must be both wrappers."""
        item, parent = made(tpm, encryptedDuplication=True), primary(tpm)

        assert item.duplicate(parent).rc == TPM_RC.SYMMETRIC.parameter(2)
        assert item.duplicate(NULL, INNER, KEY).rc == TPM_RC.HIERARCHY.handle(2)
        reply = item.duplicate(parent, INNER, KEY)
        for seed, key in ((b"", KEY), (reply.out_sym_seed, b"")):
            refused = item.imported(parent, reply.duplicate, seed, key).rc
            assert refused == TPM_RC.ATTRIBUTES.parameter(1 if seed else 4)
        imported = item.imported(parent, reply.duplicate, reply.out_sym_seed, KEY)
        assert item.is_loaded_by(parent, imported)

    def test_wrong_parents(self, tpm: Client) -> None:
        """The new parent is the asymmetric key of a Storage Parent with a Name."""
        item = made(tpm)
        nameless = replace(tpm.read_public(primary(tpm)).out_public, name_alg=TPM_ALG.NULL)
        loaded = tpm.load_external(in_private=None, in_public=nameless, hierarchy=NULL)

        for parent in (primary(tpm, SIGN_ECC), primary(tpm, STORAGE_AES), handle_of(loaded)):
            assert item.duplicate(parent).rc == TPM_RC.TYPE.handle(2)

    def test_fixed(self, tpm: Client) -> None:
        """An object with fixedParent goes with its parent only."""
        public = template(SEALED)
        parent = primary(tpm)
        public = replace(public, auth_policy=POLICY)
        item = Movable(tpm, handle_of(tpm.load(parent, **created(tpm, parent, public, data=b"x"))))

        assert item.duplicate(primary(tpm)).rc == TPM_RC.ATTRIBUTES.handle(1)

    def test_policy(self, tpm: Client) -> None:
        """The authValue does not allow it."""
        item = made(tpm)

        reply = tpm.duplicate(item.handle, NULL, auths=[b"pw"], encryption_key_in=b"", symmetric_alg=NO_INNER)

        assert reply.rc == TPM_RC.AUTH_TYPE

    def test_selected_parent(self, tpm: Client) -> None:
        """PolicyDuplicationSelect binds the object and its new parent; TPM_RC_POLICY_FAIL for another one."""
        chosen, other = primary(tpm), primary(tpm, hierarchy=TPM_RH.ENDORSEMENT)
        parent_name = tpm.read_public(chosen).name
        select = {"object_name": b"", "new_parent_name": parent_name, "include_object": False}
        trial = start_session(tpm, TPM_SE.TRIAL).handle
        tpm.policy_duplication_select(trial, **select).check()
        policy = tpm.policy_get_digest(trial).policy_digest
        public = replace(movable(), auth_policy=policy)
        item = handle_of(tpm.load(chosen, **created(tpm, chosen, public, data=b"secret")))
        given = {"encryption_key_in": b"", "symmetric_alg": NO_INNER}

        codes = []
        for new_parent in (other, chosen):
            session = start_session(tpm, TPM_SE.POLICY)
            name = tpm.read_public(item).name
            tpm.policy_duplication_select(session.handle, **select | {"object_name": name}).check()
            codes.append(tpm.duplicate(item, new_parent, sessions=[session], **given).rc)

        assert codes == [TPM_RC.POLICY_FAIL.session(1), TPM_RC.SUCCESS]

    @pytest.mark.parametrize(
        ("name_alg", "expected"), [(TPM_ALG.SHA512, TPM_RC.HASH), (TPM_ALG.SHA384, TPM_RC.VALUE)]
    )
    def test_small_parent(self, tpm: Client, name_alg: TPM_ALG, expected: int) -> None:
        """A modulus that is too small for OAEP with the hash of nameAlg, or for a seed of its size."""
        public = replace(tpm.read_public(primary(tpm, STORAGE_RSA)).out_public, name_alg=name_alg)
        parameters = replace(public.parameters, key_bits=1024)
        public = replace(public, parameters=parameters, unique=b"\xff" * 128)
        small = tpm.load_external(in_private=None, in_public=public, hierarchy=NULL).object_handle
        item = made(tpm)
        bare = item.duplicate(NULL).duplicate

        assert item.duplicate(small).rc == expected
        assert TestRewrap().rewrap(item, NULL, small, bare, b"").rc == expected
        assert tpm.make_credential(small, credential=b"x", object_name=b"name").rc == expected

    def test_no_name(self, tpm: Client) -> None:
        """13.3: an object without a nameAlg is not imported."""
        nameless = replace(movable(), name_alg=TPM_ALG.NULL, auth_policy=b"")

        reply = made(tpm).imported(primary(tpm), b"", b"", object_public=nameless)

        assert reply.rc == TPM_RC.HASH.parameter(2)


class TestRewrap:
    """13.2 Rewrap"""

    def rewrap(self, item: Movable, old: int, new: int, duplicate: bytes, seed: bytes) -> Reply:
        """Rewrap a duplicate of the object."""
        name = item.tpm.read_public(item.handle).name
        return item.tpm.rewrap(old, new, in_duplicate=duplicate, name=name, in_sym_seed=seed)

    @pytest.mark.parametrize("key", [b"", KEY])
    def test_round(self, tpm: Client, key: bytes) -> None:
        """From parent to parent, and from and to none; the inner wrapper stays."""
        item = made(tpm)
        old, new = primary(tpm, STORAGE_RSA), primary(tpm, hierarchy=TPM_RH.ENDORSEMENT)
        first = item.duplicate(old, INNER if key else NO_INNER, key)

        second = self.rewrap(item, old, new, first.duplicate, first.out_sym_seed)
        bare = self.rewrap(item, new, NULL, second.out_duplicate, second.out_sym_seed)
        third = self.rewrap(item, NULL, old, bare.out_duplicate, b"")

        for parent, duplicate, seed in (
            (new, second.out_duplicate, second.out_sym_seed),
            (new, bare.out_duplicate, b""),
            (old, third.out_duplicate, third.out_sym_seed),
        ):
            assert item.is_loaded_by(parent, item.imported(parent, duplicate, seed, key))
            tpm.flush_context(flush_handle=max(tpm.tpm.volatile.objects))
        assert bare.out_sym_seed == b""

    def test_faults(self, tpm: Client) -> None:
        """A seed for another key, a changed blob, a seed without a parent, and parents of the wrong type."""
        item = made(tpm)
        old, other = primary(tpm), primary(tpm, hierarchy=TPM_RH.ENDORSEMENT)
        first = item.duplicate(old)
        blob, seed = first.duplicate, first.out_sym_seed

        assert self.rewrap(item, old, NULL, blob, seed[:-1]).rc == TPM_RC.VALUE.parameter(3)
        assert self.rewrap(item, other, NULL, blob, seed).rc == TPM_RC.INTEGRITY.parameter(1)
        assert self.rewrap(item, old, NULL, flipped(blob, -1), seed).rc == TPM_RC.INTEGRITY.parameter(1)
        assert self.rewrap(item, NULL, old, blob, seed).rc == TPM_RC.HANDLE.handle(1)
        assert self.rewrap(item, old, other, blob, b"").rc == TPM_RC.HANDLE.handle(1)
        assert self.rewrap(item, primary(tpm, STORAGE_AES), NULL, blob, seed).rc == TPM_RC.TYPE.handle(1)
        assert self.rewrap(item, old, primary(tpm, SIGN_ECC), blob, seed).rc == TPM_RC.TYPE.handle(2)

    def test_large(self, tpm: Client) -> None:
        """What would not fit into a private area is refused."""
        item, old = made(tpm), primary(tpm)
        fits = codec_of(TPM2B_PRIVATE).most() - 2 - (2 + 32)

        assert self.rewrap(item, NULL, old, bytes(fits), b"").rc == TPM_RC.SUCCESS
        assert self.rewrap(item, NULL, old, bytes(fits + 1), b"").rc == TPM_RC.VALUE.parameter(1)


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

    def test_tampered(self, tpm: Client) -> None:
        """Both wrappers are protected, and so is the public area."""
        item, parent = made(tpm), primary(tpm)
        reply = item.duplicate(parent, INNER, KEY)
        blob, seed = reply.duplicate, reply.out_sym_seed
        other = replace(item.public, auth_policy=b"")
        integrity = TPM_RC.INTEGRITY.parameter(3)

        assert item.imported(parent, flipped(blob, -1), seed, KEY).rc == integrity
        assert item.imported(parent, blob, seed, KEY, object_public=other).rc == integrity
        assert item.imported(parent, blob, seed, flipped(KEY, 0)).rc in (integrity, TPM_RC.SIZE.parameter(3))
        assert item.imported(parent, blob, seed[:-1], KEY).rc == TPM_RC.INSUFFICIENT.parameter(4)

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({"encryption_key": KEY[1:], "symmetric_alg": INNER}, TPM_RC.SIZE.parameter(1)),
            ({"encryption_key": b"", "symmetric_alg": INNER}, TPM_RC.SIZE.parameter(1)),
            ({"encryption_key": KEY}, TPM_RC.SIZE.parameter(1)),
            ({"object_public": template(SEALED)}, TPM_RC.ATTRIBUTES.parameter(2)),
            ({"object_public": movable(SIGN_ECC)}, TPM_RC.TYPE.parameter(3)),
            ({"object_public": movable()}, TPM_RC.BINDING),
            ({"object_public": movable(restricted=True)}, TPM_RC.ATTRIBUTES.parameter(2)),
            ({"duplicate": b""}, TPM_RC.INSUFFICIENT.parameter(3)),
            ({"duplicate": b"\0\4\0\x08\0\0"}, TPM_RC.INSUFFICIENT.parameter(3)),
        ],
    )
    def test_faults(self, tpm: Client, changes: dict[str, Any], expected: int) -> None:
        """Without wrappers, the areas must belong together and make sense."""
        item, parent = made(tpm), primary(tpm)
        given = {"duplicate": item.duplicate(NULL).duplicate} | changes

        assert expected == item.imported(parent, given.pop("duplicate"), b"", **given).rc

    def test_parents(self, tpm: Client) -> None:
        """A parent that is none, and a seed for a symmetric parent."""
        item, parent = made(tpm), primary(tpm)
        reply = item.duplicate(parent)

        refused = [
            item.imported(other, reply.duplicate, reply.out_sym_seed).rc
            for other in (primary(tpm, SIGN_ECC), primary(tpm, STORAGE_AES))
        ]

        assert refused == [TPM_RC.TYPE.handle(1)] * 2
