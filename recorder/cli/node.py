"""Commands for several nodes: list, drain; admit and retire are in recorder.cli.holders."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from recorder.cli import console, holders
from recorder.cli.options import DEFAULT_CONFIG, AsJson, Config, OneCustomer
from recorder.config.loader import load
from recorder.config.model import Settings
from recorder.errors import WrongUse
from storage.timestamps import rfc3339

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncConnection

    from storage.database.database import Database
    from storage.nodes.rows import NodeRow

V = TypeVar("V")


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    help = "Nodes that share the databases.\n\nExample: recorder node list"
    node = typer.Typer(no_args_is_help=True, help=help, rich_markup_mode=None)
    node.command("list")(list_)
    node.command("drain")(drain)
    holders.add_to(node, _admit_row, _retire_row)
    app.add_typer(node, name="node")


def list_(customer: OneCustomer = None, config: Config = DEFAULT_CONFIG, json: AsJson = False) -> int:
    """List the nodes that share each customer's database. It shows the state of each.

    Example: recorder node list

    active: it renewed its row within 30 s. draining: the same, and it takes no new calls. away: it was stopped or
    cannot reach the database. pending: it is admitted and has not started yet. retired: it may not write any more; its
    number is free after two days. A recorder with SQLite is the only node and is not listed.
    """
    from storage.nodes.rows import listed

    found = each_database(load(config, files=False), customer, listed)
    items = [_item(name, row, cuts) for name, rows in found.items() for row, cuts in rows]
    if json:
        console.document({"items": items})
    else:
        _table(items)
    return 0


def drain(
    name: Annotated[str, typer.Argument(metavar="node", help="Name of the node: [node] name in its configuration.")],
    undo: Annotated[bool, typer.Option("--undo", help="Let it take calls again.")] = False,
    config: Config = DEFAULT_CONFIG,
    json: AsJson = False,
) -> int:
    """Let a node take no new calls, before it is stopped or upgraded.

    Example: recorder node drain rec2

    Within 10 s it answers INVITE and OPTIONS with 503, so that SBCs go on to another node. Its running calls and
    everything else go on, and a restart does not end the draining. Run it on any node; you may repeat it.
    """
    from storage.nodes.membership import drain as change
    from storage.nodes.rows import NodeState

    settings = load(config, files=False)

    async def work(database: Database) -> NodeRow | None:
        with database.opening():
            async with database.writing() as connection:
                return await change(connection, name, undo=undo)

    if settings.node.number == 0:
        hint = "recorder serve --drain lets its calls end before it stops."
        raise WrongUse("This recorder is the only node.", hint)
    items = []
    for customer, row in each_database(settings, None, work).items():
        if row is None:
            hint = "recorder node list shows its nodes."
            raise WrongUse(f"The database of customer {customer} has no node {name}.", hint)
        if row.state in (NodeState.PENDING, NodeState.RETIRED):
            raise WrongUse(f"Node {name} is {row.state.value}: it takes no calls.", "recorder node list shows it.")
        items.append(_item(customer, row, None))
    if json:
        console.document({"items": items})
    else:
        print(f"{name} takes calls again within 10 s." if undo else f"{name} takes no new calls within 10 s.")
    return 0


def _table(items: list[dict[str, Any]]) -> None:
    columns = ("customer", "number", "name", "state", "lease_until", "cuts")
    shown = [["-" if item[key] is None else item[key] for key in columns] for item in items]
    console.table(("customer", "number", "node", "state", "until", "cuts"), shown)


async def _admit_row(connection: AsyncConnection, name: str, number: int) -> None:
    from storage.nodes import membership

    await membership.admit(connection, name, number)


async def _retire_row(connection: AsyncConnection, name: str) -> None:
    from storage.nodes import membership

    await membership.retire(connection, name)


def _item(customer: str, row: NodeRow, cuts: int | None) -> dict[str, Any]:
    return {
        "customer": customer, "name": row.name, "number": row.number, "state": row.shown.value,
        "lease_until": rfc3339(row.lease_until), "cuts": cuts, "fingerprint": row.tree or None,
    }  # fmt: skip


def each_database(settings: Settings, name: str | None, work: Callable[[Database], Awaitable[V]]) -> dict[str, V]:
    """Return what `work` returns for the database of each customer, by name, without opening the databases."""
    from storage.customer.settings import customer_folder
    from storage.database.database import Database

    wanted = [each.name for each in settings.customers if name in (None, each.name)]
    if not wanted:
        raise WrongUse(f"There is no customer {name!r}.", "recorder check-config checks the configuration.")

    async def run() -> dict[str, V]:
        done = {}
        for each in wanted:
            database = Database(settings.storage.database, each, customer_folder(settings.node.data_dir, each))
            try:
                done[each] = await work(database)
            finally:
                await database.close()
        return done

    return asyncio.run(run())
