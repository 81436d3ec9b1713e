"""A part whose writer died is ended: whatever is torn, interrupted, or repeated."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import Forged
from storage.vault.container import HEADER, TAG, PartSecret, Reader, Sealer, new_part
from storage.vault.torn_tail import Outcome, Recovery, recovering

SEGMENT = 64
FULL = SEGMENT - TAG


class Memory:
    """A file in memory that counts its changes and can be stopped in the middle of each."""

    def __init__(self, data: bytes, stop_at: int | None = None, keep: int = 0) -> None:
        self.data = bytearray(data)
        self.stop_at, self.keep, self.changes = stop_at, keep, 0

    def size(self) -> int:
        return len(self.data)

    def read(self, offset: int, length: int) -> bytes:
        return bytes(self.data[offset : offset + length])

    def write(self, offset: int, data: bytes) -> None:
        part = data[: self.keep] if self._stops() else data
        self.data[len(self.data) :] = bytes(max(offset + len(part) - len(self.data), 0))
        self.data[offset : offset + len(part)] = part
        self._after()

    def truncate(self, size: int) -> None:
        if not self._stops():
            del self.data[size:]
        self._after()

    def _stops(self) -> bool:
        return self.changes == self.stop_at

    def _after(self) -> None:
        self.changes += 1
        if self.stop_at is not None and self.changes > self.stop_at:
            raise KeyboardInterrupt


def written(plain: bytes) -> tuple[PartSecret, bytes]:
    """Return a part of which everything but the last segment was written."""
    header, secret = new_part(bytes(32), b"aad", SEGMENT, os.urandom)
    return secret, header + Sealer(secret).add(plain)


def recover(secret: PartSecret, file: Memory, committed: int | None = None) -> Recovery:
    steps = recovering(secret, file, committed)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: Recovery = end.value
            return result


def plain_of(secret: PartSecret, file: Memory) -> bytes:
    return b"".join(Reader(secret, file.size(), file.read).chunks())


def kept(size: int) -> int:
    return max(size // SEGMENT * FULL - HEADER, 0)


def test_every_torn_length_is_cut_to_whole_segments_and_ended() -> None:
    plain = os.urandom(5 * SEGMENT)
    secret, data = written(plain)
    for size in range(HEADER, len(data) + 1):
        file = Memory(data[:size])
        result = recover(secret, file)
        if size < SEGMENT:
            assert result.outcome is Outcome.EMPTY
        else:
            assert result == Recovery(Outcome.ENDED, size // SEGMENT * SEGMENT, size % SEGMENT)
            assert plain_of(secret, file) == plain[: kept(size)]


def test_a_finished_part_is_left_alone() -> None:
    header, secret = new_part(bytes(32), b"aad", SEGMENT, os.urandom)
    for size in (0, 5, FULL - HEADER, FULL, 300):
        data = header + Sealer(secret).finish(bytes(size))
        file = Memory(data)
        assert recover(secret, file) == Recovery(Outcome.WHOLE, len(data), 0)
        assert file.changes == 0


def test_uncommitted_bytes_are_dropped() -> None:
    plain = os.urandom(6 * SEGMENT)
    secret, data = written(plain)
    for committed in range(SEGMENT, len(data) + 1, SEGMENT):
        for size in (SEGMENT + 9, committed, committed + 7, len(data)):
            file = Memory(data[:size])
            recover(secret, file, committed)
            assert plain_of(secret, file) == plain[: kept(min(committed, size))]
            assert recover(secret, file, committed).outcome is Outcome.WHOLE
    assert recover(secret, Memory(data), HEADER).outcome is Outcome.EMPTY


def test_a_wrong_key_destroys_nothing() -> None:
    secret, data = written(os.urandom(4 * SEGMENT))
    file = Memory(data)
    with pytest.raises(Forged):
        recover(PartSecret(bytes(32), secret.prefix, SEGMENT), file)
    assert file.changes == 0


def interruptions() -> Iterator[tuple[int, int]]:
    """Yield which change is interrupted, and how much of it reaches the disk."""
    for change in range(4):
        for keep in (0, 1, SEGMENT // 2, SEGMENT - 1, SEGMENT):
            yield change, keep


@pytest.mark.parametrize("committed", [None, 3 * SEGMENT, SEGMENT])
def test_recovery_interrupted_anywhere_is_simply_done_again(committed: int | None) -> None:
    plain = os.urandom(5 * SEGMENT)
    secret, data = written(plain)
    torn = data + b"torn"
    wanted = plain[: kept(committed or len(data))]
    for change, keep in interruptions():
        file = Memory(torn, change, keep)
        with pytest.raises(KeyboardInterrupt):
            recover(secret, file, committed)
        for again, more in interruptions():
            second = Memory(bytes(file.data), again, more)
            try:
                recover(secret, second, committed)
            except KeyboardInterrupt:
                pass
            last = Memory(bytes(second.data))
            recover(secret, last, committed)
            assert plain_of(secret, last) == wanted


@settings(max_examples=200, deadline=None)
@given(st.binary(min_size=1, max_size=400), st.integers(0, 500), st.integers(0, 400))
def test_any_garbage_tail_keeps_every_genuine_segment(tail: bytes, length: int, size: int) -> None:
    plain = os.urandom(length)
    secret, data = written(plain)
    file = Memory(data[: HEADER + size] + tail)
    # A tail may begin with the very byte that a segment lacked: once in 256 times, and then that one is genuine.
    same = next((at for at, (one, other) in enumerate(zip(data, file.data, strict=False)) if one != other), len(data))
    genuine = kept(min(same, len(file.data)))
    try:
        result = recover(secret, file)
    except Forged:
        assert genuine == 0
        return
    if result.outcome is Outcome.EMPTY:
        assert genuine == 0
    else:
        assert plain_of(secret, file) == plain[:genuine]
