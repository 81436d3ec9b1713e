"""The API and page of one of several nodes that share a PostgreSQL database, in its own thread."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest
import sqlalchemy as sa

from storage.access import shared_rows
from storage.access.documents import Replacement
from storage.customer.customers import Customer, Customers, CustomerSettings, Place, open_closed
from storage.database.database_clock import MICROS
from storage.database.schema import page_sessions
from storage.keys.root_secret import RootSecret
from tests.in_process.api_service import CALLS, NAMES, row
from tests.in_process.shared_keys import settled
from tests.in_process.sign_in_service import SignInService
from tests.in_process.storage_node import emptied

BEGUN = round(time.time())
NO_ACCOUNTS = b'{"version": 1, "accounts": []}'


class SharedService(SignInService):
    """A service whose tokens, accounts, sessions and failed attempts are in the database.

    The database's clock is set, like the service's: it shows the latest time of all nodes.
    """

    several = True
    _running: ClassVar[list[SharedService]] = []

    def __init__(
        self, folder: Path, url: str, number: int = 1, *, required: bool = False, providers: Any = None
    ) -> None:
        self.url, self.number = url, number
        self._stopped = pytest.MonkeyPatch()
        self._stopped.setattr(shared_rows, "clock", _clock)
        self.later = 0.0
        self._running.append(self)
        super().__init__(folder, required=required, providers=providers)
        self._begun = float(round(self._begun))  # whole seconds, which the database does not round

    def empty(self) -> None:
        """Remove all accounts, sessions and failures."""
        self.run(self._forget())
        super().empty()

    def close(self) -> None:
        """Stop everything."""
        self._running.remove(self)
        self._stopped.undo()
        super().close()

    @classmethod
    def latest(cls) -> float:
        """Return the largest offset of all nodes' clocks."""
        return max(each.later for each in cls._running)

    async def _forget(self) -> None:
        for customer in self.customers.values():
            async with customer.database.writing() as connection:
                await connection.execute(page_sessions.delete())
            if customer.shared is not None:
                await customer.shared.documents.accounts.changing(lambda data: Replacement(NO_ACCOUNTS))

    async def _open(self) -> Customers:
        if self.number == 1:
            for name in NAMES:
                await (await emptied(self.url, name, self.folder)).close()
        opened = [self._closed(name) for name in NAMES]
        for customer in opened:
            await customer.open_database()
            await settled(customer)
            for other in self._running[: self._running.index(self)]:
                await asyncio.to_thread(other.run, settled(other.customers[customer.name]))
            await settled(customer)
        return Customers(opened)

    def _closed(self, name: str) -> Customer:
        place = Place(self.folder, self.url, lambda: datetime.now(UTC), node=f"rec{self.number}", several=True)
        root = RootSecret(bytes(range(32)))
        return open_closed(CustomerSettings(name), place, root, node=self.number, create=self.number == 1)

    async def fill(self, customer: str) -> list[str]:
        if self.number == 1:
            return await super().fill(customer)
        return [row(number, customer)[0].id for number in range(CALLS)]


def _clock() -> sa.ColumnElement[int]:
    return sa.literal(round((BEGUN + SharedService.latest()) * MICROS), sa.BigInteger)
