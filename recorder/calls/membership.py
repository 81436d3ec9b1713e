"""Whether this node, one of several, may take calls: its number must be its own in the databases, and it may drain.

Two nodes with one number would give the same leaves to different calls. So a customer's calls are taken only once its
database has confirmed, since the machine booted, that the number belongs to this node. `runtime_dir/served/NAME`
records that, so a process that takes over after a crash continues at once, whether the database answers or not. After a
restart of the machine, or if another machine has the number, calls get 503 until the database confirms it, and the SBC
tries another node. Running calls continue in any case.

A node that is the only one needs none of this.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from pathlib import Path

from recorder.runtime.folders import make_folder
from recorder.runtime.tasks import is_set_within

FOLDER = "served"
DRAINING = "draining"

NOT_REGISTERED = "not registered"
"""Why no calls are taken while no database has said that the number is this node's."""


class Membership:
    """What the customers' databases say about this node."""

    def __init__(self, runtime_dir: Path, node: str, customers: Collection[str]) -> None:
        """Load what earlier processes of the same `node` recorded since the machine started."""
        self._folder = runtime_dir / FOLDER
        self._node = node
        self._customers = customers
        self._states: dict[str, str] = {}
        self._changed: Callable[[], None] = lambda: None
        self._confirmed = asyncio.Event()  # set once some database has confirmed this node
        make_folder(self._folder, private=True)
        for path in self._folder.iterdir():
            state, _, whose = path.read_text("utf-8", "replace").partition(" ")
            if path.name in customers and whose == node:
                self._states[path.name] = state

    def follow(self, changed: Callable[[], None]) -> None:
        """Call `changed` whenever the answers below may have changed."""
        self._changed = changed

    def served(self, customer: str, state: str) -> None:
        """Note that a customer's database confirms this node's number, and whether the node drains."""
        if self._states.get(customer) == state:
            return
        draft = self._folder / f".{customer}"
        draft.write_text(f"{state} {self._node}", "utf-8")
        draft.replace(self._folder / customer)
        self._states[customer] = state
        self._confirmed.set()
        self._changed()

    async def registered(self, seconds: float) -> None:
        """Wait until calls of some customer may be taken, at most `seconds`."""
        if not self._states:
            await is_set_within(self._confirmed, seconds)

    def leave(self) -> None:
        """Note that this node stops for good: another machine may take its number at once."""
        for customer in self._customers:
            self.lost(customer)

    def lost(self, customer: str) -> None:
        """Note that this node does not serve the database of a customer."""
        self._states.pop(customer, None)
        (self._folder / customer).unlink(missing_ok=True)
        self._changed()

    def takes(self, customer: str) -> bool:
        """Return whether calls of a customer may be taken."""
        return customer in self._states

    def not_accepting(self) -> str | None:
        """Return why no calls at all are taken; None if some are."""
        if DRAINING in self._states.values():
            return DRAINING
        return None if self._states else NOT_REGISTERED
