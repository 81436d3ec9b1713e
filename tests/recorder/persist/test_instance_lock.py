"""One daemon a data directory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from recorder.config.model import Node, Settings
from recorder.persist.instance_lock import node_lock


def test_the_second_does_not_get_it_until_the_first_is_gone(tmp_path: Path) -> None:
    settings = replace(Settings(), node=Node(data_dir=tmp_path))
    with node_lock(settings) as first, node_lock(settings) as second:
        assert (first, second) == (True, False)
    with node_lock(settings) as third:
        assert third
