"""The keys of one customer: found again, sealed under, forgotten, numbered."""

import threading

import pytest

from storage.errors import Forgotten, SealBroken
from storage.keys.key_store import CustomerKeys
from storage.keys.key_tree import day_of, label, leaf_of
from tests.in_process.key_files import DAY, Data, FallibleDisk


@pytest.fixture
def keys(data: Data) -> CustomerKeys:
    return data.create()


def test_keys_are_the_same_after_opening_again(data: Data, keys: CustomerKeys) -> None:
    leaf = keys.allocate(DAY)
    again = data.open()
    assert again.secret(leaf, "media") == keys.secret(leaf, "media")
    assert again.secret(leaf, "media") != again.secret(leaf, "details")
    assert again.secret(leaf, "media") != again.secret(leaf + 1, "media")


def test_opening_writes_nothing(data: Data, keys: CustomerKeys) -> None:
    before = {path: path.read_bytes() for path in data.folder.rglob("*") if path.is_file()}
    times = {path: path.stat().st_mtime_ns for path in before}
    data.open(disk=FallibleDisk(0)).secret(leaf_of(DAY, 1), "media")
    assert {path: path.read_bytes() for path in data.folder.rglob("*") if path.is_file()} == before
    assert {path: path.stat().st_mtime_ns for path in before} == times


def test_a_sealed_value_opens_in_its_place_only(keys: CustomerKeys) -> None:
    leaf = leaf_of(DAY, 1)
    sealed = keys.seal(leaf, "details", b"plain", b"row 1")
    assert keys.unseal(leaf, "details", sealed, b"row 1") == b"plain"
    assert keys.seal(leaf, "details", b"plain", b"row 1") != sealed
    wrong = [(leaf + 1, "details", b"row 1"), (leaf, "media", b"row 1"), (leaf, "details", b"row 2")]
    for other, name, context in wrong:
        with pytest.raises(SealBroken):
            keys.unseal(other, name, sealed, context)
    for size in range(len(sealed)):
        with pytest.raises(SealBroken):
            keys.unseal(leaf, "details", sealed[:size], b"row 1")
    for bit in range(len(sealed) * 8):
        bad = bytearray(sealed)
        bad[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SealBroken):
            keys.unseal(leaf, "details", bytes(bad), b"row 1")


def test_a_cut_leaf_is_forgotten_and_its_neighbour_is_not(data: Data, keys: CustomerKeys) -> None:
    one, two = keys.allocate(DAY), keys.allocate(DAY)
    sealed = keys.seal(two, "details", b"kept", b"")
    assert keys.cut(one)
    assert not keys.cut(one)
    for state in (keys, data.open()):
        with pytest.raises(Forgotten):
            state.secret(one, "media")
        assert not state.keeps(one)
        assert state.unseal(two, "details", sealed, b"") == b"kept"


def test_days_and_ranges_are_one_cut(keys: CustomerKeys) -> None:
    generation = keys.generation
    assert keys.cut_days(DAY, DAY + 1)
    assert keys.cut_range(leaf_of(DAY + 5, 3), leaf_of(DAY + 5, 9))
    assert keys.cut(leaf_of(DAY + 7, 1), leaf_of(DAY + 7, 99), leaf_of(DAY + 8, 5))
    assert keys.generation == generation + 3
    assert not keys.keeps(leaf_of(DAY + 1, 77))
    assert keys.keeps(leaf_of(DAY + 5, 10))
    assert not keys.keeps(leaf_of(DAY + 5, 9))


def test_the_cut_of_another_process_is_noticed(data: Data, keys: CustomerKeys) -> None:
    other = data.open()
    for number in range(30):
        assert keys.keeps(leaf_of(DAY, number))
        other.cut(leaf_of(DAY, number))
        with pytest.raises(Forgotten):
            keys.secret(leaf_of(DAY, number), "media")
    keys.cut(leaf_of(DAY, 100))
    assert not other.keeps(leaf_of(DAY, 100))
    assert other.generation == keys.generation == 32


def test_cuts_at_the_same_time_all_count(data: Data, keys: CustomerKeys) -> None:
    del keys
    workers = [threading.Thread(target=data.open().cut, args=(leaf_of(DAY, number),)) for number in range(12)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    now = data.open()
    assert not any(now.keeps(leaf_of(DAY, number)) for number in range(12))
    assert now.generation == 13


def test_readers_meet_a_whole_state_during_cuts(data: Data, keys: CustomerKeys) -> None:
    begun, stop = threading.Event(), threading.Event()
    kept = leaf_of(DAY, 5000)
    secret = keys.secret(kept, "media")
    seen: list[bool] = []

    def read() -> None:
        while not stop.is_set():
            seen.append(data.open().secret(kept, "media") == secret)
            begun.set()

    reader = threading.Thread(target=read)
    reader.start()
    assert begun.wait(30)
    for number in range(60):
        keys.cut(leaf_of(DAY, number))
    stop.set()
    reader.join()
    assert seen
    assert all(seen)


def test_numbers_are_unique_across_processes_and_restarts(data: Data, keys: CustomerKeys) -> None:
    other = data.open()
    given = [source.allocate(DAY) for _ in range(2000) for source in (keys, other)]
    given += [data.open().allocate(DAY) for _ in range(20)]
    assert len(set(given)) == len(given)
    assert {day_of(leaf) for leaf in given} == {DAY}


def test_an_erased_number_is_never_given(keys: CustomerKeys) -> None:
    first = keys.allocate(DAY)
    keys.cut_range(first + 1, first + 1500)
    assert keys.allocate(DAY) == first + 1501


def test_a_clock_set_back_to_an_erased_day_uses_the_next_one(keys: CustomerKeys) -> None:
    keys.cut_days(DAY, DAY + 1)
    assert day_of(keys.allocate(DAY)) == DAY + 2


def test_refilling_ahead_spares_the_caller_the_disk(keys: CustomerKeys) -> None:
    assert keys.low(DAY)
    keys.refill(DAY)
    assert not keys.low(DAY)
    for _ in range(1000):
        keys.allocate(DAY)
    assert keys.low(DAY)


def test_numbers_found_in_use_are_skipped_after_a_restore(keys: CustomerKeys) -> None:
    keys.skip([leaf_of(DAY, 50_000), leaf_of(DAY, 10)])
    assert keys.allocate(DAY) > leaf_of(DAY, 50_000)


def test_files_are_private(data: Data, keys: CustomerKeys) -> None:
    keys.cut(1)
    for path in data.folder.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0


def test_a_label_is_that_of_the_format(keys: CustomerKeys) -> None:
    assert keys.secret(5, "media") == label(keys._now().tree.derive(5), "media")
