"""The metrics that docs/operations.md lists are there from the first scrape on."""

from __future__ import annotations

from recorder.observe.metrics import RTP_RESULTS, Metrics


def test_every_figure_of_the_contract_is_shown_at_once() -> None:
    page = Metrics().page().decode()
    for name in (
        "recorder_calls_active", 'recorder_calls_total{result="complete"}', "recorder_rtp_lost_total",
        "recorder_gap_seconds_total", "recorder_storage_state 1.0", "recorder_oldest_unindexed_seconds",
        "recorder_index_refused_total",
        *(f'recorder_rtp_packets_total{{result="{r}"}}' for r in RTP_RESULTS),
    ):  # fmt: skip
        assert name in page
    assert "recorder_worker_busy_ratio" in page


def test_a_watched_gauge_is_read_at_each_scrape() -> None:
    one, value = Metrics(), [1.0]
    one.watch(one.calls_active, lambda: value[0])
    value[0] = 3.0
    assert b"recorder_calls_active 3.0" in one.page()
