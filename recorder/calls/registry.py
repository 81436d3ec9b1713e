"""The calls being recorded now, found by call id and by SIP session."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from recorder.calls.live_call import LiveCall
from sip.ua.events import SessionKey


class Live:
    """Registry of live calls."""

    def __init__(self) -> None:
        self._by_id: dict[str, LiveCall] = {}
        self._by_session: dict[SessionKey, LiveCall] = {}
        self._counts: Counter[tuple[str, str]] = Counter()

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[LiveCall]:
        return iter(list(self._by_id.values()))

    def add(self, call: LiveCall) -> None:
        """Add a call."""
        if call.id not in self._by_id:
            for key in _counted(call):
                self._counts[key] += 1
        self._by_id[call.id] = call
        self._by_session[call.session] = call

    def remove(self, call: LiveCall) -> None:
        """Remove a call; a second time does nothing."""
        if self._by_id.pop(call.id, None):
            for key in _counted(call):
                self._counts[key] -= 1
                if not self._counts[key]:
                    del self._counts[key]
        self._by_session.pop(call.session, None)

    def of_source(self, address: str) -> int:
        """Return how many calls come from an address, in its normal form."""
        return self._counts["source", address]

    def of_customer(self, name: str) -> int:
        """Return how many calls a customer has."""
        return self._counts["customer", name]

    def by_session(self, session: SessionKey) -> LiveCall | None:
        """Return the call of a SIP session."""
        return self._by_session.get(session)

    def by_id(self, call: str) -> LiveCall | None:
        """Return a call by its id."""
        return self._by_id.get(call)


def _counted(call: LiveCall) -> tuple[tuple[str, str], ...]:
    return ("source", call.recording.source or ""), ("customer", call.customer.name)
