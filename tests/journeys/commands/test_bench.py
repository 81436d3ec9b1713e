"""The benchmarks run and count: a short run of each."""

from __future__ import annotations

import pytest

from bench import limit, setup
from tests.daemon.server import free_span

pytestmark = pytest.mark.alone  # nothing may be lost or refused
SECOND = 50  # packets of a stream


def test_worker_and_loop_take_turns_and_lose_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--calls", "2", "--rounds", "1", "--seconds", "4", "--port", str(free_span())]
    (both,) = limit.main(words)
    assert both.worker.stored == both.worker.sent == both.loop.stored == both.loop.sent == 2 * 2 * 4 * SECOND
    assert both.worker.spent.cpu > 0
    assert both.loop.spent.cpu > 0
    shown = capsys.readouterr().out
    assert "worker / C" in shown
    assert "VOID" not in shown


def test_every_call_of_a_short_run_is_answered_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = setup.main(["--rates", "20", "--seconds", "1", "--transport", "tcp"])
    assert (row.rate, row.failed) == (20, 0)
    assert 0 < row.middle <= row.high
    assert row.cpu > 0.2  # ms: a daemon that was not measured would have used none
    assert "INVITE/s and core" in capsys.readouterr().out
