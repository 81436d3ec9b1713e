"""Keep a customer's users in step with its directory: import the changes since the last time, or everything.

    report = await synchronise(customer.users, link, graph, whole=False, brake=5)

Nothing is changed before the last page has arrived. Until then the pages are kept, encrypted, so that a synchronisation
that was killed continues with the page it had reached (storage.directory.sync_pages). A synchronisation that would make
more of the active users inactive than the brake allows changes nothing and reports that: a broken filter in the
directory looks the same.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from recorder.directory.delta import Page, TooOld, merged
from recorder.errors import Negative
from storage.directory.delta_link import DirectoryLink, Link
from storage.directory.sync_pages import DirectoryPages, Kept
from storage.directory.user import Change
from storage.directory.user_store import Plan, Users
from storage.timestamps import to_text

SOURCE = "entra"
PIECE = 500
"""Users written in one transaction."""


class Directory(Protocol):
    """A source of pages of changes."""

    def pages(self, link: str | None, *, whole: bool = False) -> AsyncIterator[Page]:
        """Yield every page from a link on, or of everything; raises TooOld, NotPossible.

        `whole`: the link belongs to a synchronisation that began with everything.
        """
        ...


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a synchronisation."""

    counts: Mapping[str, int]  # users added, changed, unmapped, unchanged
    whole: bool  # everything was fetched, not only changes
    calls: int | None = None  # calls that got or lost a user, None if the daemon matches them


class Braked(Negative):
    """More users would become inactive than the brake allows; nothing was changed."""

    def __init__(self, plan: Plan, brake: float) -> None:
        """Create the message that says how many users would become inactive."""
        super().__init__(
            f"{len(plan.unmapped)} of {plan.active} users are no longer in the directory and would become inactive; "
            f"that is more than brake_percent allows ({brake:g} %).",
            "Check the directory; recorder directory sync --yes makes the change.",
        )
        self.unmapped = len(plan.unmapped)


async def synchronise(
    users: Users,
    link: DirectoryLink,
    pages: DirectoryPages,
    directory: Directory,
    now: Callable[[], datetime],
    *,
    whole: bool = False,
    brake: float | None,
    on_plan: Callable[[Plan], Awaitable[None]] | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Report:
    """Import what has changed; raises Braked, NotPossible, StorageError.

    `brake`: percent, None for none. `on_plan` is awaited with the plan before anything is changed; None for a dry run,
    which changes nothing. `progress` is called with the users read or written so far, and their number or 0.
    """
    reading = _Reading(directory, pages if on_plan is not None else None, now, progress)
    known = None if whole else link.read()
    kept = None if whole or on_plan is None else pages.read(now())
    begin = kept or Kept(known is None, (), known.link if known else "")
    try:
        changes, following = await reading.all(begin)
    except TooOld:
        await pages.forget()
        begin = Kept(True, (), "")
        changes, following = await reading.all(begin)
    plan = await _plan(users, changes, whole=begin.whole)
    if brake is not None and plan.asks(brake):
        await pages.forget()  # the directory may be corrected before the next time, so it must be read again
        raise Braked(plan, brake)
    if on_plan is not None:
        await _carry_out(users, plan, on_plan, progress)
        await users.completed(plan)
        link.write(Link(following, to_text(now())))
        await pages.forget()
    return Report(plan.counts, begin.whole)


@dataclass(frozen=True, slots=True)
class _Reading:
    """How pages are read."""

    directory: Directory
    kept: DirectoryPages | None  # None: write nothing
    now: Callable[[], datetime]
    progress: Callable[[int, int], None]

    async def all(self, begin: Kept) -> tuple[dict[str, Change], str]:
        """Return one change for each user, and the link for the next time."""
        changes, following = list(begin.changes), ""
        async for page in self.directory.pages(begin.next or None, whole=begin.whole):
            changes += page.changes
            following = page.delta or ""
            if self.kept is not None and page.next is not None:
                await self.kept.keep(page.changes, page.next, whole=begin.whole, now=self.now())
            self.progress(len(changes), 0)
        return merged(changes), following


async def _plan(users: Users, changes: dict[str, Change], *, whole: bool) -> Plan:
    if whole:
        people = (change.over(None) for change in changes.values() if not change.gone)
        return await users.plan(people, SOURCE, whole=True)
    return await users.plan_changes(changes.values(), SOURCE)


async def _carry_out(
    users: Users, plan: Plan, on_plan: Callable[[Plan], Awaitable[None]], progress: Callable[[int, int], None]
) -> None:
    of = plan.size
    if not of:
        return
    await on_plan(plan)
    done = 0
    for piece in plan.pieces(PIECE):
        await users.carry_out(piece)
        done += piece.size
        progress(done, of)
