"""Commands about the directory of users."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recorder import output
from recorder.cli_calls import with_customers
from recorder.cli_options import DEFAULT_CONFIG, AsJson, Config
from recorder.errors import Negative, NotPossible
from recorder.settings_files import load
from recorder.shell_acts import ROLE, actor

if TYPE_CHECKING:
    from storage.users import Plan

BRAKE_PERCENT = 5
"""An import that would make more of the active users inactive asks first: a broken filter looks like that."""


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    help = "Directory users. Example: recorder directory import people.csv --customer acme"
    directory = typer.Typer(no_args_is_help=True, help=help, rich_markup_mode=None)
    directory.callback()(_directory)
    directory.command("import")(import_file)
    app.add_typer(directory, name="directory")


def _directory() -> None:
    """Directory users. Example: recorder directory import people.csv --customer acme"""


def import_file(
    file: Annotated[Path, typer.Argument(help="CSV in UTF-8; the first line names the columns.")],
    customer: Annotated[str, typer.Option(help="Whose directory it is.")],
    partial: Annotated[bool, typer.Option("--partial", help="Keep users that the file does not name.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help=f"Also if over {BRAKE_PERCENT} % of the users leave.")] = False,
    config: Config = DEFAULT_CONFIG,
    json: AsJson = False,
) -> int:
    """Take users over from a CSV file; who is no more in it becomes inactive.

    Columns: first_name, last_name, account_name, email, upn, object_id, numbers, addresses (several values with
    semicolons). Example: recorder directory import people.csv --customer acme
    """
    from recorder.directory_file import read

    try:
        data = file.read_bytes()
    except OSError as problem:
        raise NotPossible(f"{file} cannot be read: {problem.strerror}.") from None
    people = read(data)

    async def work(one: Any) -> dict[str, Any]:
        plan = await one.users.plan(people, "csv", whole=not partial)
        if plan.unmapped_percent > BRAKE_PERCENT and not (yes or dry_run):
            raise Negative(
                f"{len(plan.unmapped)} of {plan.active} users are not in the file and would become inactive.",
                "Look at the file; --yes does it, --partial keeps them, --dry-run counts.",
            )
        if not dry_run:
            await _note(one, plan)
            await one.users.carry_out(plan)
        return _counts(plan)

    found = with_customers(load(config), customer, work)[0]
    if json:
        output.document({"customer": customer, "done": not dry_run, **found})
    else:
        output.facts({name.replace("_", " "): count for name, count in found.items()})
    return 0


def _counts(plan: Plan) -> dict[str, int]:
    return {
        "added": len(plan.added),
        "changed": len(plan.changed),
        "unmapped": len(plan.unmapped),
        "unchanged": plan.same,
    }


async def _note(customer: Any, plan: Plan) -> None:
    """Write the import into the audit log before it is done."""
    from storage.audit_chain import Act

    told = ", ".join(f"{count} {name}" for name, count in _counts(plan).items())
    act = Act(actor(), ROLE, "users.import", "", "done", told)
    await asyncio.wrap_future(customer.audit.append(act))
