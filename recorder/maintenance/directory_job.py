"""Synchronise each customer's users with its directory, at start and at intervals.

`recorder directory sync` does the work in its own process: a hundred thousand users take a while and a hundred
megabytes, and calls are being recorded.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recorder.config.model import Directory, Settings
from recorder.directory import factory
from recorder.errors import RecorderError
from recorder.observe.incidents import Incidents
from recorder.observe.logs import Log
from recorder.persist.indexer import passes
from recorder.runtime import python_command
from recorder.runtime.tasks import Tasks
from storage.customer.customers import Customer
from storage.errors import StorageError

FIRST_SECONDS = 30.0
"""A start, or a restart during calls, has more urgent work."""
RETRY_SECONDS = 900.0
"""After a failure; the next regular run if that comes earlier."""
LONGEST_SECONDS = 5 * 3600.0
"""A longer run hangs: an hour of work, and four hours of waiting for Retry-After (`client.MAX_ASKED`)."""
NICE = 10
"""Low priority: it may wait, calls may not."""
NOT_STARTED = -1
"""Used as the exit status of a synchronisation that could not be started."""
TURN = "directory sync"
"""Name of the turn. One of several nodes synchronises, and goes on until it is late; then another one may."""
BRAKED = 1
"""Exit status of a synchronisation that stopped because it would change too many users."""


class DirectoryJob:
    """Synchronises the configured directories."""

    def __init__(
        self, customers: Mapping[str, Customer], tasks: Tasks, log: Log, incidents: Incidents, settings: Settings
    ) -> None:
        self._customers = customers
        self._tasks = tasks
        self._log = log
        self._incidents = incidents
        self._directories = settings.directories
        self._source = settings.source

    async def run(self) -> None:
        """Start the work for every directory; owned by recorder.runtime.tasks."""
        for directory in self._directories:
            if directory.sync_minutes:
                self._tasks.start(self._serve(directory), "directory")

    async def _serve(self, directory: Directory) -> None:
        await asyncio.sleep(FIRST_SECONDS)
        while True:
            well = await self._in_turn(directory)
            pause = directory.sync_minutes * 60.0
            await asyncio.sleep(pause if well else min(pause, RETRY_SECONDS))

    async def _in_turn(self, directory: Directory) -> bool:
        """Synchronise, unless another node did so lately; False if it failed and should be retried soon."""
        customer = self._customers.get(directory.customer)
        if customer is None:
            return False
        try:
            if not await customer.turns.hold(TURN, directory.sync_minutes * 60.0):
                return True
        except StorageError:
            return False
        well = await self.turn(directory)
        if not well:
            with suppress(StorageError):  # another node may be able to
                await customer.turns.hold(TURN, 0)
        return well

    async def turn(self, directory: Directory) -> bool:
        """Synchronise once; False if it failed and should be retried soon."""
        name = directory.customer
        source = self._source
        if source is None:
            return False
        try:
            if not await asyncio.to_thread(self._credential_well, directory):
                return False
            status, counted = await _synchronised(source, name)
        except Exception as problem:
            if not passes(problem):
                raise
            status, counted = NOT_STARTED, {}
        if status == 0:
            self._log.info(
                "directory.synchronised",
                customer=name,
                added=counted.get("added"),
                changed=counted.get("changed"),
                unmapped=counted.get("unmapped"),
                unchanged=counted.get("unchanged"),
                calls=counted.get("calls_changed"),
            )
        elif status == BRAKED:
            self._log.warning("directory.brake", customer=name)
            self._incidents.add("directory-brake", name)
        else:
            self._log.error("directory.failed", customer=name, exit_status=status)
            self._incidents.add("directory-failed", name, reason="sync")
        return status in (0, BRAKED)

    def _credential_well(self, directory: Directory) -> bool:
        """Report a credential that expires; False if there is none to use."""
        name = directory.customer
        try:
            credential = factory.credential_of(directory)
        except RecorderError as problem:
            self._log.fault("directory.failed", problem, customer=name)
            self._incidents.add("directory-failed", name, reason="credential")
            return False
        if factory.warning(credential, datetime.now(UTC)):
            self._log.warning("directory.credential_expires", customer=name)
            self._incidents.add("directory-credential", name, reason="expires")
        return True


async def _synchronised(config: Path, customer: str) -> tuple[int, dict[str, Any]]:
    """Run the command; return its exit status, negative for a signal, and its output."""
    words = ["directory", "sync", "--customer", customer, "--config", str(config), "--json", "--unattended"]
    process = await asyncio.create_subprocess_exec(
        *python_command.command("recorder", *words),
        env=python_command.environment(),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,  # its messages are for a terminal
    )
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, process.pid, NICE)
    try:
        async with asyncio.timeout(LONGEST_SECONDS):
            printed, _ = await process.communicate()
    except TimeoutError:
        printed = b""
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    try:
        counted = json.loads(printed)
    except ValueError:
        counted = {}
    return process.returncode or 0, counted if isinstance(counted, dict) else {}
