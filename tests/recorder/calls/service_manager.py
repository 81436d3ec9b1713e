"""A service manager that is asked to keep sockets."""

from __future__ import annotations

from collections.abc import Sequence

from recorder.runtime.sd_notify import Notifier


class Manager(Notifier):
    """Keeps what it hears: the name and the number of stored descriptors, none of removed ones."""

    def __init__(self) -> None:
        super().__init__("@nobody")
        self.full = False
        """Whether its queue has no room, so that it is waited for."""
        self.away = False
        """Whether it does not answer at all."""
        self.heard: list[tuple[str, int]] = []

    @property
    def busy(self) -> bool:
        return self.full

    def store(self, name: str, descriptors: Sequence[int]) -> bool:
        return self._hear(name, len(descriptors))

    def remove(self, name: str) -> bool:
        self.heard.append((name, 0))
        return True

    def watchdog(self) -> bool:
        return self._hear("watchdog", 0)

    def _hear(self, name: str, descriptors: int) -> bool:
        taken = not (self.full or self.away)
        self.heard += [(name, descriptors)] * taken
        return taken
