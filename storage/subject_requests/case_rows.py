"""Requests of data subjects in the database: values, states, and the sealed part of a row; pure.

    open → confirmed → reporting → reported → erasing → done | refused | closed
              ↑____________|  if a report fails, is cancelled, or was removed with an erased call

Everything that identifies the person is sealed under the request's own leaf. `noted` is in the clear and is kept for
ever: ids, counts, digests, names of tokens, and times.
"""

import calendar
import enum
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from storage.errors import Forgotten
from storage.json_bytes import ascii_json
from storage.keys import sealing
from storage.timestamps import from_micros, to_micros, to_text

KIND = "request"


class Kind(enum.StrEnum):
    """Kind of a request."""

    ACCESS = "access"
    ERASURE = "erasure"
    PORTABILITY = "portability"


class State(enum.StrEnum):
    """State of a request."""

    OPEN = "open"
    CONFIRMED = "confirmed"
    REPORTING = "reporting"
    REPORTED = "reported"
    ERASING = "erasing"
    DONE = "done"
    REFUSED = "refused"
    CLOSED = "closed"


class Step(enum.StrEnum):
    """Step that changes the state of a request."""

    SELECT = "select"
    EXTEND = "extend"
    REPORT = "report"
    MADE = "made"
    FAILED = "failed"
    ERASE = "erase"
    DONE = "done"
    REFUSED = "refused"
    CLOSED = "closed"


OVER = frozenset({State.DONE, State.REFUSED, State.CLOSED})
OUTCOMES = (Step.DONE, Step.REFUSED, Step.CLOSED)
GROUNDS = ("not_identified", "unfounded", "excessive", "rights_of_others", "legal_obligation", "legal_claims", "other")
"""Grounds for refusing a request: Art. 12(2), 12(5), 12(5), 15(4), 17(3)(b), 17(3)(e)."""

DELAYS = ("complexity", "number")
"""Reasons why an answer may take longer (Art. 12(3) GDPR)."""
LONGEST_DELAY = 2  # months (Art. 12(3))

_STEPS: Mapping[State, Mapping[Step, State]] = {
    State.OPEN: {Step.SELECT: State.CONFIRMED},
    State.CONFIRMED: {Step.SELECT: State.CONFIRMED, Step.REPORT: State.REPORTING, Step.ERASE: State.ERASING},
    State.REPORTING: {Step.MADE: State.REPORTED, Step.FAILED: State.CONFIRMED},
    State.REPORTED: {Step.SELECT: State.CONFIRMED, Step.REPORT: State.REPORTING, Step.ERASE: State.ERASING},
    State.ERASING: {},
}
_CLOSING: Mapping[Step, State] = {step: State(step.value) for step in OUTCOMES}


@dataclass(frozen=True, slots=True)
class Asked:
    """Content of a request, sealed until the request is closed."""

    identities: tuple[str, ...] = field(repr=False)
    """Identities of the person as the request states them."""
    user: str | None
    """Id of the directory user, None if the person is not in the directory or the user is not known."""
    reference: str | None = field(default=None, repr=False)
    """Reference under which the letter is filed."""
    reason: str | None = field(default=None, repr=False)
    """Text of the request."""
    delay: str | None = field(default=None, repr=False)
    """Reason given to the person why the answer takes longer."""


@dataclass(frozen=True, slots=True)
class Extension:
    """An extension of the one-month time limit for the answer (Art. 12(3) GDPR)."""

    months: int
    """Months added, at most LONGEST_DELAY."""
    ground: str
    """One of DELAYS."""
    told_at: datetime
    """When the person was informed, which must be within the month."""
    reason: str = field(repr=False)
    """Reason given to the person; sealed."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Calls that an administrator has confirmed or excluded."""

    inside: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Ids of calls that concern the person, each with the numbers of the parties that are the person."""
    outside: tuple[str, ...] = ()
    """Ids of candidates that do not concern the person."""


@dataclass(frozen=True, slots=True)
class Case:
    """One request."""

    id: str
    """Random id."""
    state: State
    """State of the request."""
    kinds: tuple[Kind, ...]
    """Kinds of the request."""
    received_at: datetime
    """When it was received."""
    due_at: datetime
    """When it must be answered."""
    created_at: datetime
    """When it was filed here."""
    created_by: str
    """Name of the token that filed it."""
    changed_at: datetime
    """Time of the last step."""
    asked: Asked | None
    """The content of the request, None once closed."""
    selection: Selection = Selection()
    """The confirmed selection; empty once closed."""
    noted: Mapping[str, Any] = field(default_factory=dict)
    """Lasting log: `reports`, each with ids, counts, digest and who fetched it; `extension`; `record` once closed."""
    export: str | None = None
    """Id of the export with the newest report."""
    erasure: str | None = None
    """Id of the erasure that was filed."""
    closed_at: datetime | None = None
    """When it was closed."""
    closed_by: str | None = None
    """Name of the token that closed it."""
    ground: str | None = None
    """Why it was refused."""
    leaf: int | None = field(default=None, repr=False)
    """Leaf that all personal data are sealed under, None once it is cut."""

    @property
    def reports(self) -> Sequence[Mapping[str, Any]]:
        """Return the log of each report, oldest first."""
        found: Sequence[Mapping[str, Any]] = self.noted.get("reports") or ()
        return found

    @property
    def extension(self) -> Mapping[str, Any] | None:
        """Return the log of an extension, None if there is none."""
        found: Mapping[str, Any] | None = self.noted.get("extension")
        return found

    def extended(self, extension: Extension, at: datetime, by: str) -> "Case":
        """Return the request with an extension and its later due date."""
        noted = {
            "months": extension.months,
            "ground": extension.ground,
            "told_at": to_text(extension.told_at),
            "at": to_text(at),
            "by": by,
        }
        return replace(
            self,
            due_at=due(self.received_at, 1 + extension.months),
            asked=None if self.asked is None else replace(self.asked, delay=extension.reason),
            noted={**self.noted, "extension": noted},
        )


def after(state: State, step: Step) -> State | None:
    """Return the state after a step, None if the state does not allow the step."""
    if step in _CLOSING:
        barred = state in OVER or state is State.REPORTING
        return None if barred else _CLOSING[step]
    if step is Step.EXTEND:
        return None if state in OVER else state
    return _STEPS.get(state, {}).get(step)


def due(received: datetime, months: int = 1) -> datetime:
    """Return the due date (Art. 12(3) GDPR): the same day of a later month, or its last day if the month is too short.

    The last day is used according to Regulation 1182/71 Art. 3.
    """
    years, month = divmod(received.month - 1 + months, 12)
    year, month = received.year + years, month + 1
    return received.replace(year=year, month=month, day=min(received.day, calendar.monthrange(year, month)[1]))


def columns(keys: sealing.DeletableKeys, case: Case) -> dict[str, Any]:
    """Return the row of a request; raises Forgotten."""
    return {
        "id": case.id,
        "state": case.state.value,
        "kinds": ",".join(case.kinds),
        "received_at": to_micros(case.received_at),
        "due_at": to_micros(case.due_at),
        "created_at": to_micros(case.created_at),
        "created_by": case.created_by,
        "changed_at": to_micros(case.changed_at),
        "closed_at": None if case.closed_at is None else to_micros(case.closed_at),
        "closed_by": case.closed_by,
        "ground": case.ground,
        "export": case.export,
        "erasure": case.erasure,
        "noted": ascii_json(case.noted),
        "leaf": case.leaf,
        "sealed": _seal(keys, case),
    }


def shown(keys: sealing.DeletableKeys, record: Any) -> Case:
    """Build a request from its row, without its content if the leaf was cut. Raises SealBroken."""
    asked, selection = _open(keys, record)
    return Case(
        record.id,
        State(record.state),
        tuple(Kind(kind) for kind in record.kinds.split(",")),
        from_micros(record.received_at),
        from_micros(record.due_at),
        from_micros(record.created_at),
        record.created_by,
        from_micros(record.changed_at),
        asked,
        selection,
        json.loads(record.noted),
        record.export,
        record.erasure,
        None if record.closed_at is None else from_micros(record.closed_at),
        record.closed_by,
        record.ground,
        record.leaf,
    )


def _seal(keys: sealing.DeletableKeys, case: Case) -> bytes | None:
    if case.asked is None or case.leaf is None:
        return None
    told = {
        "identities": list(case.asked.identities),
        "user": case.asked.user,
        "reference": case.asked.reference,
        "reason": case.asked.reason,
        "delay": case.asked.delay,
        "in": {call: list(parties) for call, parties in case.selection.inside.items()},
        "out": list(case.selection.outside),
    }
    return sealing.seal(keys, case.leaf, KIND, case.id, told)


def _open(keys: sealing.DeletableKeys, record: Any) -> tuple[Asked | None, Selection]:
    if record.sealed is None or record.leaf is None:
        return None, Selection()
    try:
        told = sealing.unseal(keys, record.leaf, KIND, record.id, record.sealed)
    except Forgotten:
        return None, Selection()
    asked = Asked(
        tuple(told["identities"]), told["user"], told["reference"], told["reason"], told.get("delay")
    )  # rows from before there were extensions have no `delay`
    inside = {call: tuple(parties) for call, parties in told["in"].items()}
    return asked, Selection(inside, tuple(told["out"]))
