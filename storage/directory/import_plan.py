"""What an import of people would change: counted before it is done, done piece by piece."""

from collections.abc import Iterator
from typing import Any

from storage.directory.user import Change, Person, Since, User, UserState


class Plan:
    """What an import would change."""

    def __init__(self, source: str, since: Since) -> None:
        self.source = source
        # the directory: csv, api, entra
        self.since = since
        # from when it says what is new
        self.added: list[Person] = []
        # people whom we do not know
        self.changed: list[tuple[User, Person]] = []
        # users that are known otherwise now, or are back
        self.unmapped: list[User] = []
        # users whom the directory has no more
        self.same = 0
        # users of whom nothing changes
        self.active = 0
        # users of this directory that are active now

    def take(self, user: User | None, change: Change) -> None:
        """Add what a change means for a user, None if we do not know the person."""
        if change.gone:
            if user is not None and user.state is UserState.ACTIVE:
                self.unmapped.append(user)
            return
        person = change.over(user.person if user else None)
        if user is None:
            self.added.append(person)
        elif user.person != person or user.state is UserState.INACTIVE:
            self.changed.append((user, person))
        else:
            self.same += 1

    def pieces(self, size: int) -> Iterator["Plan"]:
        """Cut the plan into pieces, so that carrying it out never blocks the database for long."""
        for name in ("added", "changed", "unmapped"):
            entries: list[Any] = getattr(self, name)
            for start in range(0, len(entries), size):
                piece = Plan(self.source, self.since)
                setattr(piece, name, entries[start : start + size])
                yield piece

    @property
    def size(self) -> int:
        """Return how many users change."""
        return len(self.added) + len(self.changed) + len(self.unmapped)

    @property
    def counts(self) -> dict[str, int]:
        """Return how many users each change concerns."""
        return {
            "added": len(self.added),
            "changed": len(self.changed),
            "unmapped": len(self.unmapped),
            "unchanged": self.same,
        }

    def asks(self, percent: float) -> bool:
        """Say whether more of the active users would become inactive than may without asking.

        A single one never asks, or in a company of ten no user could leave; with 0 percent everybody does.
        """
        many = len(self.unmapped) > 1 or (not percent and bool(self.unmapped))
        return many and 100 * len(self.unmapped) > percent * self.active
