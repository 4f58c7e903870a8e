"""Part 3, clause 12: object commands."""

from dataclasses import replace
from typing import Any

import pytest

from tests.commands.test_hierarchy import with_recorded_seeds
from tests.crypto.published import content, label, vectors
from tests.keys import put_ecc
from tests.objects import (
    SEALED,
    SIGN_ECC,
    SIGN_RSA,
    STORAGE_ECC,
    STORAGE_RSA,
    created,
    creation,
    handle_of,
    primary,
    sensitive_of,
    template,
)
from tests.scenarios import Client, seeded
from tests.sessions import start_session
from vtpm.commands.protection import sealed_outer
from vtpm.commands.secret import shared_secret
from vtpm.spec.algorithms import TPMS_ECC_POINT, TPMS_SENSITIVE_CREATE
from vtpm.spec.constants import TPM_ALG, TPM_RH, TPM_SE
from vtpm.spec.objects import TPMT_SENSITIVE
from vtpm.state.object import Object
from vtpm.wire.error import TPM_RC
from vtpm.wire.structure import marshal, unmarshal

BLOBS = vectors("crypto/protected-blobs")
TEMPLATES = {v["name"]: v["template_TPMT_PUBLIC"] for v in vectors("crypto/primary-derivation")}
DERIVED = content("crypto/derived-objects")


def of_kind(kind: str) -> list[dict[str, Any]]:
    """The recorded blobs of a kind."""
    return [vector for vector in BLOBS if vector["kind"] == kind]


def derivation(vector: dict[str, Any]) -> bytes:
    """A template whose unique is a label and a context."""
    parts = [bytes.fromhex(vector[name]) for name in ("label", "context")]
    unique = b"".join(len(part).to_bytes(2, "big") + part for part in parts)
    return bytes.fromhex(vector["template_without_unique"]) + unique


def flipped(octets: bytes, at: int) -> bytes:
    """With one bit changed."""
    place = at % len(octets)
    return octets[:place] + bytes([octets[place] ^ 1]) + octets[place + 1 :]


class TestCreateAndLoad:
    """12.1 Create and 12.2 Load"""

    @pytest.mark.parametrize("parent", [STORAGE_ECC, pytest.param(STORAGE_RSA, marks=pytest.mark.slow)])
    @pytest.mark.parametrize("public", [SIGN_ECC, SEALED, STORAGE_ECC])
    def test_round(self, tpm: Client, parent: str, public: str) -> None:
        """What Create gives, Load takes; the Qualified Name tells the ancestors."""
        above = primary(tpm, parent)
        blob = created(tpm, above, public, data=b"secret" if public is SEALED else b"")

        first, second = (tpm.load(above, **blob) for _ in range(2))

        assert first.name == second.name == tpm.read_public(handle_of(first)).name
        shown = tpm.read_public(handle_of(second))
        assert shown.out_public == blob["in_public"]
        assert shown.qualified_name not in (shown.name, tpm.read_public(above).qualified_name)

    @pytest.mark.slow
    def test_rsa(self, tpm: Client) -> None:
        """An RSA key, too."""
        parent = primary(tpm)

        assert tpm.load(parent, **created(tpm, parent, SIGN_RSA)).rc == TPM_RC.SUCCESS

    def test_fresh(self, tpm: Client) -> None:
        """Each key is another one."""
        parent = primary(tpm)

        assert created(tpm, parent, SIGN_ECC)["in_public"] != created(tpm, parent, SIGN_ECC)["in_public"]

    @pytest.mark.parametrize("unique", [TPMS_ECC_POINT(b"x", b""), TPMS_ECC_POINT(bytes(66), bytes(66))])
    def test_unique(self, tpm: Client, unique: TPMS_ECC_POINT) -> None:
        """The unique of a template need not fit its parameters, and means nothing."""
        public = replace(template(SIGN_ECC), unique=unique)

        made = tpm.create(primary(tpm), **creation(public))

        assert made.rc == TPM_RC.SUCCESS
        assert len(made.out_public.unique.x) == len(made.out_public.unique.y) == 32

    def test_public_parent(self, tpm: Client) -> None:
        """The public area of a parent is not enough."""
        public = tpm.read_public(primary(tpm)).out_public
        parent = tpm.load_external(in_private=None, in_public=public, hierarchy=TPM_RH.OWNER).object_handle

        assert tpm.create(parent, **creation(SIGN_ECC)).rc == TPM_RC.AUTH_UNAVAILABLE

    def test_wrong_parent(self, tpm: Client) -> None:
        """Another storage key does not load it; a key that is none says so."""
        parent, other = primary(tpm), primary(tpm, hierarchy=TPM_RH.ENDORSEMENT)
        blob = created(tpm, parent, SIGN_ECC)
        signer = primary(tpm, SIGN_ECC)

        assert tpm.load(other, **blob).rc == TPM_RC.INTEGRITY.parameter(1)
        assert tpm.load(signer, **blob).rc == TPM_RC.TYPE.handle(1)
        assert tpm.create(signer, **creation(SIGN_ECC)).rc == TPM_RC.TYPE.handle(1)

    @pytest.mark.parametrize("at", [2, 20, 34, 36, 40, 60, -1])
    def test_tampered_private(self, tpm: Client, at: int) -> None:
        """Every part of a private area is protected, but its first size, which must be right."""
        parent = primary(tpm)
        blob = created(tpm, parent, SEALED, data=b"secret")

        changed = blob | {"in_private": flipped(blob["in_private"], at)}

        assert tpm.load(parent, **changed).rc in (TPM_RC.INTEGRITY.parameter(1), TPM_RC.SIZE.parameter(1))
        assert tpm.load(parent, **blob).rc == TPM_RC.SUCCESS

    def test_tampered_public(self, tpm: Client) -> None:
        """A private area is bound to its public area."""
        parent = primary(tpm)
        blob = created(tpm, parent, SIGN_ECC)
        attributes = blob["in_public"].object_attributes
        public = replace(blob["in_public"], object_attributes=attributes.but(noDA=True))

        assert tpm.load(parent, **blob | {"in_public": public}).rc == TPM_RC.INTEGRITY.parameter(1)

    @pytest.mark.parametrize("size", [0, 1, 2, 34, 50])
    def test_short_private(self, tpm: Client, size: int) -> None:
        """A private area that is cut off is refused."""
        parent = primary(tpm)
        blob = created(tpm, parent, SEALED, data=b"secret")

        reply = tpm.load(parent, **blob | {"in_private": blob["in_private"][:size]})

        assert reply.rc & 0xFFF in {
            code.parameter(1) for code in (TPM_RC.SIZE, TPM_RC.INSUFFICIENT, TPM_RC.INTEGRITY)
        }

    def test_secret_is_hidden(self, tpm: Client) -> None:
        """The private area does not show what it protects."""
        assert b"secret" not in created(tpm, primary(tpm), SEALED, data=b"secret")["in_private"]

    @pytest.mark.parametrize("vector", of_kind("private_blob"), ids=label)
    def test_recorded(self, tpm: Client, vector: dict[str, Any]) -> None:
        """Storage keys of swtpm's seeds load what an independent program protected."""
        with_recorded_seeds(tpm)
        parent = primary(tpm, TEMPLATES[vector["name"].removeprefix("Load HMAC key under ")])
        public = template(vector["in_public"])

        reply = tpm.load(parent, in_private=bytes.fromhex(vector["in_private"]), in_public=public)

        assert reply.name.hex() == vector["object_name"]
        sensitive = sensitive_of(tpm, handle_of(reply))
        assert sensitive == unmarshal(TPMT_SENSITIVE, bytes.fromhex(vector["sensitive_area"])[2:])


class TestLoadExternal:
    """12.3"""

    def test_public(self, tpm: Client) -> None:
        """A public area alone, in any hierarchy; nothing can be done with its private part."""
        public = created(tpm, primary(tpm), SIGN_ECC)["in_public"]

        reply = tpm.load_external(in_private=None, in_public=public, hierarchy=TPM_RH.OWNER)

        item = handle_of(reply)
        shown = tpm.read_public(item)
        assert shown.out_public == public
        assert shown.name == shown.qualified_name == reply.name
        assert tpm.object_change_auth(item, item, new_auth=b"").rc == TPM_RC.AUTH_UNAVAILABLE

    def test_flushed_with_its_hierarchy(self, tpm: Client) -> None:
        """It is flushed when its hierarchy is disabled; that of the null hierarchy stays."""
        public = created(tpm, primary(tpm), SIGN_ECC)["in_public"]
        items = [
            tpm.load_external(in_private=None, in_public=public, hierarchy=hierarchy).object_handle
            for hierarchy in (TPM_RH.OWNER, TPM_RH.NULL)
        ]

        tpm.hierarchy_control(TPM_RH.PLATFORM, enable=TPM_RH.OWNER, state=False).check()

        assert [tpm.read_public(item).rc for item in items] == [TPM_RC.REFERENCE_H0, TPM_RC.SUCCESS]

    def test_private(self, tpm: Client) -> None:
        """Both areas, in the null hierarchy only, and only if they belong together."""
        item = tpm.tpm.volatile.objects[put_ecc(tpm)]
        assert isinstance(item, Object)
        assert item.sensitive is not None
        given = {"in_private": item.sensitive, "in_public": item.public}
        other = replace(item.sensitive, sensitive=flipped(item.sensitive.sensitive, 5))

        assert tpm.load_external(**given, hierarchy=TPM_RH.NULL).name == item.name
        assert tpm.load_external(**given, hierarchy=TPM_RH.OWNER).rc == TPM_RC.HIERARCHY.parameter(3)
        wrong = tpm.load_external(**given | {"in_private": other}, hierarchy=TPM_RH.NULL)
        assert wrong.rc == TPM_RC.BINDING

    def test_fixed(self, tpm: Client) -> None:
        """A private area from outside cannot be fixed to this TPM."""
        item = tpm.tpm.volatile.objects[put_ecc(tpm, "sign fixedTPM fixedParent")]
        assert isinstance(item, Object)
        assert item.sensitive is not None

        reply = tpm.load_external(in_private=item.sensitive, in_public=item.public, hierarchy=TPM_RH.NULL)

        assert reply.rc == TPM_RC.ATTRIBUTES.parameter(2)


class TestCredential:
    """12.5 ActivateCredential and 12.6 MakeCredential"""

    def test_round(self, tpm: Client) -> None:
        """Only the TPM that has the key and the object sees the credential."""
        key, item, other = primary(tpm), primary(tpm, SIGN_ECC), primary(tpm, SEALED, data=b"x")
        name = tpm.read_public(item).name

        made = tpm.make_credential(key, credential=b"credential", object_name=name)

        given = {"credential_blob": made.credential_blob, "secret": made.secret}
        assert tpm.activate_credential(item, key, **given).cert_info == b"credential"
        assert tpm.activate_credential(other, key, **given).rc == TPM_RC.INTEGRITY.parameter(1)
        changed = given | {"credential_blob": flipped(made.credential_blob, -1)}
        assert tpm.activate_credential(item, key, **changed).rc == TPM_RC.INTEGRITY.parameter(1)
        assert tpm.activate_credential(item, item, **given).rc == TPM_RC.TYPE.handle(2)

    def test_size(self, tpm: Client) -> None:
        """A credential is not longer than a digest of the key's nameAlg."""
        reply = tpm.make_credential(primary(tpm), credential=bytes(33), object_name=bytes(34))

        assert reply.rc == TPM_RC.SIZE.parameter(1)

    @pytest.mark.parametrize(
        ("inside", "expected"),
        [
            (b"\0\1x", TPM_RC.SUCCESS),
            (b"\0", TPM_RC.INSUFFICIENT.parameter(1)),
            (b"\0\2x", TPM_RC.INSUFFICIENT.parameter(1)),
            (b"\0\1xx", TPM_RC.SIZE.parameter(1)),
            (b"\0\x41" + bytes(65), TPM_RC.SIZE.parameter(1)),
        ],
    )
    def test_inside(self, tpm: Client, inside: bytes, expected: int) -> None:
        """What somebody else has sealed for the key and the object must be a digest to its last octet."""
        key, item = primary(tpm), primary(tpm, SIGN_ECC)
        public, name = tpm.read_public(key).out_public, tpm.read_public(item).name
        seed, secret = shared_secret(public, b"IDENTITY", seeded(b"a CA"))
        parent = tpm.tpm.volatile.objects[key]
        assert isinstance(parent, Object)

        blob = sealed_outer(parent, name, seed, inside)

        assert tpm.activate_credential(item, key, credential_blob=blob, secret=secret).rc == expected

    def test_public_part(self, tpm: Client) -> None:
        """Both sensitive areas must be loaded; TPM_RC_AUTH_UNAVAILABLE."""
        key, item = primary(tpm), primary(tpm, SIGN_ECC)
        name = tpm.read_public(item).name
        made = tpm.make_credential(key, credential=b"credential", object_name=name)
        given = {"credential_blob": made.credential_blob, "secret": made.secret}
        seen = [
            tpm.load_external(
                in_private=None, in_public=tpm.read_public(handle).out_public, hierarchy=TPM_RH.OWNER
            ).object_handle
            for handle in (item, key)
        ]

        for handles in ((seen[0], key), (item, seen[1])):
            assert tpm.activate_credential(*handles, **given).rc == TPM_RC.AUTH_UNAVAILABLE

    def test_key(self, tpm: Client) -> None:
        """The key must be a storage key with a Name; its public area is enough to make a credential."""
        public = tpm.read_public(primary(tpm)).out_public
        for name_alg, expected in ((TPM_ALG.SHA256, TPM_RC.SUCCESS), (TPM_ALG.NULL, TPM_RC.TYPE.handle(1))):
            area = replace(public, name_alg=name_alg)
            key = tpm.load_external(in_private=None, in_public=area, hierarchy=TPM_RH.NULL).object_handle
            assert expected == tpm.make_credential(key, credential=b"x", object_name=bytes(34)).rc

        signer = primary(tpm, SIGN_ECC)
        refused = tpm.make_credential(signer, credential=b"x", object_name=bytes(34)).rc
        assert refused == TPM_RC.TYPE.handle(1)

    @pytest.mark.slow
    @pytest.mark.parametrize("vector", of_kind("credential"), ids=label)
    def test_recorded(self, tpm: Client, vector: dict[str, Any]) -> None:
        """Endorsement keys of swtpm's seeds open what an independent program made for an object."""
        with_recorded_seeds(tpm)
        item = primary(tpm, TEMPLATES["HMAC key"])
        key = primary(tpm, vector["ek_template"], TPM_RH.ENDORSEMENT)
        assert tpm.read_public(item).name.hex() == vector["object_name"]
        session = start_session(tpm, TPM_SE.POLICY)
        secret = tpm.policy_secret(
            TPM_RH.ENDORSEMENT,
            session.handle,
            nonce_tpm=b"",
            cp_hash_a=b"",
            policy_ref=b"",
            expiration=0,
        )
        assert secret.rc == TPM_RC.SUCCESS

        reply = tpm.activate_credential(
            item,
            key,
            sessions=[start_session(tpm), session],
            credential_blob=bytes.fromhex(vector["credentialBlob"]),
            secret=bytes.fromhex(vector["secret"]),
        )

        assert reply.cert_info.hex() == vector["credential"]


class TestUnseal:
    """12.7"""

    def test_auth(self, tpm: Client) -> None:
        """Sealed data come out unchanged, with the right authValue."""
        parent = primary(tpm)
        item = handle_of(tpm.load(parent, **created(tpm, parent, SEALED, data=bytes(128), auth=b"pw")))

        assert tpm.unseal(item, auths=[b"pw"]).out_data == bytes(128)
        assert tpm.unseal(item, auths=[b"no"]).rc == TPM_RC.AUTH_FAIL.session(1)

    def test_keys(self, tpm: Client) -> None:
        """A key is not unsealed."""
        assert tpm.unseal(primary(tpm)).rc == TPM_RC.TYPE.handle(1)
        assert tpm.unseal(primary(tpm, TEMPLATES["HMAC key"])).rc == TPM_RC.ATTRIBUTES.handle(1)

    def test_size(self, tpm: Client) -> None:
        """At most 128 octets are sealed, at least one."""
        parent = primary(tpm)

        assert tpm.create(parent, **creation(SEALED)).rc == TPM_RC.ATTRIBUTES.parameter(2)
        assert tpm.create(parent, **creation(SEALED, data=bytes(129))).rc == TPM_RC.SIZE.parameter(1)


class TestObjectChangeAuth:
    """12.8"""

    def test_change(self, tpm: Client) -> None:
        """The loaded object keeps its authValue; the new private area has the new one."""
        parent = primary(tpm)
        blob = created(tpm, parent, SEALED, data=b"secret", auth=b"old")
        item = handle_of(tpm.load(parent, **blob))

        reply = tpm.object_change_auth(item, parent, auths=[b"old"], new_auth=b"new\0")

        other = handle_of(tpm.load(parent, **blob | {"in_private": reply.out_private}))
        assert tpm.unseal(item, auths=[b"old"]).out_data == b"secret"
        assert tpm.unseal(other, auths=[b"new"]).out_data == b"secret"
        assert tpm.read_public(other).octets == tpm.read_public(item).octets

    def test_errors(self, tpm: Client) -> None:
        """The parent must be the object's, and the authValue not too long."""
        parent, stranger = primary(tpm), primary(tpm, hierarchy=TPM_RH.ENDORSEMENT)
        item = handle_of(tpm.load(parent, **created(tpm, parent, SIGN_ECC)))

        assert tpm.object_change_auth(item, stranger, new_auth=b"").rc == TPM_RC.TYPE.handle(2)
        assert tpm.object_change_auth(item, parent, new_auth=bytes(31) + b"xx").rc == TPM_RC.SIZE.parameter(1)

    def test_primary(self, tpm: Client) -> None:
        """A primary object has no parent but its hierarchy."""
        first, second = primary(tpm), primary(tpm, SIGN_ECC)

        for item, parent in ((first, first), (second, first)):
            assert tpm.object_change_auth(item, parent, new_auth=b"x").rc == TPM_RC.TYPE.handle(2)

    def test_sequence(self, tpm: Client) -> None:
        """A sequence has no private area."""
        sequence = tpm.hash_sequence_start(auth=b"", hash_alg=TPM_ALG.SHA256).sequence_handle

        assert tpm.object_change_auth(sequence, primary(tpm), new_auth=b"").rc == TPM_RC.TYPE.handle(1)

    def test_without_parent(self, tpm: Client) -> None:
        """A derived object has no private area, and an object without a Name no parent."""
        parent = primary(tpm, DERIVED["parent_template"])
        derived = tpm.create_loaded(
            parent, in_sensitive=TPMS_SENSITIVE_CREATE(b"", b""), in_public=derivation(DERIVED["vectors"][0])
        )
        key = put_ecc(tpm)
        public = replace(tpm.read_public(key).out_public, name_alg=TPM_ALG.NULL)
        nameless = tpm.load_external(
            in_private=sensitive_of(tpm, key), in_public=public, hierarchy=TPM_RH.NULL
        )

        for item in (handle_of(derived), handle_of(nameless)):
            assert tpm.object_change_auth(item, parent, new_auth=b"").rc == TPM_RC.TYPE.handle(2)
            assert tpm.object_change_auth(item, primary(tpm), new_auth=b"").rc == TPM_RC.TYPE.handle(2)


class TestCreateLoaded:
    """12.9"""

    def test_ordinary(self, tpm: Client) -> None:
        """Under a storage key it is Create and Load in one."""
        parent = primary(tpm)
        sensitive = TPMS_SENSITIVE_CREATE(user_auth=b"", data=b"secret")

        reply = tpm.create_loaded(parent, in_sensitive=sensitive, in_public=bytes.fromhex(SEALED))

        assert tpm.unseal(handle_of(reply)).out_data == b"secret"
        again = tpm.load(parent, in_private=reply.out_private, in_public=reply.out_public)
        assert again.name == reply.name

    def test_primary(self, tpm: Client) -> None:
        """Under a hierarchy it is CreatePrimary."""
        sensitive = TPMS_SENSITIVE_CREATE(user_auth=b"", data=b"")
        octets = marshal(template(STORAGE_ECC))

        reply = tpm.create_loaded(TPM_RH.OWNER, in_sensitive=sensitive, in_public=octets)

        assert reply.out_private == b""
        assert reply.name == tpm.read_public(primary(tpm)).name

    @pytest.mark.parametrize("vector", DERIVED["vectors"], ids=label)
    def test_derived(self, tpm: Client, vector: dict[str, Any]) -> None:
        """A derivation parent of swtpm's seeds gives swtpm's objects."""
        with_recorded_seeds(tpm)
        parent = primary(tpm, DERIVED["parent_template"], int(DERIVED["parent_hierarchy"], 16))
        sensitive = TPMS_SENSITIVE_CREATE(user_auth=b"", data=bytes.fromhex(vector["sensitive_data"]))

        reply = tpm.create_loaded(parent, in_sensitive=sensitive, in_public=derivation(vector))

        assert marshal(reply.out_public).hex() == vector["out_public"]
        assert reply.out_private == b""
        private = vector["private"].get("d") or vector["private"]["sensitive"]
        assert sensitive_of(tpm, handle_of(reply)).sensitive.hex() == private

    @pytest.mark.parametrize(
        ("public", "data", "expected"),
        [
            # an RSA key
            ("0001000b00040052 0000 0010 0014000b 0400 00000000 0000 0000", b"", TPM_RC.TYPE.parameter(2)),
            # sensitiveDataOrigin
            ("0008000b00040072 0000 0005000b 0000 0000", b"", TPM_RC.ATTRIBUTES),
            # neither fixedTPM nor fixedParent, as the parent is
            ("0008000b00040040 0000 0005000b 0000 0000", b"", TPM_RC.ATTRIBUTES.parameter(2)),
            # no nameAlg
            ("0008001000040052 0000 0005000b 0000 0000", b"", TPM_RC.HASH.parameter(2)),
            # octets behind the context, and none where it should be
            ("0008000b00040052 0000 0005000b 0000 0000 00", b"", TPM_RC.SIZE.parameter(2)),
            ("0008000b00040052 0000 0005000b 0000", b"", TPM_RC.INSUFFICIENT.parameter(2)),
            # a label that is too long
            ("0008000b00040052 0000 0005000b 0021" + 33 * "41" + "0000", b"", TPM_RC.SIZE.parameter(2)),
            # data that are no label and context
            ("0008000b00040052 0000 0005000b 0000 0000", b"\0\5", TPM_RC.INSUFFICIENT),
        ],
    )
    def test_not_derived(self, tpm: Client, public: str, data: bytes, expected: int) -> None:
        """What cannot be derived."""
        parent = primary(tpm, DERIVED["parent_template"])
        sensitive = TPMS_SENSITIVE_CREATE(user_auth=b"", data=data)

        reply = tpm.create_loaded(parent, in_sensitive=sensitive, in_public=bytes.fromhex(public))

        assert expected == reply.rc

    def test_no_parent(self, tpm: Client) -> None:
        """A key that is no parent, and an authValue that is too long."""
        given = {"in_sensitive": TPMS_SENSITIVE_CREATE(b"", b"x"), "in_public": bytes.fromhex(SEALED)}
        assert tpm.create_loaded(primary(tpm, SIGN_ECC), **given).rc == TPM_RC.TYPE.handle(1)

        given["in_sensitive"] = TPMS_SENSITIVE_CREATE(b"a" * 33, b"x")
        for parent in (primary(tpm), TPM_RH.OWNER):
            assert tpm.create_loaded(parent, **given).rc == TPM_RC.SIZE.parameter(1)
        given["in_public"] = derivation(DERIVED["vectors"][0])
        derives = primary(tpm, DERIVED["parent_template"])
        assert tpm.create_loaded(derives, **given).rc == TPM_RC.SIZE.parameter(1)

    def test_longer_template(self, tpm: Client) -> None:
        """A template is read to its last octet."""
        sensitive = TPMS_SENSITIVE_CREATE(user_auth=b"", data=b"x")

        reply = tpm.create_loaded(
            TPM_RH.OWNER, in_sensitive=sensitive, in_public=bytes.fromhex(SEALED) + b"\0"
        )

        assert reply.rc == TPM_RC.SIZE.parameter(2)
