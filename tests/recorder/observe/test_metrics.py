"""The metrics of docs/operations.md are there from the first scrape on; the load of the last hour is kept, bounded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from recorder.observe.load_history import EVERY_SECONDS, KEPT, History, Sample
from recorder.observe.metrics import Metrics


def test_what_nobody_has_looked_for_is_not_fresh() -> None:
    page = Metrics().page()
    assert b"recorder_key_backup_age_seconds NaN" in page and b"recorder_verify_age_seconds NaN" in page


def test_a_watched_gauge_is_read_at_each_scrape() -> None:
    one, value = Metrics(), [1.0]
    one.watch(one.calls_active, lambda: value[0])
    value[0] = 3.0
    assert b"recorder_calls_active 3.0" in one.page()


T0 = datetime(2026, 3, 4, tzinfo=UTC)


def test_a_sample_is_due_at_its_pace_and_anew_after_a_stall() -> None:
    history = History()
    assert [now for now in range(35) if history.due(float(now))] == [0, 10, 20, 30]
    assert history.due(100.0) and not history.due(100.0 + EVERY_SECONDS - 0.1)


def test_the_oldest_samples_go() -> None:
    history = History()
    for number in range(KEPT + 5):
        history.add(Sample(T0 + timedelta(seconds=number), number, 0, 0.0))
    assert len(history.samples) == KEPT
    assert (history.samples[0].calls, history.samples[-1].calls) == (5, KEPT + 4)
