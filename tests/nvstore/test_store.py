"""The contract of Store, which every backend keeps."""

from collections.abc import Callable

import pytest

from nvstore import FileStore, Host, MemoryStore, Store, StoreClosed
from tests.nvstore.conftest import BLOBS, VM

Open = Callable[[], Store]


class TestContract:
    """Named blobs of one VM; a commit is all or nothing."""

    def test_begins_with_what_it_was_made_of(self, reopen: Open) -> None:
        """A new store holds the blobs it was created with."""
        assert reopen().load() == BLOBS

    def test_is_a_store(self, reopen: Open) -> None:
        """Every backend has all operations of the protocol."""
        assert isinstance(reopen(), Store)

    @pytest.mark.parametrize(
        ("changes", "after"),
        [
            ({}, BLOBS),
            ({"permanent": b"new"}, {**BLOBS, "permanent": b"new"}),
            ({"permanent": b""}, {**BLOBS, "permanent": b""}),
            ({"object/81000001": b"key"}, {**BLOBS, "object/81000001": b"key"}),
            ({"permanent": None}, {"nv/01800001": BLOBS["nv/01800001"]}),
            ({"permanent": None, "nv/01800001": None}, {}),
            ({"absent": None}, BLOBS),
            ({"permanent": None, "nv/01800001": b"x", "ü": b"y"}, {"nv/01800001": b"x", "ü": b"y"}),
            ({"big": bytes(300_000)}, {**BLOBS, "big": bytes(300_000)}),
        ],
    )
    def test_commit_sets_and_removes(
        self, reopen: Open, changes: dict[str, bytes | None], after: dict[str, bytes]
    ) -> None:
        """A value replaces the blob, None removes it, and what is not named stays."""
        store = reopen()
        store.commit(changes)
        assert store.load() == after

    def test_what_load_gave_is_the_callers(self, reopen: Open) -> None:
        """Changing the answer of load changes nothing in the store."""
        store = reopen()
        store.load().clear()
        assert store.load() == BLOBS

    @pytest.mark.parametrize(
        "changes", [{"": b"x"}, {"x" * 70_000: b"x"}, {"a": b"1", "b": "text"}, {"a": bytearray(3)}]
    )
    def test_a_bad_change_changes_nothing(self, reopen: Open, changes: dict[str, bytes | None]) -> None:
        """Names have 1 to 65535 octets and values are bytes; all of a commit is refused, or none."""
        store = reopen()
        with pytest.raises(ValueError, match="blob"):
            store.commit(changes)
        assert store.load() == BLOBS

    def test_a_closed_store_is_closed(self, reopen: Open) -> None:
        """Nothing works after close but close."""
        store = reopen()
        store.close()
        store.close()
        for use in (store.load, lambda: store.commit({"a": b"1"}), store.erase):
            with pytest.raises(StoreClosed):
                use()

    def test_an_erased_store_is_closed(self, reopen: Open) -> None:
        """Erasing closes."""
        store = reopen()
        store.erase()
        with pytest.raises(StoreClosed):
            store.load()

    def test_tells_no_secret(self, reopen: Open) -> None:
        """The representation of a store has nothing of its blobs."""
        store = reopen()
        assert "seed" not in repr(store)
        assert b"seed".hex() not in repr(store)


def test_the_file_keeps_what_was_committed(host: Host) -> None:
    """A commit is there for the next opener."""
    with host.create_state(VM, "guest", BLOBS) as store:
        store.commit({"a": b"1"})
    with host.open_state(VM) as store:
        assert store.load() == {**BLOBS, "a": b"1"}


def test_a_commit_without_difference_writes_nothing(store: FileStore) -> None:
    """Setting a blob to what it is, or removing what is absent, makes no generation."""
    store.commit({"permanent": BLOBS["permanent"], "absent": None})
    assert store.generation == 1
    store.commit({"permanent": b"other"})
    assert store.generation == 2


def test_memory_forgets_between_stores() -> None:
    """A MemoryStore shares nothing with another."""
    MemoryStore({"a": b"1"}).commit({"b": b"2"})
    assert MemoryStore().load() == {}
