"""Midstates by OpenSSL and by Python: the same octets, and never more kept than they need."""

import ctypes
import hmac
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtpm.crypto import folding, running
from vtpm.crypto.digest import NAMES, digest
from vtpm.crypto.folding import (
    LIBRARY,
    OpenSsl,
    UnusableLibraryError,
    agrees,
    candidates,
    fast_fold,
    fold_in_python,
)
from vtpm.crypto.midstate import FAMILIES
from vtpm.crypto.running import KEPT, RunningDigest, RunningHmac
from vtpm.spec.constants import TPM_ALG

ALGS = [pytest.param(alg, id=alg.name) for alg in FAMILIES]
WITH_OPENSSL = pytest.mark.skipif(
    LIBRARY is None, reason="there is no libcrypto of OpenSSL 1.1 or 3 that a program can load"
)
MESSAGES = st.lists(st.binary(max_size=500), max_size=6)


def in_python(alg: TPM_ALG) -> None:
    """What `fast_fold` finds where there is no OpenSSL."""


@pytest.fixture(
    params=[pytest.param(True, marks=WITH_OPENSSL, id="OpenSSL"), pytest.param(False, id="Python")]
)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Does OpenSSL fold?"""
    if not request.param:
        monkeypatch.setattr(running, "fast_fold", in_python)
    return bool(request.param)


def fresh(alg: TPM_ALG, *, slow: bool) -> RunningDigest:
    """A running digest that is folded by Python alone, or as it can be had."""
    with pytest.MonkeyPatch.context() as patch:
        if slow:
            patch.setattr(running, "fast_fold", in_python)
        return RunningDigest(alg)


def loaded(alg: TPM_ALG, saved: bytes, *, slow: bool) -> RunningDigest:
    """One that goes on from a saved state."""
    with pytest.MonkeyPatch.context() as patch:
        if slow:
            patch.setattr(running, "fast_fold", in_python)
        return RunningDigest.load(alg, saved)


@WITH_OPENSSL
class TestOpenSsl:
    """EVP_MD_meth_new(3): a digest whose memory is the program's"""

    @pytest.mark.parametrize("alg", ALGS)
    def test_every_library(self, alg: TPM_ALG) -> None:
        """Each library that is usable folds each of its algorithms as Python does."""
        count = 0
        for library in candidates():
            try:
                fold = OpenSsl(library).fold(alg)
            except UnusableLibraryError:
                continue
            assert agrees(alg, fold)
            count += 1
        # A build of OpenSSL may be without SM3, and then hashlib has no digest for it either.
        assert count > 0 or alg is TPM_ALG.SM3_256

    def test_threads(self) -> None:
        """Threads that fold at the same time do not disturb each other."""
        messages = [bytes([number]) * 5000 for number in range(32)]

        def hashed(message: bytes) -> bytes:
            one = RunningDigest(TPM_ALG.SHA256)
            for begin in range(0, len(message), 100):
                one.update(message[begin : begin + 100])
            return one.digest()

        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(hashed, messages * 8))

        assert found == [digest(TPM_ALG.SHA256, message) for message in messages] * 8

    def test_whole_blocks_alone(self) -> None:
        """What OpenSSL would keep for the next part is never given to it."""
        fold = fast_fold(TPM_ALG.SHA256)
        assert fold is not None
        with pytest.raises(AssertionError):
            fold(FAMILIES[TPM_ALG.SHA256].start(), bytes(65))
        with pytest.raises(AssertionError):
            fold(bytes(33), bytes(64))


class Altered:
    """A library in which some functions are others, or are absent (None)."""

    def __init__(self, **altered: Callable[[], int] | None) -> None:
        assert LIBRARY is not None
        self._library, self._altered = LIBRARY._library, altered

    def __getattr__(self, name: str) -> Any:
        return self[name]

    def __getitem__(self, name: str) -> Any:
        if name not in self._altered:
            return self._library[name]
        other = self._altered[name]
        if other is None:
            raise AttributeError(name)
        return ctypes.CFUNCTYPE(ctypes.c_ulong)(other)


@pytest.fixture
def forgetful() -> Iterator[None]:
    """What was found before and in the test is forgotten."""
    fast_fold.cache_clear()
    yield
    fast_fold.cache_clear()


class TestRefused:
    """Where OpenSSL is another one, Python folds"""

    def test_another_library(self) -> None:
        """A library without these functions is not used."""
        with pytest.raises(UnusableLibraryError):
            OpenSsl(ctypes.CDLL("libm.so.6"))

    @WITH_OPENSSL
    @pytest.mark.parametrize(
        "altered",
        [
            {"OpenSSL_version_num": lambda: 0x40000000},
            {"OpenSSL_version_num": lambda: 0x20000000},
            {"EVP_MD_meth_dup": None},
            {"EVP_MD_CTX_get0_md_data": None, "EVP_MD_CTX_md_data": None},
        ],
        ids=["OpenSSL 4", "LibreSSL", "no methods", "no memory"],
    )
    def test_other_versions(self, altered: dict[str, Callable[[], int] | None]) -> None:
        """Versions that are not known, or in which a function is gone."""
        with pytest.raises(UnusableLibraryError):
            OpenSsl(Altered(**altered))  # type: ignore[arg-type]

    @WITH_OPENSSL
    @pytest.mark.usefixtures("forgetful")
    @pytest.mark.parametrize(
        "altered",
        [
            {"EVP_MD_meth_set_app_datasize": lambda: 0, "EVP_MD_meth_get_app_datasize": lambda: 0},
            {"EVP_MD_meth_get_init": lambda: 0},
            {"EVP_MD_meth_get_update": lambda: 0},
            {"EVP_MD_meth_dup": lambda: 0},
            {"EVP_sha256": None},
            {"EVP_DigestInit_ex": lambda: 0},
            {"EVP_DigestUpdate": lambda: 0},
            {"EVP_DigestUpdate": lambda: 1},
        ],
        ids=["no room", "no start", "no update", "no copy", "no hash", "not started", "refused", "not done"],
    )
    def test_other_methods(
        self, altered: dict[str, Callable[[], int] | None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A method without memory or functions is not called, and one that does not fold is not believed."""
        monkeypatch.setattr(folding, "LIBRARY", OpenSsl(Altered(**altered)))  # type: ignore[arg-type]

        assert fast_fold(TPM_ALG.SHA256) is None
        one = RunningDigest(TPM_ALG.SHA256)
        one.update(b"abc")
        assert one.digest() == digest(TPM_ALG.SHA256, b"abc")

    @pytest.mark.usefixtures("forgetful")
    def test_without(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without any library all is done in Python."""
        monkeypatch.setattr(folding, "LIBRARY", None)

        assert [fast_fold(alg) for alg in FAMILIES] == [None] * len(FAMILIES)

    def test_another_order_of_words(self) -> None:
        """A library that keeps its words in another order is found out."""
        fold = fold_in_python(TPM_ALG.SHA256)

        assert agrees(TPM_ALG.SHA256, fold)
        assert not agrees(TPM_ALG.SHA256, lambda state, blocks: fold(state, blocks)[::-1])
        assert not agrees(TPM_ALG.SHA256, lambda _, blocks: fold(FAMILIES[TPM_ALG.SHA256].start(), blocks))


class TestBothWays:
    """A saved state does not say who has folded it"""

    @pytest.mark.parametrize("alg", ALGS)
    @given(first=MESSAGES, second=MESSAGES, data=st.data())
    def test_same_octets(
        self, alg: TPM_ALG, first: list[bytes], second: list[bytes], data: st.DataObject
    ) -> None:
        """What one way has saved is what the other would have, and either goes on from it."""
        ways = [fresh(alg, slow=slow) for slow in (False, True)]
        for part in first:
            for one in ways:
                one.update(part)
        saved = {one.save() for one in ways}
        assert len(saved) == 1
        again = loaded(alg, saved.pop(), slow=data.draw(st.booleans()))
        for part in second:
            again.update(part)

        assert again.digest() == digest(alg, *first, *second)
        assert [one.digest() for one in ways] == [digest(alg, *first)] * 2

    @pytest.mark.usefixtures("way")
    @pytest.mark.parametrize("alg", ALGS)
    def test_hmac(self, alg: TPM_ALG) -> None:
        """FIPS 198-1, over a saving in the middle and beside a copy that goes another way."""
        key, part = b"k" * 200, bytes(range(250)) * 20
        one = RunningHmac(alg, key)
        one.update(part)
        other = copy(one)
        other.update(b"other")
        again = RunningHmac.load(alg, one.save())
        again.update(part)

        assert again.digest() == hmac.digest(key, part + part, NAMES[alg])
        assert one.digest() == hmac.digest(key, part, NAMES[alg])
        assert other.digest() == hmac.digest(key, part + b"other", NAMES[alg])

    @pytest.mark.parametrize("alg", ALGS)
    def test_bounded(self, alg: TPM_ALG, *, way: bool) -> None:
        """However long a message is, less than a block is kept; without OpenSSL a little more."""
        most = FAMILIES[alg].block - 1 + (0 if way else KEPT)
        one, part = RunningDigest(alg), bytes(range(256)) * 4
        for _ in range(12):
            one.update(part)
            assert len(one._tail) <= most

        assert len(one.save()) < 8 + 200 + 144
        assert one.digest() == digest(alg, part * 12)

    @WITH_OPENSSL
    def test_nothing_is_left_for_python(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """With OpenSSL Python folds no octet: not in an update, at the end, or after a saving."""
        algs = [alg for alg in FAMILIES if fast_fold(alg) is not None]
        assert set(algs) >= {TPM_ALG.SHA1, TPM_ALG.SHA256, TPM_ALG.SHA384, TPM_ALG.SHA512}
        for family in {type(FAMILIES[alg]) for alg in algs}:
            monkeypatch.setattr(family, "compress", None)
        for alg in algs:
            one = RunningHmac(alg, b"key")
            one.update(bytes(10_000))
            again = RunningHmac.load(alg, one.save())
            again.update(bytes(10_000))

            assert again.digest() == hmac.digest(b"key", bytes(20_000), NAMES[alg])
