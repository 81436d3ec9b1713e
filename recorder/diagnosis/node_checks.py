"""Checks of the nodes that share the databases, where there are several."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from recorder.config.installation import Installation
from recorder.config.model import Settings
from recorder.diagnosis.check import Check, fail, ok, warn
from storage.customer.settings import customer_folder
from storage.database.database import Database
from storage.errors import StorageError
from storage.nodes.rows import NodeRow, NodeState, listed

AWAY = "Start it again. If it is gone for good, retire it once it has been silent for two days: recorder node retire {}"


def nodes(settings: Settings) -> Iterator[Check]:
    """Check this node and the others in the database of each customer."""
    how = Installation.of(settings.source)
    for customer in settings.customers:
        try:
            found = asyncio.run(_listed(settings, customer.name))
        except StorageError as problem:
            yield fail(f"node.{customer.name}", str(problem), problem.hint or how.command("node list"))
            continue
        yield _own(settings, customer.name, next((row for row in found if row.number == settings.node.number), None))
        for row in found:
            if row.number != settings.node.number and row.shown is NodeState.AWAY:
                detail = f"{row} is away: erasures wait until it runs again or is retired"
                yield warn(f"node.{customer.name}.{row.number}", detail, AWAY.format(row.name))


async def _listed(settings: Settings, customer: str) -> list[NodeRow]:
    database = Database(settings.storage.database, customer, customer_folder(settings.node.data_dir, customer))
    try:
        return [row for row, _ in await listed(database)]
    finally:
        await database.close()


def _own(settings: Settings, customer: str, row: NodeRow | None) -> Check:
    name, me = f"node.{customer}", settings.node.name
    if row is None or row.name != me:
        detail = "this node has no row in this database" if row is None else f"{row} has this node's number"
        return fail(name, detail, f"recorder node admit {me}")
    if row.shown is NodeState.ACTIVE:
        return ok(name, f"this node serves as number {row.number}")
    if row.shown is NodeState.DRAINING:
        return warn(name, "this node drains: SBCs get 503 for new calls", f"recorder node drain {me} --undo")
    remedy = Installation.of(settings.source).command("check-config --start")
    return fail(name, f"this node does not serve: it is {row.shown.value}", remedy)
