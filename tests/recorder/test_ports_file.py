"""Ports of live calls are read without opening any seal."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.ports_file import LIVE, left_ports


def test_every_port_of_every_call(tmp_path: Path) -> None:
    (tmp_path / LIVE).mkdir()
    (tmp_path / LIVE / "a").write_text('{"ports": [[20000, true], [20002, false]], "sealed": "x"}')
    assert list(left_ports(tmp_path)) == [(20000, True), (20002, False)]


@given(st.binary(max_size=100))
def test_any_bytes_are_passed_over(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("run")
    (folder / LIVE).mkdir()
    (folder / LIVE / "a").write_bytes(data)
    assert list(left_ports(folder)) == []
