"""Accept that journal lines of a node are lost, so that the recorder serves the database without them."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from recorder.config.model import Customer as Configured
from recorder.config.model import Settings
from recorder.maintenance.cli_audit import record
from recorder.persist.customers import open_one
from storage.errors import LinesMissing
from storage.journal.node_journal import accept, lacking
from storage.keys.root_secret import load_root


async def accept_loss(settings: Settings, configured: Configured, node: int, reason: str) -> tuple[int, int] | None:
    """Accept the loss of a node's lines; return the numbers of the first and the last, None if none is missing.

    First give the database back the lines that this node has itself. Raises StorageError.
    """
    customer = open_one(settings, configured, load_root(settings.keys.root))
    try:
        await asyncio.to_thread(customer.complete)
        database, shared = customer.database, customer.journal.shared
        if shared is None:
            return None
        await database.prepare(customer.now())
        with database.opening():
            with suppress(LinesMissing):
                await shared.settle(database)
            lost = await lacking(database, node)
            if lost is not None:
                text = f"node {node}, lines {lost[0]} to {lost[1]}: {reason}"
                await asyncio.to_thread(record, customer.audit, "journal.accept", reason=text)
                await accept(database, node)
            return lost
    finally:
        await customer.close()
