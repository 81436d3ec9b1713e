"""Commands for the journals of several nodes: accept."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

from recorder.cli import console
from recorder.cli.options import DEFAULT_CONFIG, AsJson, Config, OneCustomer
from recorder.config.loader import load
from recorder.errors import Negative, WrongUse
from recorder.runtime.service_user import become_owner


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    help = "The journals of nodes that share a database.\n\nExample: recorder journal accept --node 2 --reason TEXT"
    journal = typer.Typer(no_args_is_help=True, help=help, rich_markup_mode=None)
    journal.callback()(_group)
    journal.command("accept")(accept)
    app.add_typer(journal, name="journal")


def _group() -> None:
    """Make `accept` a subcommand although it is the only one."""


def accept(
    node: Annotated[int, typer.Option(help="Number of the node whose lines are lost.", min=1, max=255)],
    reason: Annotated[str, typer.Option(help="Why they are lost; it is written into the audit log.")],
    customer: OneCustomer = None,
    config: Config = DEFAULT_CONFIG,
    json: AsJson = False,
) -> int:
    """Serve databases without the journal lines that a node lost.

    A database that lost commits is not served until each node has given back its lines: they may hold legal holds. Use
    this only if the node's disk is lost for good: what these lines held is lost too. The database keeps what it has.

    Example: recorder journal accept --node 2 --reason "both disks of rec2 failed, database of 2 o'clock restored"
    """
    from recorder.maintenance.journal_loss import accept_loss

    settings = load(config)
    become_owner(settings.node.data_dir)
    if settings.node.number == 0:
        raise WrongUse("This recorder is the only node.", "The command is for several nodes that share a database.")
    if not reason.strip():
        raise WrongUse("The reason is empty.", "Say why the lines are lost; the audit log keeps the reason.")
    wanted = [each for each in settings.customers if customer in (None, each.name)]
    if not wanted:
        raise WrongUse(f"There is no customer {customer!r}.", "recorder check-config checks the configuration.")
    found: list[dict[str, Any]] = []
    for each in wanted:
        lost = asyncio.run(accept_loss(settings, each, node, reason.strip()))
        found += [] if lost is None else [{"customer": each.name, "first": lost[0], "last": lost[1]}]
    if not found:
        raise Negative(f"No database lacks lines of node {node}.", "recorder node list shows the nodes.")
    if json:
        console.document({"node": node, "customers": found})
        return 0
    for one in found:
        print(f"{one['customer']}: served without lines {one['first']} to {one['last']} of node {node}.")
    return 0
