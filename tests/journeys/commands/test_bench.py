"""The benchmarks run and count: a short run of each, and what makes a row void."""

from __future__ import annotations

import pytest

from bench import limit, setup
from bench.flows import FLOWS
from bench.media_load import Spent
from bench.media_plane import Plan, Row
from tests.daemon.server import free_span

SECOND = 50  # packets of a stream
PLAN = Plan(FLOWS["G.711"], "AES_CM_128_HMAC_SHA1_80", 2, 8.0, 1.0, rtcp=True)


def test_worker_and_loop_take_turns_and_lose_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--calls", "2", "--rounds", "1", "--seconds", "4", "--port", str(free_span())]
    (both,) = limit.main(words)
    assert both.worker.stored == both.worker.sent == both.loop.stored == both.loop.sent == 2 * 2 * 4 * SECOND
    assert both.worker.spent.cpu > 0
    assert both.loop.spent.cpu > 0
    shown = capsys.readouterr().out
    assert "worker / C" in shown
    assert "VOID" not in shown


def test_a_row_with_losses_is_void() -> None:
    def row(micros: float, lost: int = 0) -> Row:
        return Row(PLAN, 1_000, Spent(micros / 1e3, 8.0, 0), 1_000 + lost, 1_000)

    rounds = [limit.Round(row(each), row(2.0), 0.5) for each in (3.0, 9.0, 2.0)]
    assert limit.cells(rounds)[2:5] == ("3.00 (2.00 to 9.00)", "2.00 (2.00 to 2.00)", "1.50 (1.00 to 4.50)")
    assert limit.cells([*rounds, limit.Round(row(3.0), row(2.0, lost=4), 0.5)])[4:7] == (
        "1.50 (1.00 to 4.50) VOID", 0, 4,
    )  # fmt: skip


def test_every_call_of_a_short_run_is_answered_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = setup.main(["--rates", "20", "--seconds", "1", "--transport", "tcp"])
    assert (row.rate, row.failed) == (20, 0)
    assert 0 < row.middle <= row.high
    assert row.cpu > 0.2  # ms: a daemon that was not measured would have used none
    assert "INVITE/s and core" in capsys.readouterr().out


def test_a_rate_counts_only_if_all_were_answered_in_time() -> None:
    kept = setup.Row(100, 2.0, 99.0, 0, 3.0, 0.3, 1.0)
    assert kept.good
    assert "VOID" not in str(kept)
    assert not setup.Row(100, 2.0, 101.0, 0, 3.0, 0.3, 1.0).good
    assert not setup.Row(100, 2.0, 9.0, 1, 3.0, 0.3, 1.0).good
    assert "VOID" in str(setup.Row(100, 2.0, 9.0, 0, 3.0, 0.3, 21.0))
