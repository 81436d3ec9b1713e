"""Retention decides the same as a slow and obvious oracle, whatever the clock does."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.calls.call_row import CallRow, CallState, Direction
from storage.retention.policy import (
    Decision,
    Policy,
    Rule,
    Subject,
    TrustedClock,
    Verdict,
    Wins,
    brake,
    decide,
    matches,
    with_erase_after,
)
from storage.search_forms import asked, stored

ENDED = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
ANNA = stored({"name": "Anna Weber", "number": "+4930901820101"}, "DE")


def call(
    state: CallState = CallState.COMPLETE, ended_at: datetime | None = ENDED, hold: bool = False, **more: Any
) -> Subject:
    return Subject(state, ended_at, hold, **more)


def test_a_call_is_due_at_the_end_of_its_days_and_not_before() -> None:
    policy = Policy(180, (Rule("in", 10, direction=Direction.INBOUND),))
    end = ENDED + 180 * DAY
    assert decide(call(), policy, end - timedelta(microseconds=1)) == Decision(Verdict.KEEP, None, end)
    assert decide(call(direction=Direction.OUTBOUND), policy, end) == Decision(Verdict.DUE, None, end)
    inbound = decide(call(direction=Direction.INBOUND), policy, end)
    assert inbound == Decision(Verdict.DUE, "in", ENDED + 10 * DAY)
    assert decide(call(), Policy(None), datetime.max.replace(tzinfo=UTC)) == Decision(Verdict.KEEP, None, None)
    assert decide(call(), Policy(10_000_000), ENDED).erase_after is None


def test_retention_counts_from_the_true_end_of_a_call() -> None:
    row = CallRow("1", 7, CallState.COMPLETE, ENDED, ENDED, 1, 1, erase_after=ENDED)
    late, early = replace(row, kept_from=ENDED + 7 * DAY), replace(row, kept_from=ENDED - 30 * DAY)
    for kept, days in ((row, 10), (late, 17), (early, 10)):
        assert with_erase_after(kept, (), Policy(10)).erase_after == ENDED + days * DAY
    assert with_erase_after(row, (), Policy(None)).erase_after is None
    for live in (replace(row, ended_at=None), replace(row, state=CallState.RECORDING)):
        assert with_erase_after(live, (), Policy(10)).erase_after is None


@pytest.mark.parametrize(("wins", "rule", "days"), [(Wins.LONGEST, "ever", None), (Wins.SHORTEST, "ten", 10)])
def test_the_longest_or_the_shortest_wins(wins: Wins, rule: str, days: int | None) -> None:
    policy = Policy(1, (Rule("ten", 10), Rule("ever", None), Rule("ten again", 10)), wins)
    decision = decide(call(), policy, ENDED)
    assert decision.rule == rule
    assert decision.erase_after == (None if days is None else ENDED + days * DAY)


@pytest.mark.parametrize(
    ("wins", "known", "doubtful", "days"),
    [
        (Wins.LONGEST, (), 300, 300),
        (Wins.LONGEST, (), 5, 180),
        (Wins.LONGEST, (10,), 300, 300),
        (Wins.LONGEST, (10,), 5, 10),
        (Wins.SHORTEST, (), 300, 300),
        (Wins.SHORTEST, (), 5, 180),
        (Wins.SHORTEST, (10,), 300, 10),
        (Wins.SHORTEST, (10,), 5, 10),
        (Wins.LONGEST, (10,), None, None),
    ],
)
def test_a_rule_that_may_apply_never_shortens_retention(
    wins: Wins, known: tuple[int, ...], doubtful: int | None, days: int | None
) -> None:
    rules = (Rule("who", doubtful, doubtful=True), *(Rule(str(n), n) for n in known))
    decision = decide(call(), Policy(180, rules, wins), ENDED)
    assert decision.erase_after == (None if days is None else ENDED + days * DAY)
    assert decision.rule == {180: None, doubtful: "who"}.get(days, str(days))


@pytest.mark.parametrize(
    ("wanted", "source", "same"),
    [
        ("192.0.2.0/24", "192.0.2.7", True),
        ("192.0.2.0/24", "192.0.3.7", False),
        ("2001:db8::/32", "2001:db8::1", True),
        ("192.0.2.7", "192.0.2.7", True),
        ("2001:DB8:0::/32", "2001:db8::1", True),
        ("192.0.2.0/24", "", False),
        ("192.0.2.0/24", "2001:db8::1", False),
    ],
)
def test_a_rule_about_a_source(wanted: str, source: str, same: bool) -> None:
    assert matches(Rule("r", 1, source=wanted), call(source=source)) is same


def test_the_brake_asks_above_its_share_but_never_for_one_call() -> None:
    assert [brake(due, of, 5) for due, of in ((6, 100), (5, 100), (1, 1), (0, 0))] == [True, False, False, False]


@pytest.mark.parametrize("jump", [-7 * DAY, 30 * DAY, 3650 * DAY, timedelta(minutes=2)])
def test_a_jump_of_the_clock_is_not_believed(jump: timedelta) -> None:
    clock = TrustedClock(ENDED, 100.0).advance(ENDED + timedelta(seconds=10) + jump, 110.0)
    assert clock.wall == ENDED + timedelta(seconds=10)
    again = clock.advance(ENDED + jump + timedelta(seconds=3610), 3710.0)
    assert again.wall == ENDED + timedelta(seconds=3610)


def test_small_corrections_are_taken_and_time_never_runs_back() -> None:
    clock = TrustedClock(ENDED, 0.0).advance(ENDED + timedelta(seconds=61.5), 60.0)
    assert clock.wall == ENDED + timedelta(seconds=61.5)
    assert clock.advance(ENDED + timedelta(seconds=60), 60.1).wall == clock.wall


def test_a_fast_clock_is_trusted_for_at_most_a_minute() -> None:
    clock = TrustedClock(ENDED, 0.0)
    for reading in range(1, 86400 // 59):
        clock = clock.advance(clock.wall + timedelta(seconds=60), float(reading))
        assert clock.wall <= ENDED + timedelta(seconds=reading + 60)


def test_a_clock_that_creeps_back_and_forth_gains_nothing() -> None:
    clock, wall = TrustedClock(ENDED, 0.0), ENDED
    readings = 86400 // 59
    for reading in range(1, 2 * readings):
        wall += timedelta(seconds=-58 if reading < readings else 60)
        clock = clock.advance(wall, float(reading))
        assert min(clock.wall, wall) <= ENDED + timedelta(seconds=reading + 60)
        assert clock.wall >= ENDED


rules = st.builds(
    Rule,
    id=st.text("abc", min_size=1, max_size=3),
    days=st.none() | st.integers(0, 400),
    direction=st.none() | st.sampled_from(Direction),
    needles=st.none() | st.sampled_from([asked("Anna", "DE"), asked("Bodo", "DE")]),
    source=st.none() | st.sampled_from(["10.0.0.0/8", "sbc"]),
)
subjects = st.builds(
    Subject,
    state=st.sampled_from(CallState),
    ended_at=st.none() | st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.timezones()),
    hold=st.booleans(),
    direction=st.none() | st.sampled_from(Direction),
    source=st.sampled_from(["10.1.2.3", "11.0.0.1", "SBC", ""]),
    forms=st.sampled_from([(), ANNA]),
)


def oracle(subject: Subject, policy: Policy, now: datetime) -> Verdict:
    """Say it slowly: how many days does each rule that applies give, and is the call older?"""
    if subject.state == "recording" or subject.ended_at is None:
        return Verdict.LIVE
    if subject.hold:
        return Verdict.HELD
    days: list[float] = []
    for rule in policy.rules:
        applies = rule.direction in (None, subject.direction)
        if rule.needles is not None:
            applies = applies and "w:anna" in subject.forms and rule.needles[0].probe == "w:anna"
        if rule.source == "sbc":
            applies = False  # a name is no address, and means nobody
        if rule.source == "10.0.0.0/8":
            applies = applies and subject.source.startswith("10.")
        if applies:
            days.append(float("inf") if rule.days is None else rule.days)
    if not days:
        days = [float("inf") if policy.default_days is None else policy.default_days]
    wanted = max(days) if policy.wins == "longest" else min(days)
    age = (now - subject.ended_at.astimezone(UTC)) / DAY
    return Verdict.DUE if age >= wanted else Verdict.KEEP


@given(
    subjects,
    st.builds(Policy, st.none() | st.integers(0, 400), st.lists(rules, max_size=4).map(tuple), st.sampled_from(Wins)),
    st.datetimes(datetime(2019, 1, 1), datetime(2033, 1, 1), timezones=st.just(UTC)),
)
def test_a_decision_is_that_of_the_oracle(subject: Subject, policy: Policy, now: datetime) -> None:
    decision = decide(subject, policy, now)
    assert decision.verdict is oracle(subject, policy, now)
    assert decide(subject, policy, now + 9999 * DAY).erase_after == decision.erase_after


steps = st.lists(
    st.tuples(
        st.floats(0, 7200),  # seconds that really pass
        st.sampled_from([0.0, 0.0, 0.0, 30.0, -30.0, -7 * 86400.0, 30 * 86400.0, 3650 * 86400.0, 3600.0, -3600.0]),
    ),
    max_size=30,
)


@given(steps)
def test_property_nothing_is_due_early(walk: list[tuple[float, float]]) -> None:
    """Whatever the clock is set to on the way, no call is due early, but for one small correction."""
    clock, policy = TrustedClock(ENDED, 0.0), Policy(1)
    passed, offset, corrected = 0.0, 0.0, 60.0
    for seconds, jump in walk:
        before = clock.wall
        passed, offset = passed + seconds, offset + jump
        wall = ENDED + timedelta(seconds=passed + offset)
        clock = clock.advance(wall, passed)
        assert before <= clock.wall <= ENDED + timedelta(seconds=passed + corrected)
        verdict = decide(call(), policy, clock.wall).verdict
        assert verdict is Verdict.KEEP or passed + corrected >= 86400
    if not any(jump for _, jump in walk):
        assert clock.wall == ENDED + timedelta(seconds=passed)


LOCAL = [ZoneInfo(name) for name in ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia")]
MOMENTS = [
    datetime(2026, 3, 29, 1, 59, 59),  # the hour that is left out in Berlin
    datetime(2026, 10, 25, 2, 30),  # the hour that comes twice
    datetime(2028, 2, 28, 23, 59),  # a leap day follows
    datetime(2028, 2, 29, 12),
    datetime(2011, 12, 29, 12),  # the day that Samoa left out follows
    datetime(2026, 12, 31, 23, 59, 59),
]


@pytest.mark.parametrize("zone", LOCAL, ids=str)
def test_days_are_of_86400_seconds_in_every_time_zone(zone: ZoneInfo) -> None:
    """The oracle knows nothing of dates: it counts the seconds of the epoch."""
    for moment, fold, days in product(MOMENTS, (0, 1), (0, 1, 180)):
        ended = moment.replace(tzinfo=zone, fold=fold)
        due = ended.timestamp() + days * 86400
        for delta in (-1e-3, 0.0, 1e-3):
            now = datetime.fromtimestamp(due + delta, UTC)
            found = decide(call(ended_at=ended), Policy(days), now)
            assert found.verdict is (Verdict.DUE if now.timestamp() >= due else Verdict.KEEP)
            assert found.erase_after is not None and found.erase_after.timestamp() == due
