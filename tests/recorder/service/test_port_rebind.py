"""The media ports of live calls are bound before anything heavy is imported."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

from recorder.persist.checkpoint_file import Slots, left_ports
from recorder.service.port_rebind import bind_again, stored_ports
from tests.ports import spans

FIRST = next(spans(19_100, 19_900, 10))
"""Ports that the kernel gives nobody who asks for any."""


def checkpoint(folder: Path, name: str, ports: object) -> None:
    Slots(folder / "live").take().write(json.dumps({"v": 2, "call": name, "ports": ports}).encode(), b"")


def test_ports_are_bound_and_those_that_cannot_be_are_left_out(tmp_path: Path) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        busy = taken.getsockname()[1]
        checkpoint(tmp_path, "a", [[FIRST, True], [busy, False], [FIRST + 2, False], [FIRST + 4, False]])
        bound = bind_again(tmp_path, "127.0.0.1", {FIRST + 4})
        try:
            assert sorted(bound) == [FIRST, FIRST + 2]
            assert bound[FIRST].rtcp is not None
            assert bound[FIRST + 2].rtcp is None
        finally:
            for pair in bound.values():
                pair.close()


def test_a_port_wanted_by_another_listener_is_left_free(tmp_path: Path) -> None:
    """A media worker that was broken into may have written that its call has the port of SIP."""
    checkpoint(tmp_path, "a", [[FIRST + 6, True], [FIRST + 7, True]])
    assert bind_again(tmp_path, "127.0.0.1", {FIRST + 7}) == {}


def test_damaged_checkpoints_are_passed_over(tmp_path: Path) -> None:
    checkpoint(tmp_path, "a", "nonsense")
    checkpoint(tmp_path, "b", [[1]])
    (tmp_path / "live" / "7").write_bytes(b"\xff{")
    checkpoint(tmp_path, "d", [[47_320, True]])
    assert list(left_ports(tmp_path)) == [(47_320, True)]
    assert list(left_ports(tmp_path / "nowhere")) == []


def test_stored_ports_are_recognised_among_other_descriptors(tmp_path: Path) -> None:
    with (
        socket.socket(type=socket.SOCK_DGRAM) as kept,
        socket.socket(socket.AF_UNIX) as nameless,
        (tmp_path / "file").open("wb") as file,
    ):
        kept.bind(("127.0.0.1", 0))
        stored = {"m1": [nameless.fileno(), file.fileno(), kept.fileno()]}
        assert stored_ports(stored) == {kept.getsockname()[1]}
        os.fstat(kept.fileno())
