"""When a call's time is over, as the rules of retention say of its row."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from storage.calls.call_row import CallRow, CallState, Direction
from storage.retention.policy import Policy, Subject, decide


def subject(row: CallRow, forms: Sequence[str], *, held: bool) -> Subject:
    """Return what a decision needs to know of a call."""
    direction = row.details.get("direction")
    return Subject(
        row.state,
        row.ended_at and max(row.ended_at, row.kept_from or row.ended_at),
        held,
        Direction(direction) if direction in set(Direction) else None,
        str(row.details.get("source") or ""),
        forms,
    )


def erase_after(row: CallRow, forms: Sequence[str], policy: Policy) -> datetime | None:
    """Say when a call's time is over, None if never or while it runs: for the row of a call that is written."""
    running = row.ended_at is None or row.state == CallState.RECORDING
    return None if running else decide(subject(row, forms, held=False), policy, row.started_at).erase_after


def with_erase_after(row: CallRow, forms: Sequence[str], policy: Policy) -> CallRow:
    """Return the row with `erase_after` as the policy says."""
    return replace(row, erase_after=erase_after(row, forms, policy))
