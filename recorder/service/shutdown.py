"""Decide from the signals whether and how the daemon stops.

SIGTERM and SIGINT stop it. Under a service manager that keeps our sockets, a successor is expected to continue the
calls, because a crash, a restart and an upgrade all look like that. SIGUSR1 before the stop says that no successor will
come (config/recorder.service sends it when systemd stops the unit for good), as does `serve --drain`. Then the
daemon takes no new calls and running calls may continue for a while; a second SIGTERM or SIGINT ends that. SIGHUP,
which asks other daemons to reload their files, does nothing: certificates are reloaded without it, and recording needs
no terminal.

A daemon whose files were replaced cannot work with new media workers, so it stops by itself as if it had crashed.
Whoever restarts it starts everything from the new files, and the calls continue.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from recorder.runtime.tasks import is_set_within

LOOK_SECONDS = 0.05
"""Time between two checks whether all calls have ended."""


def _go_on() -> None:
    """Do nothing."""


class Shutdown:
    """What the daemon has been asked to do so far."""

    def __init__(self, *, drain: bool, drain_seconds: float) -> None:
        """`drain`: never expect a successor. `drain_seconds`: how long calls may continue after the stop."""
        self.begun = asyncio.Event()
        #: True if it stops because the program's files were replaced.
        self.outdated = False
        self._alone = drain
        self._drain_seconds = drain_seconds
        self._hurry = asyncio.Event()

    def listen(self, loop: asyncio.AbstractEventLoop) -> None:
        """Install the signal handlers."""
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.terminate)
        loop.add_signal_handler(signal.SIGUSR1, self.expect_nobody)
        loop.add_signal_handler(signal.SIGHUP, _go_on)

    def terminate(self) -> None:
        """Stop; at the second call stop waiting for running calls."""
        if self.begun.is_set():
            self._hurry.set()
        self.begun.set()

    def expect_nobody(self) -> None:
        """Note that no successor will continue the calls."""
        self._alone = True

    def make_way(self) -> None:
        """Stop at once for a successor that runs the new files."""
        self.outdated = True
        self._hurry.set()
        self.begun.set()

    def handed_over(self, kept: bool) -> bool:
        """Return whether a successor continues the calls; `kept`: the service manager keeps the sockets for one."""
        return self.outdated or (kept and not self._alone)

    @property
    def drain_seconds(self) -> float:
        """Return how many seconds running calls get: none if the stop was not announced as a drain."""
        return self._drain_seconds if self._alone else 0.0

    async def wait_for_calls(self, running: Callable[[], int]) -> None:
        """Wait until all calls have ended, for at most drain_seconds."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self.drain_seconds
        while running() and loop.time() < until and not self._hurry.is_set():
            await is_set_within(self._hurry, LOOK_SECONDS)
