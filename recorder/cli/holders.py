"""Commands for nodes that hold keys: admit, retire. They are part of `recorder node`."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from recorder.cli import console
from recorder.cli.options import DEFAULT_CONFIG, AsJson, Config
from recorder.config.loader import load
from recorder.config.model import Settings
from recorder.errors import NotPossible, WrongUse

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from storage.customer.customers import Customer
    from storage.holders.holder import Holder

V = TypeVar("V")
AdmitRow = Callable[["AsyncConnection", str, int], Awaitable[None]]
RetireRow = Callable[["AsyncConnection", str], Awaitable[None]]

LOOK_SECONDS = 0.5
"""Pause between two checks whether all other nodes know about an admission."""


def add_to(node: typer.Typer, admit_row: AdmitRow, retire_row: RetireRow) -> None:
    """Add these commands; `admit_row` and `retire_row` write the row of a node in the table `nodes`."""

    @node.command("admit")
    def admit(
        name: Annotated[str | None, typer.Argument(metavar="node", help="Step 2: name of the new node.")] = None,
        number: Annotated[int | None, typer.Option("--number", min=1, max=255, help="Its [node] number.")] = None,
        recipient: Annotated[
            str | None, typer.Option("--recipient", "-r", help="The recipient that step 1 printed: age1….")
        ] = None,
        to: Annotated[Path | None, typer.Option("-o", "--output", help="File to write, for the new node.")] = None,
        file: Annotated[Path | None, typer.Option("--file", help="Step 3: the file that step 2 wrote.")] = None,
        wait: Annotated[float, typer.Option("--wait", help="Seconds to wait for all other nodes.")] = 60.0,
        config: Config = DEFAULT_CONFIG,
        json: AsJson = False,
    ) -> int:
        """Give a new node the keys of all customers, in three steps.

        Example: recorder node admit

        1. On the new node, whose data_dir is empty: recorder node admit prints a recipient, age1….
        2. On a node with the keys: recorder node admit NAME --number N --recipient age1… -o FILE. It writes the file
        once all other nodes know of the new one, and may be repeated.
        3. Copy the file to the new node and run there: recorder node admit --file FILE. Then start its recorder, and
        delete the file.
        """
        settings = _several(config)
        if file is not None:
            return _install(settings, file, json=json)
        if name is None:
            return _print_recipient(settings, json=json)
        if number is None or recipient is None or to is None:
            hint = f"recorder node admit {name} --number N --recipient age1… -o FILE"
            raise WrongUse("To admit a node, --number, --recipient and -o are needed.", hint)
        return _write_file(settings, name, recipient, to, partial(_numbered, admit_row, name, number), wait, json=json)

    @node.command("retire")
    def retire(
        name: Annotated[str, typer.Argument(metavar="node", help="Name of the node that is gone.")],
        yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
        config: Config = DEFAULT_CONFIG,
        json: AsJson = False,
    ) -> int:
        """Remove a node for good. Erasures no longer wait for it.

        Example: recorder node retire rec2

        Its recorder must have stopped, or been silent for two days. If it starts again, it opens nothing and overwrites
        its keys. The other nodes do not get the calls that only it has.
        """
        return _retire(_several(config), name, partial(_named, retire_row, name), yes=yes, json=json)


def _retire(
    settings: Settings, name: str, row: Callable[[AsyncConnection], Awaitable[None]], *, yes: bool, json: bool
) -> int:
    if name == settings.node.name:
        raise WrongUse("A node cannot retire itself.", "Run the command on a node that stays.")
    returning = sorted({each for one in _each(settings, _returning) for each in one} - {name})
    if returning:
        warning = f"{', '.join(returning)} is still returning: what only {name} has erased so far may open again."
        _confirm(f"{warning} Retire {name} nevertheless?", yes=yes)
    _confirm(f"Retire node {name} for good?", yes=yes)
    _each(settings, lambda holder: holder.retire(name, row))
    if json:
        console.document({"name": name, "state": "retired"})
    else:
        print(f"{name} is retired. Destroy the disks with its keys/, or start it once: it then overwrites them.")
    return 0


def _confirm(question: str, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise WrongUse("Retiring a node cannot be undone.", "Add --yes.")
    if not typer.confirm(question):
        raise NotPossible("Nothing was changed.")


async def _numbered(row: AdmitRow, name: str, number: int, connection: AsyncConnection) -> None:
    await row(connection, name, number)


async def _named(row: RetireRow, name: str, connection: AsyncConnection) -> None:
    await row(connection, name)


async def _returning(holder: Holder) -> tuple[str, ...]:
    return await holder.returning()


def _several(config: Path) -> Settings:
    settings = load(config, files=False)
    if not settings.node.number:
        raise WrongUse("This recorder is the only node.", "Give it a [node] number first: docs/cluster.md.")
    return settings


def _print_recipient(settings: Settings, *, json: bool) -> int:
    from recorder.maintenance.node_admission import prepare

    recipient = prepare(settings)
    node = settings.node
    if json:
        console.document({"name": node.name, "number": node.number, "recipient": recipient})
        return 0
    print(f"Recipient: {recipient}")
    print(
        f"Next, on a node with the keys: recorder node admit {node.name} --number {node.number} -r {recipient} -o FILE"
    )
    return 0


def _install(settings: Settings, file: Path, *, json: bool) -> int:
    from recorder.cli.keys import alone
    from recorder.maintenance.node_admission import take

    with alone(settings):
        names = take(settings, file)
    if json:
        console.document({"customers": names})
        return 0
    print(f"This node has the keys of {', '.join(names)}, under its own root secret.")
    print(f"Next: delete {file}, which opens nothing any more, and start the recorder.")
    return 0


def _write_file(
    settings: Settings,
    name: str,
    recipient: str,
    to: Path,
    row: Callable[[AsyncConnection], Awaitable[None]],
    wait: float,
    *,
    json: bool,
) -> int:
    from recorder.maintenance.node_admission import check, hand_over

    check(recipient, to)
    until = time.monotonic() + wait

    async def work(holder: Holder) -> tuple[str, ...]:
        await holder.admit(name, row)
        while (left := await holder.ready_for(name)) and time.monotonic() < until:  # noqa: ASYNC110 - other nodes
            await asyncio.sleep(LOOK_SECONDS)
        return left

    if left := sorted({each for one in _each(settings, work) for each in one}):
        raise NotPossible(
            f"The file is not written, because these nodes do not know of {name} yet: {', '.join(left)}.",
            "Start their recorders, or retire nodes that are gone; then run the command again.",
        )
    names = hand_over(settings, recipient, to)
    if json:
        console.document({"name": name, "file": str(to), "customers": names})
        return 0
    print(f"{to}: the keys of {', '.join(names)}; only {name} can open the file.")
    print(f"Next, on {name}: recorder node admit --file {to.name}, and start its recorder.")
    return 0


def _each(settings: Settings, work: Callable[[Holder], Awaitable[V]]) -> list[V]:
    """Return what `work` returns for the holder of each customer's keys, in the order of the customers."""
    from recorder.persist.customers import open_customers
    from recorder.runtime.service_user import acting_as_owner

    async def run() -> list[V]:
        customers = await open_customers(settings)
        try:
            return [await work(_holder(each)) for each in customers.values()]
        finally:
            await customers.close()

    with acting_as_owner(settings.node.data_dir):
        return asyncio.run(run())


def _holder(customer: Customer) -> Holder:
    if customer.holder is None:
        raise NotPossible("Several nodes need PostgreSQL.", "Name it in [storage] database.")
    return customer.holder
