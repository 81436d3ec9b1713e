"""Ports of live calls are read without opening any seal."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.persist.checkpoint_file import Slots, left_calls, left_ports


def test_every_port_of_every_live_call(tmp_path: Path) -> None:
    here = Slots(tmp_path / "live")
    for call, first in (("a", 20000), ("over", 20010)):
        slot = here.take()
        slot.write(json.dumps({"v": 2, "call": call, "ports": [[first, True], [first + 2, False]]}).encode(), b"x")
    slot.end()
    here.take()
    assert list(left_ports(tmp_path)) == [(20000, True), (20002, False)]
    assert left_calls(tmp_path) == {"a"}
    assert left_calls(tmp_path / "nowhere") == set()


@given(st.binary(max_size=100))
def test_any_bytes_are_passed_over(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("run")
    with closing(Slots(folder / "live")) as here:
        here.take().write(data, b"")
    (folder / "live" / "2").write_bytes(data)
    assert list(left_ports(folder)) == []
