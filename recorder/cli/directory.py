"""Commands for the directory of users."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recorder.cli import console
from recorder.cli.calls import with_customers
from recorder.cli.options import DEFAULT_CONFIG, AsJson, Config
from recorder.cli.progress import watched
from recorder.config.loader import load
from recorder.errors import Negative, NotPossible, WrongUse
from recorder.maintenance.cli_audit import ROLE, actor

if TYPE_CHECKING:
    from recorder.config.model import Directory, Settings
    from recorder.directory.delta import Page
    from recorder.directory.sync import Report
    from storage.access.actor import Actor
    from storage.directory.user_store import Plan

BRAKE_PERCENT = 5
"""An import that would make more of the active users inactive asks first: a broken filter looks the same."""


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    help = "Directory users.\n\nExample: recorder directory sync --customer acme"
    directory = typer.Typer(no_args_is_help=True, help=help, rich_markup_mode=None)
    directory.callback()(_directory)
    directory.command("sync")(sync)
    directory.command("check")(check)
    directory.command("import")(import_file)
    app.add_typer(directory, name="directory")


def _directory() -> None:
    """Directory users.

    Example: recorder directory sync --customer acme
    """


def import_file(
    file: Annotated[Path, typer.Argument(help="CSV in UTF-8; the first line names the columns.")],
    customer: Annotated[str, typer.Option(help="Customer whose directory it is.")],
    partial: Annotated[bool, typer.Option("--partial", help="Keep users that are not in the file.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, but change nothing.")] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help=f"Import even if over {BRAKE_PERCENT} % of the users become inactive.")
    ] = False,
    config: Config = DEFAULT_CONFIG,
    json: AsJson = False,
) -> int:
    """Import users from a CSV file. Users who are no longer in it become inactive.

    Columns: first_name, last_name, account_name, email, upn, object_id, numbers, addresses (several values with
    semicolons).

    Example: recorder directory import people.csv --customer acme
    """
    from recorder.directory.csv_import import read
    from recorder.directory.matching_lock import importing, importing_for_all, matching_for_all
    from recorder.directory.sync import Report
    from storage.batches import BATCH

    people = read(_contents(file))

    async def take_over(one: Any) -> Report:
        plan = await one.users.plan(people, "csv", whole=not partial)
        if plan.asks(BRAKE_PERCENT) and not (yes or dry_run):
            raise Negative(
                f"{len(plan.unmapped)} of {plan.active} users are not in the file and would become inactive.",
                "Check the file; --yes imports it, --partial keeps these users, --dry-run only counts.",
            )
        if dry_run:
            return Report(plan.counts, whole=not partial)
        await _noted(one, plan, actor(), ROLE)
        async with matching_for_all(one) as ours:
            with watched("users") as shown:
                done = 0
                for piece in plan.pieces(BATCH):
                    await one.users.carry_out(piece)
                    shown(done := done + piece.size, plan.size)
            if not partial:
                await one.users.completed(plan)
            return Report(plan.counts, not partial, await _looked(one, ours=ours))

    async def work(one: Any) -> Report:
        with importing(one) as alone:
            async with importing_for_all(one) as turn:
                if not (alone and turn):
                    raise NotPossible("Users are being imported already.", "Try again in a minute.")
                return await take_over(one)

    report: Report = with_customers(load(config), customer, work)[0]
    _tell(customer, report, done=not dry_run, json=json)
    return 0


def _contents(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise WrongUse(f"There is no file {file}.") from None
    except OSError as problem:
        raise NotPossible(f"{file} cannot be read: {problem.strerror}.") from None


def sync(
    customer: Annotated[str, typer.Option(help="Customer whose directory it is.")],
    whole: Annotated[bool, typer.Option("--whole", help="Ask for all users, not only for changes.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, but change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it even if brake_percent would stop it.")] = False,
    config: Config = DEFAULT_CONFIG,
    json: AsJson = False,
    unattended: Annotated[bool, typer.Option("--unattended", hidden=True)] = False,
) -> int:
    """Import changes from Microsoft Entra ID. The daemon may be running or not.

    Example: recorder directory sync --customer acme --dry-run
    """
    from recorder.directory import factory
    from recorder.directory.matching_lock import importing_for_all, matching_for_all
    from recorder.directory.sync import SOURCE, synchronise
    from storage.access.actor import RECORDER
    from storage.directory.delta_link import DirectoryLink
    from storage.directory.sync_pages import DirectoryPages

    settings = load(config)
    directory = _configured(settings, customer)
    credential = factory.credential_of(directory)
    by = (RECORDER, "system") if unattended else (actor(), ROLE)

    async def work(one: Any) -> Report:
        link = DirectoryLink(one.folder, one.keys, SOURCE)
        async with AsyncExitStack() as held:
            alone, turn = held.enter_context(link.alone()), await held.enter_async_context(importing_for_all(one))
            ours = await held.enter_async_context(matching_for_all(one))
            if not (alone and turn):
                raise NotPossible("The directory is being synchronised already.", "Try again in a minute.")
            async with factory.client_of(directory, credential) as graph:
                with watched("users") as shown:
                    report = await synchronise(
                        one.users,
                        link,
                        DirectoryPages(one.folder, one.keys, SOURCE, one.cutter),
                        graph,
                        one.now,
                        whole=whole,
                        brake=None if yes or dry_run else directory.brake_percent,
                        told=None if dry_run else lambda plan: _noted(one, plan, *by),
                        progress=shown,
                    )
            return report if dry_run else replace(report, calls=await _looked(one, ours=ours))

    report: Report = with_customers(settings, customer, work)[0]
    _tell(customer, report, done=not dry_run, json=json)
    return 0


def check(
    customer: Annotated[str, typer.Option(help="Customer whose directory it is.")],
    config: Config = DEFAULT_CONFIG,
    json: AsJson = False,
) -> int:
    """Check that Microsoft Entra ID lets the recorder read users. Report what is missing.

    Example: recorder directory check --customer acme
    """
    from recorder.directory import factory
    from recorder.directory.delta import known_by

    directory = _configured(load(config), customer)
    credential = factory.credential_of(directory)
    warning = factory.warning(credential, datetime.now(UTC))

    async def ask() -> Page:
        async with factory.client_of(directory, credential) as graph:
            return await graph.check()

    seen = known_by(asyncio.run(ask()))
    expires = credential.expires.date().isoformat() if credential.expires else None
    if json:
        found = {"customer": customer, "readable": True, "credential_expires": expires, "warning": warning}
        console.document({**found, "looked_at": seen})
    else:
        unknown = "unknown; set secret_expires in the configuration"
        ways = f"{seen['numbers']} have a number, {seen['sip']} a SIP address, {seen['mail']} e-mail or UPN"
        first = {"users": "can be read", f"the first {seen['users']}": ways}
        console.facts({**first, "credential expires": expires or unknown})
        if seen["users"] and not seen["numbers"]:
            console.say("None of them has a number, so calls are matched by SIP or e-mail address only.")
        if warning:
            console.say(warning)
    return 0


async def _looked(customer: Any, *, ours: bool) -> int | None:
    """Look at the calls that a change of users affects; None if the daemon does it."""
    from recorder.directory.matching_lock import look

    if not ours:
        return None
    with watched("calls") as shown:
        return await look(customer, shown)


def _tell(customer: str, report: Report, *, done: bool, json: bool) -> None:
    """Print what changed or would change."""
    if json:
        found = {"customer": customer, "done": done, "whole": report.whole, **report.counts}
        console.document({**found, "calls_changed": report.calls})
        return
    calls = "matched by the daemon" if report.calls is None else f"{report.calls} got or lost a user"
    console.facts({**report.counts, **({"calls": calls} if done else {})})
    if not done:
        console.say("Nothing was changed.")


def _configured(settings: Settings, customer: str) -> Directory:
    directory = settings.directory(customer)
    if directory is None:
        raise WrongUse(f"Customer {customer!r} has no [[directory]] in the configuration.", "docs/entra.md shows one.")
    return directory


async def _noted(customer: Any, plan: Plan, actor: Actor, role: str) -> None:
    """Write a change of users to the audit log before it is made."""
    from storage.audit.hash_chain import Act

    told = ", ".join(f"{count} {name}" for name, count in plan.counts.items())
    await asyncio.wrap_future(customer.audit.append(Act.of(actor, role, "users.import", "", "done", told)))
