"""Commands for retention and the audit log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from recorder.cli import console
from recorder.cli.calls import with_customers
from recorder.cli.options import DEFAULT_CONFIG, AsJson, Config, OneCustomer, WhichCustomer
from recorder.config.loader import load
from recorder.config.model import Settings
from recorder.errors import Negative, NotPossible, WrongUse
from recorder.runtime.service_user import become_owner
from storage.files.durable_files import denied


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("retention")(retention)
    help = "The audit log.\n\nExample: recorder audit verify"
    audit = typer.Typer(no_args_is_help=True, help=help, rich_markup_mode=None)
    audit.command("verify")(audit_verify)
    audit.command("accept")(audit_accept)
    app.add_typer(audit, name="audit")


def retention(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what the next sweep would erase.")] = False,
    customer: OneCustomer = None,
    config: Config = DEFAULT_CONFIG,
    json: AsJson = False,
) -> int:
    """Show which calls the next sweep would erase, and why.

    Example: recorder retention --dry-run
    """
    from recorder.maintenance.retention_preview import preview_retention
    from recorder.runtime.trusted_clock import WallClock, readings

    if not dry_run:
        hint = "Add --dry-run to see what the next one would erase."
        raise WrongUse("The daemon runs the sweeps, at its start and every sweep_seconds.", hint)
    settings = load(config)
    now = WallClock.of(settings.node.runtime_dir).read(*readings())
    percent = settings.retention.brake_percent
    found = with_customers(settings, customer, lambda c: preview_retention(c, now, percent))
    if json:
        items = [item for part in found for item in part["items"]]
        console.document({"at": found[0]["at"], "items": items, "customers": found})
        return 0
    for part in found:
        due = [*part["items"], *part["asks"]]
        rows = [(item["id"], item["ended_at"], item["erase_after"], item["why"]) for item in due]
        if rows:
            console.table(("id", "ended", "kept until", "why"), rows)
        print(f"{part['customer']}: {len(part['items'])} of {part['calls']} calls would be erased.")
        if part["asks"]:
            print(f"brake_percent = {percent} holds {len(part['asks'])} of them back until somebody approves.")
    return 0


def audit_verify(
    receipt: Annotated[Path | None, typer.Option(help="Check this receipt or record of a request instead.")] = None,
    witness: Annotated[
        Path | None, typer.Option(help="Also compare the logs with checkpoints that a witness kept in this file.")
    ] = None,
    customer: OneCustomer = None,
    config: Config = DEFAULT_CONFIG,
    json: AsJson = False,
) -> int:
    """Check every customer's audit log, or one receipt, offline.

    Example: recorder audit verify --receipt r.json

    Of several nodes, the copies of the others' logs are checked too; they are in the database.
    """
    settings = load(config)
    if receipt is not None:
        return _receipt(settings, receipt, customer, json=json)
    from recorder.maintenance.proof_check import prove, prove_removed, witnessed
    from storage.customer.removed_customers import removed

    marks = witnessed(_content(witness)) if witness is not None else []
    gone = [name for name in removed(settings.node.data_dir) if customer in (None, name)]
    wanted = [] if customer in gone else _wanted(settings, customer)
    found = [prove(settings, each, marks) for each in wanted]
    found += [prove_removed(settings, name, marks) for name in gone]
    good = all(one["ok"] for one in found)
    if json:
        console.document({"ok": good, "customers": found})
        return 0 if good else 1
    for one in found:
        where = f"entry {one['bad']} " if one["bad"] is not None else ""
        mention = "all as written" if one["ok"] else f"then {where}{one['fault']}"
        print(f"{one['customer']}: {one['entries']} entries, {mention}.")
        for each in one["accepted"]:
            print(_accepted(each))
        if not one["ok"]:
            proven = f"entries 1 to {one['proven']}" if one["proven"] else "nothing"
            print(f"Proven by a signed checkpoint: {proven}.")
        for each in one.get("nodes", ()):
            print(_of_node(one["customer"], each))
    return 0 if good else 1


def _of_node(customer: str, each: dict[str, Any]) -> str:
    """Return the sentence about the copy of another node's log."""
    where = f"entry {each['bad']} " if each["bad"] is not None else ""
    mention = "all as written" if each["ok"] else f"then {where}{each['fault']}"
    return console.plain(f"{customer}, copy of node {each['node']}: {each['entries']} entries, {mention}.")


def _accepted(each: dict[str, Any]) -> str:
    """Return the sentence about a loss that was accepted."""
    lost = f"entries {each['first']} to {each['last']} of then" if each["last"] else "checkpoints beside the log"
    by = f"accepted {each['time'][:19]}Z by {each['actor']}"
    return console.plain(f"Lost and {by} in entry {each['entry']}: {lost} ({each['reason']}).")


def audit_accept(
    reason: Annotated[str, typer.Option(help="Why the log lacks entries; it is written into the log.")],
    customer: WhichCustomer = None,
    witness: Annotated[
        Path | None, typer.Option(help="Also accept a loss that only a witness's checkpoints in this file show.")
    ] = None,
    config: Config = DEFAULT_CONFIG,
    json: AsJson = False,
) -> int:
    """Accept once that an audit log lacks entries. This needs the root secret.

    It is for a log that lacks entries because a backup was restored. It writes a signed entry into the log, which
    covers what is missing now; a later loss is reported again.

    Example: recorder audit accept --customer acme --reason "restored the backup of 30 November after a disk failed"
    """
    from recorder.maintenance.cli_audit import accept
    from recorder.maintenance.proof_check import witnessed
    from storage.audit.hash_chain import AuditError

    settings = load(config, files=False)
    become_owner(settings.node.data_dir)
    if not reason.strip():
        raise WrongUse("The reason is empty.", "Say why entries are missing, for whoever reads the log.")
    wanted = _wanted(settings, customer)
    if len(wanted) > 1:
        raise WrongUse("There are several customers.", "Choose one with --customer.")
    name = wanted[0].name
    marks = witnessed(_content(witness)) if witness is not None else []
    try:
        entry = accept(settings, name, reason.strip(), [mark for mark in marks if mark.customer == name])
    except AuditError as problem:
        raise Negative(f"{problem}.", f"{problem.hint}.".capitalize()) from None
    if entry is None:
        raise Negative(f"The audit log of {name} lacks no entries.", "recorder audit verify checks it.")
    if json:
        console.document({"customer": name, "entry": entry})
        return 0
    print(f"{name}: entry {entry} accepts what the audit log lacks. Next: recorder audit verify")
    return 0


def _receipt(settings: Settings, path: Path, customer: str | None, *, json: bool) -> int:
    from recorder.maintenance.proof_check import prove_receipt
    from storage.customer.removed_customers import removed

    wanted = [] if customer in removed(settings.node.data_dir) else _wanted(settings, customer)
    found = prove_receipt(_content(path), settings, wanted)
    if json:
        console.document(found)
    elif found["ok"] and "request" in found:
        print(f"Genuine: request {found['request']} of {found['customer']}, {found['outcome']} {found['closed_at']}.")
    elif found["ok"]:
        calls = f"{found['calls']} call{'' if found['calls'] == 1 else 's'}"
        print(f"Genuine: {calls} of {found['customer']}, erased {found['done_at']}.")
    else:
        print(f"Not genuine: {found['fault']}.")
    return 0 if found["ok"] else 1


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise WrongUse(f"There is no file {path}.") from None
    except PermissionError:
        raise NotPossible(f"{denied(path)}.", "Run the command as its owner.") from None
    except OSError as problem:
        raise NotPossible(f"{path} cannot be read: {problem.strerror}.") from None


def _wanted(settings: Settings, name: str | None) -> list[Any]:
    wanted = [c for c in settings.customers if name in (None, c.name)]
    if not wanted:
        raise WrongUse(f"There is no customer {name!r}.", "recorder check-config checks the configuration.")
    return wanted
