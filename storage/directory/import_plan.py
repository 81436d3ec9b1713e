"""The plan of an import: what it would change, counted before it is carried out, piece by piece."""

from collections.abc import Iterator
from typing import Any

from storage.directory.user import Change, Person, Since, User, UserState


class Plan:
    """What an import would change."""

    def __init__(self, source: str, since: Since) -> None:
        self.source = source
        # the directory: csv, api, entra
        self.since = since
        # from when the new values hold
        self.added: list[Person] = []
        # people without a user
        self.changed: list[tuple[User, Person]] = []
        # users that changed or have returned
        self.unmapped: list[User] = []
        # users that have left the directory
        self.same = 0
        # number of unchanged users
        self.active = 0
        # number of users of this directory that are active now

    def take(self, user: User | None, change: Change) -> None:
        """Add a reported change of a user; `user` is None if the person has none."""
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
        """Yield the plan in pieces, so that carrying it out never blocks the database for long."""
        for name in ("added", "changed", "unmapped"):
            entries: list[Any] = getattr(self, name)
            for start in range(0, len(entries), size):
                piece = Plan(self.source, self.since)
                setattr(piece, name, entries[start : start + size])
                yield piece

    @property
    def size(self) -> int:
        """Return how many users the plan changes."""
        return len(self.added) + len(self.changed) + len(self.unmapped)

    @property
    def counts(self) -> dict[str, int]:
        """Return the number of users for each kind of change."""
        return {
            "added": len(self.added),
            "changed": len(self.changed),
            "unmapped": len(self.unmapped),
            "unchanged": self.same,
        }

    def asks(self, percent: float) -> bool:
        """Say whether so many active users would become inactive that the import asks first.

        A single user never asks, or no user could leave a company of ten; at 0 percent every user asks.
        """
        many = len(self.unmapped) > 1 or (not percent and bool(self.unmapped))
        return many and 100 * len(self.unmapped) > percent * self.active
