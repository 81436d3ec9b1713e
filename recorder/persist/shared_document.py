"""Change tokens and accounts from a command, where several nodes share them; each change opens the database.

What is read is this node's copy, brought up to date when the document is opened.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from storage.access.documents import Change, Document
    from storage.access.shared_documents import SharedDocuments
    from storage.customer.customers import Customer

Opening = Callable[[], Awaitable["Customer"]]
"""Opens the customer with its database."""


class CommandDocument:
    """The tokens or the accounts of a customer, for a command (storage.access.documents.Document)."""

    def __init__(self, copy: Document, opening: Opening, which: Callable[[SharedDocuments], Document]) -> None:
        """`copy` is this node's; `which` chooses the document. Brings the copy up to date; raises StorageError."""
        self.name = copy.name
        self.signature = copy.signature
        self.read = copy.read
        self._opening = opening
        self._which = which
        asyncio.run(self._change(None))

    def change(self, change: Change) -> None:
        """Change it for all nodes."""
        asyncio.run(self._change(change))

    async def changing(self, change: Change) -> None:
        """Change it for all nodes."""
        await self._change(change)

    async def _change(self, change: Change | None) -> None:
        customer = await self._opening()  # which follows the other nodes
        try:
            if change is not None and customer.shared is not None:
                await self._which(customer.shared.documents).changing(change)
        finally:
            await customer.close()
