"""Descriptors of a stream inside a worker, and reading what a spool holds."""

import os
import socket
from pathlib import Path

import pytest

from media import spool
from media.pauses import Pauses
from media.sockets import SO_TIMESTAMPNS
from media.spec import StreamSpec
from media.track import Track
from recorder.lanes import Lanes, close_all, read_slot


def track() -> Track:
    return Track(StreamSpec(0), Pauses(), 1)


def opened(count: int) -> list[int]:
    return [socket.socket(socket.AF_INET, socket.SOCK_DGRAM).detach() for _ in range(count)]


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


@pytest.mark.parametrize("count", [1, 2])
def test_every_socket_stamps_arrivals_and_is_closed_once(count: int) -> None:
    descriptors = opened(count)
    lanes = Lanes(track(), descriptors)
    assert [lanes.rtp, lanes.rtcp] == (descriptors if count == 2 else [descriptors[0], -1])
    for descriptor in descriptors:
        with socket.socket(fileno=os.dup(descriptor)) as same:
            assert same.getsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS) == 1
    lanes.close()
    assert not any(map(is_open, descriptors))


def test_what_is_no_socket_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file, pytest.raises(OSError):
        Lanes(track(), [file.fileno()])


def test_closing_passes_over_what_is_gone() -> None:
    descriptors = opened(2)
    close_all([descriptors[0], -1, descriptors[1]])
    assert not any(map(is_open, descriptors))


def test_a_slot_is_read_for_as_long_as_it_says(tmp_path: Path) -> None:
    slot = spool.Slot(3, 4096, 1, False, b"{}", b"state", b"remainder")
    data, at = spool.pack(slot), spool.offset(3)
    descriptor = os.open(tmp_path / "spool", os.O_CREAT | os.O_RDWR)
    os.pwrite(descriptor, data + b"left over from a longer one", at)
    assert read_slot(descriptor, at) == data
    assert spool.newest(read_slot(descriptor, spool.offset(2)), read_slot(descriptor, at)) == slot
    os.close(descriptor)
