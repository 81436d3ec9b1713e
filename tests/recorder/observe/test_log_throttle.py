"""Floods of bad input: all of it is counted; a source gets a line a second, all together what can be read."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from recorder.observe.log_throttle import MAX_KEYS, RateLimit
from recorder.observe.metrics import Metrics
from recorder.observe.rejections import ANSWER_SECONDS, LINES_A_SECOND, MAX_CHALLENGED, Challenges, Rejections


def test_repeated_lines_within_a_second_are_counted() -> None:
    limit = RateLimit()
    assert limit.admit("a", 0.0) == 0
    assert [limit.admit("a", now) for now in (0.1, 0.5, 0.99)] == [None, None, None]
    assert limit.admit("b", 0.5) == 0
    assert limit.admit("a", 1.0) == 3
    assert limit.admit("a", 2.0) == 0


def test_the_log_throttle_keeps_a_bounded_number_of_keys() -> None:
    limit = RateLimit()
    for number in range(MAX_KEYS + 1):
        limit.admit(number, 0.0)
    assert limit.admit(1, 0.5) is None, "the newest are kept"
    assert limit.admit(0, 0.5) == 0, "and the oldest is forgotten"


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 3)), max_size=60))
def test_a_property_nothing_is_lost(calls: list[tuple[str, float]]) -> None:
    limit = RateLimit()
    now, written, counted = 0.0, 0, 0
    for key, pause in calls:
        now += pause
        held = limit.admit(key, now)
        written, counted = written + (held is not None), counted + (held or 0)
    assert written + counted + sum(count for _, count in limit.due(now + 2)) == len(calls)


class Lines:
    """A log that takes notes."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def warning(self, event: str, **fields: Any) -> None:
        self.lines.append({"event": event, **fields})


def unwelcome() -> tuple[Rejections, Lines, Metrics]:
    log, metrics = Lines(), Metrics()
    return Rejections(log, metrics, None), log, metrics  # type: ignore[arg-type]  # refuse and drop need no more


def held(metrics: Metrics) -> float:
    return metrics.registry.get_sample_value("recorder_log_suppressed_total") or 0.0


def test_a_source_gets_one_line_a_second_whatever_it_sends() -> None:
    one, log, metrics = unwelcome()
    for number in range(3_000):
        one.drop(("status-line", "via", "source")[number % 3], "192.0.2.1", 100 + number / 1_000)
        one.refuse("INVITE", 400, "via", None, "192.0.2.1", 100 + number / 1_000)
    assert [line.get("suppressed", 0) for line in log.lines] == [0, 1_999, 1_999]
    assert held(metrics) == 5_997
    assert metrics.registry.get_sample_value("recorder_sip_dropped_total", {"reason": "via"}) == 1_000


def test_many_sources_share_what_can_be_read() -> None:
    one, log, metrics = unwelcome()
    for number in range(20_000):
        one.drop("source", f"10.0.{number // 200}.{number % 200}", 100 + number / 10_000)
    assert LINES_A_SECOND <= len(log.lines) <= 4 * LINES_A_SECOND
    assert held(metrics) == 20_000 - len(log.lines)


def test_suppressed_lines_are_counted_in_the_sources_next_line() -> None:
    one, log, metrics = unwelcome()
    for _ in range(3):
        one.drop("source", "192.0.2.1", 100.0)
    for number in range(2 * LINES_A_SECOND):
        one.drop("source", f"10.0.0.{number}", 101.5)
    one.drop("source", "192.0.2.1", 101.5)  # nobody may speak now
    one.drop("source", "192.0.2.1", 110.0)
    assert [line["suppressed"] for line in log.lines if line["source"] == "192.0.2.1"] == [0, 3]
    assert held(metrics) == 3 + sum(1 for _ in range(2 * LINES_A_SECOND)) - (len(log.lines) - 2)


def test_a_line_names_the_source_where_there_is_one() -> None:
    one, log, _ = unwelcome()
    one.drop("internal", None, 1.0)
    one.refuse("INVITE", 420, "require", "acme", "192.0.2.7", 1.0)
    assert [(line["event"], line["source"], line["reason"]) for line in log.lines] == [
        ("sip.dropped", None, "internal"),
        ("sip.refused", "192.0.2.7", "require"),
    ]


def test_an_unanswered_challenge_is_reported_once() -> None:
    one = Challenges()
    one.ask("a", "acme", "192.0.2.1", 0.0)
    one.ask("b", "acme", "192.0.2.1", 1.0)
    one.ask("a", "acme", "192.0.2.1", 2.0)
    one.answer("b")
    assert list(one.overdue(ANSWER_SECONDS - 0.1)) == []
    assert list(one.overdue(ANSWER_SECONDS + 2)) == [("acme", "192.0.2.1")]
    assert list(one.overdue(1000.0)) == []
    assert len(one) == 0


def test_a_challenge_does_not_keep_the_call_id() -> None:
    one, name = Challenges(), "alice-to-bob\udcff" * 5000
    one.ask(name, "acme", "192.0.2.1", 0.0)
    assert "alice" not in str(vars(one)) and len(repr(vars(one))) < 500
    one.answer(name)
    assert list(one.overdue(1000.0)) == []


def test_a_flood_of_challenged_invites_takes_no_more_memory() -> None:
    one = Challenges()
    for number in range(MAX_CHALLENGED + 500):
        one.ask(str(number), "acme", "192.0.2.1", 0.0)
    assert len(one) == len(list(one.overdue(1000.0))) == MAX_CHALLENGED
