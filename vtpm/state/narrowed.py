"""Part 2's types as a TPM of one profile has them: without the values it does not implement."""

from collections.abc import Callable
from copy import copy
from functools import cache
from typing import Any

from vtpm.spec.algorithms import TPM2B_PUBLIC_KEY_RSA
from vtpm.spec.attributes import TPMA_OBJECT
from vtpm.spec.constants import TPM_ALG, TPM_ECC_CURVE, TPM_RH
from vtpm.spec.handles import (
    ACT,
    EXTERNAL_NV,
    FIRMWARE_LIMITED,
    HMAC_SESSION,
    PERMANENT_NV,
    POLICY_SESSION,
    SVN_LIMITED,
    TRANSIENT,
)
from vtpm.spec.interface import (
    TPMI_AES_KEY_BITS,
    TPMI_CAMELLIA_KEY_BITS,
    TPMI_RSA_KEY_BITS,
    TPMI_TDES_KEY_BITS,
)
from vtpm.spec.nv import DATA_SIZE
from vtpm.state.profile import Profile
from vtpm.wire.codec import Codec
from vtpm.wire.flags import Word
from vtpm.wire.structure import Record
from vtpm.wire.vocabulary import Choice, Handle, Limited, ListOf, Selected, Sized, Tpm2b, codec_of

Values = tuple[int | range, ...]

LIMITED: dict[Codec, Callable[[Profile], Values]] = {
    codec_of(TPMI_RSA_KEY_BITS): lambda profile: profile.rsa_key_bits,
    codec_of(TPMI_AES_KEY_BITS): lambda profile: profile.aes_key_bits,
    codec_of(TPMI_CAMELLIA_KEY_BITS): lambda profile: profile.camellia_key_bits,
    codec_of(TPMI_TDES_KEY_BITS): lambda profile: profile.tdes_key_bits,
    codec_of(DATA_SIZE): lambda profile: (range(profile.nv_index_max + 1),),
}
"""The types of numbers whose values a profile chooses."""


class Narrowing:
    """
    The types of one profile.

    Whatever is left out of a type is refused by the code that the type has for it (Part 2, 6.6.3),
    at the place where it is read: as if it had never been implemented.
    """

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._made: dict[int, tuple[Codec, Codec]] = {}

    def of(self, kind: Any) -> Codec:
        """A type without what the profile lacks; the type itself if it lacks nothing of it."""
        codec = codec_of(kind)
        known = self._made.get(id(codec))
        if known is None:
            # The original is kept so that its id stays its own.
            known = self._made[id(codec)] = codec, self._make(codec)
        return known[1]

    def _make(self, codec: Codec) -> Codec:
        if codec in LIMITED:
            return _limited(codec, LIMITED[codec](self._profile))
        if codec is codec_of(TPM2B_PUBLIC_KEY_RSA):
            return _sized(codec, max(self._profile.rsa_key_bits, default=0) // 8)
        if isinstance(codec, Choice):
            return self._choice(codec)
        if isinstance(codec, Handle):
            return self._handle(codec)
        if isinstance(codec, Word):
            return self._word(codec)
        return self._composed(codec)

    def _composed(self, codec: Codec) -> Codec:
        """A type of other types."""
        if isinstance(codec, Record):
            fields = {name: self.of(field) for name, field in codec.fields.items()}
            return codec if fields == codec.fields else codec.with_fields(fields)
        if isinstance(codec, Selected):
            arms = {key: arm and self.of(arm) for key, arm in codec.arms.items()}
            return codec if arms == codec.arms else Selected(codec.by, arms, empty=codec.empty)
        if isinstance(codec, Sized):
            inner = self.of(codec.inner)
            return codec if inner is codec.inner else Sized(inner, optional=codec.optional)
        if isinstance(codec, ListOf):
            element = self.of(codec.element)
            return (
                codec if element is codec.element else ListOf(element, codec.maximum, minimum=codec.minimum)
            )
        return codec

    def _choice(self, choice: Choice) -> Choice:
        if choice.kind is TPM_ALG:
            there: set[int] = {TPM_ALG.NULL, *self._profile.algorithms}
        elif choice.kind is TPM_ECC_CURVE:
            there = {TPM_ECC_CURVE.NONE, *self._profile.curves}
        else:
            return choice
        if there.issuperset(choice.members):
            return choice
        narrow = copy(choice)
        narrow.members = {value: member for value, member in choice.members.items() if value in there}
        return narrow

    def _word(self, word: Word) -> Word:
        """Attributes of limited hierarchies are reserved where there are none."""
        if word.kind is not TPMA_OBJECT or self._profile.has_limited_hierarchies:
            return word
        narrow = copy(word)
        narrow.reserved |= TPMA_OBJECT(firmwareLimited=True, svnLimited=True)
        return narrow

    def _handle(self, handle: Handle) -> Handle:
        profile = self._profile
        counts = {
            TRANSIENT: profile.transient_slots,
            HMAC_SESSION: profile.active_sessions,
            POLICY_SESSION: profile.active_sessions,
        }
        absent: set[int | range] = set() if profile.has_timer else {ACT, TPM_RH.ACT_0}
        if not profile.has_limited_hierarchies:
            absent |= {*FIRMWARE_LIMITED, *SVN_LIMITED, EXTERNAL_NV, PERMANENT_NV}
        values = tuple(value for value in handle.values if value not in absent)
        ranges = tuple(part[: counts.get(part, len(part))] for part in handle.ranges if part not in absent)
        if len(values) == len(handle.values) and ranges == handle.ranges:
            return handle
        return Handle(*values, *ranges, otherwise=handle.otherwise)


def _limited(codec: Codec, allowed: Values) -> Codec:
    assert isinstance(codec, Limited)
    narrow = Limited(codec.form, *allowed, otherwise=codec.otherwise)
    is_whole = (narrow.values, narrow.ranges) == (codec.values, codec.ranges)
    return codec if is_whole else narrow


def _sized(codec: Codec, most: int) -> Codec:
    assert isinstance(codec, Tpm2b)
    return codec if codec.maximum == most else Tpm2b(most)


@cache
def narrowing_of(profile: Profile) -> Narrowing:
    """The types of a profile; TPMs of the same profile share them."""
    return Narrowing(profile)
