"""Random schedules of trouble: whatever nodes, database, store and clocks do, all that was promised is there once.

What was erased opens nowhere.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.daemon.fault_injection import troublemaker
from tests.journeys.trouble.node_scene import DAY, Scene, scene

__all__ = ["troublemaker"]

ROUNDS = 4


@pytest.mark.torture
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("count", [1, 3])
def test_random_trouble_loses_no_frame_and_no_erasure(
    tmp_path: Path, troublemaker: Path, count: int, seed: int
) -> None:
    with scene(tmp_path, count, seed, troublemaker) as it:
        for _ in range(ROUNDS):
            it.round()
        it.judge()


@pytest.mark.torture
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", [Scene.burnt, Scene.older_keys, Scene.one_cut_off, Scene.clock_off])
def test_trouble_of_one_node_loses_no_frame_and_no_erasure(
    tmp_path: Path, troublemaker: Path, kind: Callable[[Scene], None]
) -> None:
    with scene(tmp_path, 3, 0, troublemaker) as it:
        it.round(Scene.killed)
        it.round(Scene.killed)  # so that there are calls to erase in the trouble
        it.round(kind)
        it.judge()


@pytest.mark.torture
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("wrong", [-30 * DAY, -90, 90, 30 * DAY])
def test_a_wrong_clock_loses_no_frame_and_no_erasure(tmp_path: Path, troublemaker: Path, wrong: int) -> None:
    def clock_off(it: Scene) -> None:
        it.clock_off(wrong, boots=False)

    def starts_with_clock_off(it: Scene) -> None:
        it.clock_off(wrong, boots=True)

    with scene(tmp_path, 3, 0, troublemaker) as it:
        for kind in (Scene.killed, Scene.killed, clock_off, starts_with_clock_off):
            it.round(kind)
        it.judge()
