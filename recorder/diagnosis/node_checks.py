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

AWAY = "bring it back; if it is gone for good: recorder node retire {} once it was silent for two days"


def nodes(settings: Settings) -> Iterator[Check]:
    """Look what each database says of this node, and of the others."""
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
                detail = f"{row} does not serve; an erasure waits until it does or is retired"
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
        return fail(name, f"it is not a node of this database: {row or 'no row'}", f"recorder node admit {me}")
    if row.shown is NodeState.ACTIVE:
        return ok(name, f"it serves as number {row.number}")
    if row.shown is NodeState.DRAINING:
        return warn(name, "it drains: SBCs get 503 for new calls", f"recorder node drain {me} --undo")
    remedy = Installation.of(settings.source).command("check-config --start")
    return fail(name, f"it does not serve: it is {row.shown.value}", remedy)
