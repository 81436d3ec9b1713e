"""Incidents: recordings that are missing or incomplete, and security events; bounded lists, nothing personal.

Each customer and the node have a list of their own, so that a flood of incidents of one does not push out those of
another. A list is kept in memory and in a file, which outlives this process: a new incident is written at once, a
higher count at the next `save`. If the disk refuses a write, it is repeated at the next `save`; nobody waits for it.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from recorder.errors import NotPossible
from storage.audit.incidents import KEPT, Incident, IncidentFile, clean
from storage.customer.customers import customer_folder
from storage.timestamps import rfc3339

RUN_BYTES = 6
"""Random bytes in the ids of one process, so that those of its successor differ."""

AT_ONCE = 50
"""Incidents in one write: each new incident tries the disk again, and if the disk refuses, thousands may wait."""

Do = Callable[[Callable[[], Any]], Any]
"""Does something on the disk and returns the result; raises OSError or NotPossible."""

_Key = tuple[str, tuple[tuple[str, Any], ...]]


def at_once(work: Callable[[], Any]) -> Any:
    """Do it and wait for it."""
    return work()


class _Owned:
    """The incidents of one owner: those of this process and those of the file."""

    def __init__(self, file: IncidentFile | None, do: Do) -> None:
        self._file = file
        self._do = do
        self._renew = False
        self.entries: deque[Incident] = deque(maxlen=KEPT)
        self.newest: dict[_Key, Incident] = {}
        self._unsaved: dict[str, Incident] = {}
        self._before: list[Incident] | None = None

    def note(self, incident: Incident) -> None:
        """Mark an incident to be written at the next `save`."""
        if self._file:
            self._unsaved[incident.id] = incident
            while len(self._unsaved) > KEPT:
                del self._unsaved[next(iter(self._unsaved))]

    def save(self) -> None:
        """Write what is not written yet; if the disk refuses, try again at the next `save`."""
        if self._file is None or not (self._unsaved or self._renew):
            return
        try:
            while self._unsaved:
                some = list(islice(self._unsaved.values(), AT_ONCE))
                self._renew = self._do(partial(self._file.append, some))
                for each in some:
                    del self._unsaved[each.id]
            if self._renew:
                self._do(self._file.renew)
                self._renew = False
        except (OSError, NotPossible):
            return  # kept for the next `save`; an incident that is written twice is read once

    def every(self) -> list[Incident]:
        """Return all incidents, oldest first."""
        if self._before is None:
            try:
                self._before = self._file.read() if self._file else []
            except OSError:
                return list(self.entries)
        ours = {each.id for each in self.entries}
        return [*(each for each in self._before if each.id not in ours), *self.entries][-KEPT:]


class Incidents:
    """All lists; a repetition of an incident within a minute raises its count instead of filling the list."""

    SAME_SECONDS = 60.0

    def __init__(
        self,
        clock: Callable[[], datetime],
        data_dir: Path | None = None,
        do: Do = at_once,
        count: Callable[[str], None] = lambda kind: None,
    ) -> None:
        """`data_dir` holds the files; without it nothing outlives the process. `do` does the writing.

        `count` is called with the kind of each incident, for the metrics.
        """
        self._clock = clock
        self._count_kind = count
        self._do = do
        self._data_dir = data_dir
        self._run = os.urandom(RUN_BYTES).hex()
        self._count = 0
        self._owned: dict[str | None, _Owned] = {}

    def add(self, kind: str, customer: str | None, **facts: Any) -> None:
        """Note an incident; facts are codes, counts and random ids, anything else is left out."""
        now, owned = self._clock(), self._of(customer)
        self._count_kind(kind)
        known = {name: clean(value) for name, value in sorted(facts.items())}
        key = (kind, tuple(known.items()))
        same = owned.newest.get(key)
        if same and 0 <= (now - same.last).total_seconds() < self.SAME_SECONDS:
            same.last, same.count = now, same.count + 1
            owned.note(same)
            return
        self._count += 1
        incident = Incident(f"{self._run}-{self._count}", kind, now, now, 1, known)
        owned.entries.append(incident)
        if len(owned.newest) >= KEPT:
            owned.newest.clear()
        owned.newest[key] = incident
        owned.note(incident)
        owned.save()

    def save(self) -> None:
        """Write what is not written yet; called every second and at the end."""
        for owned in self._owned.values():
            owned.save()

    def of(self, customer: str) -> Sequence[dict[str, Any]]:
        """Return the incidents of a customer and those of no customer, newest first."""
        both = [*self._of(customer).every(), *self._of(None).every()]
        both.reverse()  # of two at the same moment the later one comes first
        return [_shown(each) for each in sorted(both, key=lambda each: each.first, reverse=True)]

    def _of(self, owner: str | None) -> _Owned:
        owned = self._owned.get(owner)
        if owned is None:
            owned = self._owned[owner] = _Owned(self._file(owner), self._do)
        return owned

    def _file(self, owner: str | None) -> IncidentFile | None:
        if self._data_dir is None:
            return None
        return IncidentFile(self._data_dir if owner is None else customer_folder(self._data_dir, owner))


def _shown(each: Incident) -> dict[str, Any]:
    times = {"first_at": rfc3339(each.first), "last_at": rfc3339(each.last)}
    return {"kind": each.kind, **times, "count": each.count, **each.facts}
