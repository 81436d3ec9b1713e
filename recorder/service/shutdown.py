"""Whether and how the daemon is to stop: what the signals say.

SIGTERM and SIGINT stop it. Under a service manager that keeps our sockets a successor is expected, who goes on with the
calls, since a crash, a restart and an upgrade all look like that. SIGUSR1 beforehand says that none will come
(config/recorder.service sends it where systemd stops the unit for good), as does `serve --drain`. Then nothing new is
taken and running calls may go on for a while; a second SIGTERM or SIGINT ends that. SIGHUP, which asks other
daemons to read their files anew, ends nothing: certificates are read anew without it, and recording needs no terminal.

A daemon whose files were replaced under it, so that a new media worker is a stranger, stops by itself as if it had
died: whoever starts it again gets all of it from the new files, and goes on with the calls.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from contextlib import suppress

LOOK_SECONDS = 0.05
"""How often it is looked whether all calls have ended."""


def _go_on() -> None:
    """Do nothing."""


class Shutdown:
    """What was asked of the daemon so far."""

    def __init__(self, *, drain: bool, drain_seconds: float) -> None:
        """`drain`: no successor is ever expected. `drain_seconds`: how long calls may then go on."""
        self.begun = asyncio.Event()
        #: Ended because our files were replaced.
        self.outdated = False
        self._alone = drain
        self._drain_seconds = drain_seconds
        self._hurry = asyncio.Event()

    def listen(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take the signals."""
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.terminate)
        loop.add_signal_handler(signal.SIGUSR1, self.expect_nobody)
        loop.add_signal_handler(signal.SIGHUP, _go_on)

    def terminate(self) -> None:
        """Stop; a second time, be quick about it."""
        if self.begun.is_set():
            self._hurry.set()
        self.begun.set()

    def expect_nobody(self) -> None:
        """Take note that nobody will go on with the calls."""
        self._alone = True

    def make_way(self) -> None:
        """Stop for a successor of other files, at once."""
        self.outdated = True
        self._hurry.set()
        self.begun.set()

    def handed_over(self, kept: bool) -> bool:
        """Tell whether a successor goes on with the calls; `kept`: somebody keeps the sockets for one."""
        return self.outdated or (kept and not self._alone)

    @property
    def drain_seconds(self) -> float:
        """Return how many seconds running calls get: none where a stop was not announced as a drain."""
        return self._drain_seconds if self._alone else 0.0

    async def wait_for_calls(self, running: Callable[[], int]) -> None:
        """Wait until all calls have ended, for at most drain_seconds."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self.drain_seconds
        while running() and loop.time() < until and not self._hurry.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), LOOK_SECONDS)
