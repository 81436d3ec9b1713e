"""The retention decision about a call: a pure function of rules, call, hold and a clock.

Theory of operation. Of the rules that match a call, the longest or the shortest wins, as the customer chose; if none
matches, the default applies. A rule whose party was erased can only make retention longer, never shorter. The days of a
rule are spans of 24 hours in UTC from the end of the call, so time zones, daylight saving and leap days do not move the
date. The date does not depend on the clock; the clock only decides whether the date has passed. If the clock was set
back before a call ended, the days count from when the call really ended. A hold overrides everything, and a running
call is never due. `TrustedClock` advances no faster than the monotonic clock has since the boot, so setting the clock
erases nothing, neither at once nor in small steps.
"""

import enum
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from storage.calls.call_row import CallRow, CallState, Direction, met
from storage.search_forms import Needle
from storage.timestamps import DAY_MICROS, MAX_MICROS, from_micros, to_micros

MAX_DAYS = 36_500  # a hundred years; a rule that means "for ever" should say so
NEVER = MAX_MICROS + 1
MAX_STEP = timedelta(seconds=60)  # most that time servers may correct in total: a year of drift


class Wins(enum.StrEnum):
    """Which of several matching rules applies."""

    LONGEST = "longest"
    SHORTEST = "shortest"


class Verdict(enum.StrEnum):
    """Result of a decision about a call."""

    DUE = "due"
    KEEP = "keep"
    HELD = "held"
    LIVE = "live"


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that keeps matching calls for some days."""

    id: str
    """Random id of the rule."""
    days: int | None
    """Days from the end of the call, None to keep it for ever."""
    direction: Direction | None = None
    """Only calls of this direction."""
    needles: tuple[Needle, ...] | None = None
    """Only calls with this party (storage.search_forms.asked)."""
    source: str | None = None
    """Only calls from this address or network."""
    doubtful: bool = False
    """Whether its party was erased, so that it may match any of these calls or none."""


@dataclass(frozen=True, slots=True)
class Policy:
    """All rules of a customer."""

    default_days: int | None
    """Days if no rule matches, None to keep calls for ever."""
    rules: tuple[Rule, ...] = ()
    """Rules in the order in which they were given."""
    wins: Wins = Wins.LONGEST
    """Which of several matching rules applies; of equal ones, the first."""


@dataclass(frozen=True, slots=True)
class Subject:
    """The facts about a call that a decision needs."""

    state: CallState
    """Recording, complete or interrupted."""
    ended_at: datetime | None
    """End of the call, None if it has not ended."""
    hold: bool = False
    """Whether it is under legal hold."""
    direction: Direction | None = None
    """Direction of the call, None if unknown."""
    source: str = ""
    """Source address, "" if it was not stored."""
    forms: Sequence[str] = ()
    """Its search forms."""
    kept_from: datetime | None = None
    """When it really ended, if the clock was set back before; None if `ended_at` is right."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision about a call, with its reason."""

    verdict: Verdict
    """Due, or the reason why not."""
    rule: str | None
    """Id of the rule that decided, None for the default."""
    erase_after: datetime | None
    """When retention ends; None if it never does or while the call runs. Holds do not change it."""


Ruling = tuple[str | None, int | None]
"""Id of the rule that applies, None for the default; and its days, None for ever."""


def decide(subject: Subject, policy: Policy, now: datetime) -> Decision:
    """Decide about one call; `now` must come from a trusted clock."""
    if subject.ended_at is None or subject.state == CallState.RECORDING:
        return Decision(Verdict.LIVE, None, None)
    rule, days = ruling(subject, policy)
    later = None if subject.kept_from is None else to_micros(subject.kept_from)
    until = retention_end(to_micros(subject.ended_at), later, span_of(days))
    erase_after = None if until == NEVER else from_micros(until)
    if subject.hold:
        return Decision(Verdict.HELD, rule, erase_after)
    due = erase_after is not None and erase_after <= now
    return Decision(Verdict.DUE if due else Verdict.KEEP, rule, erase_after)


def judge(row: CallRow, forms: Sequence[str], policy: Policy, now: datetime, *, held: bool = False) -> Decision:
    """Decide about the call of a row with these search forms."""
    return decide(subject(row, forms, held=held), policy, now)


def subject(row: CallRow, forms: Sequence[str], *, held: bool = False) -> Subject:
    """Return the facts of an opened row that a decision needs."""
    direction = row.details.get("direction")
    return Subject(
        row.state,
        row.ended_at,
        held,
        Direction(direction) if direction in set(Direction) else None,
        str(row.details.get("source") or ""),
        forms,
        row.kept_from,
    )


def with_erase_after(row: CallRow, forms: Sequence[str], policy: Policy) -> CallRow:
    """Return the row with the end of its retention under this policy; None if never or while the call runs."""
    return replace(row, erase_after=judge(row, forms, policy, row.started_at).erase_after)


def matches(rule: Rule, subject: Subject) -> bool:
    """Return whether a call meets every condition of a rule; a rule without conditions matches every call."""
    if rule.direction is not None and rule.direction != subject.direction:
        return False
    if rule.needles is not None and not met(rule.needles, subject.forms):
        return False
    return rule.source is None or _from(rule.source, subject.source)


def brake(due: int, total: int, percent: float) -> bool:
    """Return whether a sweep is too large a share of all calls to run without approval; one call never is."""
    return due > 1 and due * 100 > total * percent


@dataclass(frozen=True, slots=True)
class TrustedClock:
    """A wall clock that is trusted only as far as the monotonic clock confirms it."""

    wall: datetime
    """The last trusted time."""
    monotonic: float
    """Seconds of the monotonic clock at that time."""
    anchor: tuple[datetime, float] | None = None
    """Both clocks when the wall clock was first trusted; None if that is now."""

    def advance(self, wall: datetime, monotonic: float) -> "TrustedClock":
        """Return the clock after a reading of both clocks; the wall clock counts only if close to the expected time.

        Many small corrections would add up, so their sum is limited by the time that has passed since the anchor.
        """
        began, then = self.anchor or (self.wall, self.monotonic)
        passed = self.wall + timedelta(seconds=max(0.0, monotonic - self.monotonic))
        near = abs(wall - passed) <= MAX_STEP
        latest = began + timedelta(seconds=max(0.0, monotonic - then)) + MAX_STEP
        return TrustedClock(min(max(wall, self.wall) if near else passed, latest), monotonic, (began, then))


def ruling(subject: Subject, policy: Policy) -> Ruling:
    """Return the rule that applies to a call; a rule whose party was erased can only make retention longer."""
    found = [rule for rule in policy.rules if matches(rule, subject)]
    sure = [rule for rule in found if not rule.doubtful]
    choose = max if policy.wins == Wins.LONGEST else min
    best = choose(sure, key=_span) if sure else Rule("", policy.default_days)
    if not sure or policy.wins == Wins.LONGEST:
        best = max([best, *(rule for rule in found if rule.doubtful)], key=_span)
    return best.id or None, best.days


def _span(rule: Rule) -> int:
    return MAX_DAYS + 1 if rule.days is None else rule.days


def span_of(days: int | None) -> int:
    """Return the days of a rule in microseconds, NEVER if they are None."""
    return NEVER if days is None else max(0, days) * DAY_MICROS


def retention_end(ended: int, kept_from: int | None, span: int) -> int:
    """Return when retention ends, or NEVER; all times in microseconds since 1970-01-01 UTC."""
    until = span + (ended if kept_from is None or kept_from < ended else kept_from)
    return NEVER if until > NEVER else until


def _from(wanted: str, source: str) -> bool:
    try:
        return ipaddress.ip_address(source) in ipaddress.ip_network(wanted, strict=False)
    except ValueError:
        return False
