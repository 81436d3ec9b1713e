"""Commands to set a recorder up and to run it: serve, init, check-config, token."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from recorder.cli import console
from recorder.cli.options import DEFAULT_CONFIG, AsJson, Config, OneCustomer
from recorder.config.faults import SettingsError
from recorder.config.installation import Installation
from recorder.config.loader import load
from recorder.config.model import Settings
from recorder.errors import Negative, WrongUse
from recorder.maintenance.cli_audit import note
from recorder.runtime.folders import SWAP_HINT, swapping
from storage.access.actor import fault_of
from storage.access.api_tokens import ROLES, Credential, NameTaken
from storage.errors import StorageError
from storage.timestamps import rfc3339


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("init")(init)
    app.command("check-config")(check_config)
    tokens = typer.Typer(
        help="API tokens.\n\nExample: recorder token list", no_args_is_help=True, rich_markup_mode=None
    )
    tokens.command("create")(create)
    tokens.command("list")(list_)
    tokens.command("revoke")(revoke)
    app.add_typer(tokens, name="token")


def serve(
    config: Config = DEFAULT_CONFIG,
    drain: Annotated[
        bool, typer.Option(help="At SIGTERM running calls get `drain_seconds` to end, then they are sealed.")
    ] = False,
) -> int:
    """Run the daemon until SIGTERM.

    Example: recorder serve --config /etc/recorder/recorder.toml

    `runtime_dir` must be on a tmpfs, unless the configuration says [node] trial = true.

    --drain: no successor is expected; without it a successor continues the calls.
    """
    from recorder.service.serve import serve

    return serve(config, drain=drain)


def init(
    customer: Annotated[
        str | None,
        typer.Option(help="Name of the customer in a new configuration, which never changes. [default: acme]"),
    ] = None,
    config: Config = DEFAULT_CONFIG,
    json: AsJson = False,
) -> int:
    """Make a configuration, keys, certificates and a first token. What exists is kept.

    Outside /etc, or without root, everything lies beside the configuration except `runtime_dir`, which is on a tmpfs.
    If there is no tmpfs, [node] trial = true is set: for trials, not for real calls.

    Example: recorder init --customer acme --config /etc/recorder/recorder.toml
    """
    from recorder.cli.init import initialise

    made = initialise(config, customer)
    if json:
        console.document(made.as_dict())
        return 0
    for line in made.sentences():
        print(line)
    return 0


def check_config(
    start: Annotated[bool, typer.Option("--start", help="Do everything that a start does except listen.")] = False,
    reload: Annotated[
        bool, typer.Option("--reload", help="Also show what differs from the configuration of the running recorder.")
    ] = False,
    config: Config = DEFAULT_CONFIG,
    json: AsJson = False,
) -> int:
    """Report every fault of a configuration.

    Example: recorder check-config --config recorder.toml

    --start: also open the keys, bind the ports, ask the databases, and check certificates, write access and live calls,
    as the user who owns `data_dir`. Nothing is written, and a running recorder is not disturbed: its ports count as
    free. Exit status: 2 if the configuration or a file that it names is wrong, 3 if only the machine is not ready.

    --reload: does --start, and names the keys that differ from what the running recorder was started with. Exit status
    1 if a reload cannot take some of them without losing live calls: those need a stop and a start.
    """
    try:
        settings = _check(config, start=start, reload=reload)
    except SettingsError as error:
        if json:
            faults = [{"key": f.key, "line": f.line, "found": f.found, "right": f.right} for f in error.faults]
            compared: dict[str, object] = {"changed": [], "needs_restart": []} if reload else {}
            console.document({"ok": False, "faults": faults, "warnings": [], **compared})
            return error.status
        raise
    if reload:
        return _compare(settings, json=json)
    warnings = [SWAP_HINT] if swapping() else []
    if json:
        console.document({"ok": True, "faults": [], "warnings": warnings})
    else:
        print("\n".join([f"{config}: no faults.", *(f"Warning: {each}" for each in warnings)]))
    return 0


def _check(config: Path, *, start: bool, reload: bool) -> Settings:
    """Return the configuration; raise SettingsError with every fault."""
    if not (start or reload):
        return load(config, start=True)
    from recorder.service.running_settings import runs_in

    if reload and not runs_in((settings := load(config, files=False)).node.runtime_dir):
        return settings  # without what the daemon left there, its own ports would be those of another program
    from recorder.service.start_check import check_start

    settings, faults = check_start(config)
    if faults:
        raise SettingsError(faults, str(config))
    return settings


def _compare(settings: Settings, *, json: bool) -> int:
    """Print what a reload would change."""
    from recorder.service.running_settings import changes

    found = changes(settings)
    if json:
        differences = {"changed": list(found.changed), "needs_restart": list(found.needs_restart)}
        console.document({"ok": not found.needs_restart, **differences})
    else:
        print("\n".join(f"changed  {key}" for key in found.changed) or "Nothing has changed in the configuration.")
        if found.needs_restart:
            console.say(
                f"A reload would lose live calls, because it changes {', '.join(found.needs_restart)}. "
                f"To end them in order instead: {Installation.of(settings.source).restart}."
            )
    return 1 if found.needs_restart else 0


def create(
    customer: Annotated[str, typer.Option(help="Customer whose calls the token gives access to.")],
    role: Annotated[
        list[str], typer.Option(help="admin, listener, privacy, approver, auditor or operator; may be repeated.")
    ],
    name: Annotated[str, typer.Option(help="Name by which to list and revoke it.")],
    days: Annotated[int | None, typer.Option(min=1, max=36_500, help="Days it is valid; for ever if omitted.")] = None,
    account: Annotated[
        str | None,
        typer.Option(
            help="Account of the person who uses it: nobody can approve with one what they requested with the other."
        ),
    ] = None,
    config: Config = DEFAULT_CONFIG,
    json: AsJson = False,
) -> int:
    """Make an API token, shown once.

    Example: recorder token create --customer acme --role listener --name reports
    """
    from recorder.persist.customers import open_accounts, open_credentials

    unknown = [r for r in role if r not in ROLES]
    if unknown:
        raise WrongUse(f"There is no role {unknown[0]!r}.", f"Choose from {', '.join(ROLES)}.")
    if fault := fault_of(name):
        raise WrongUse("A token cannot have this name.", f"The name of a token {fault}.")
    now = datetime.now(UTC)
    expires = now + timedelta(days=days) if days else None
    settings = load(config)
    credentials = open_credentials(settings, customer)
    accounts = open_accounts(settings, customer)
    owner = accounts.named(account) if account else None
    if account and owner is None:
        raise WrongUse("There is no account of that name.", "recorder admin list shows all accounts.")
    others = [each.name for each in accounts.all()]
    try:
        token, made = credentials.create(name, role, now, expires, account=owner.id if owner else "", taken=others)
    except NameTaken as problem:
        raise WrongUse(str(problem), problem.hint) from None
    try:
        note(settings, customer, "token.create", made.id, reason=", ".join(made.roles))
    except StorageError:
        credentials.revoke(made.id)  # a token that the audit log does not record must not give access
        raise
    if json:
        console.document({"token": token, **_shown(made)})
    else:
        print(token)
        console.say("Shown once; only its hash is kept.")
    return 0


def _shown(entry: Credential) -> dict[str, object]:
    return {
        "id": entry.id,
        "customer": entry.customer,
        "roles": list(entry.roles),
        "name": entry.name,
        "expires_at": rfc3339(entry.expires_at),
    }


def list_(customer: OneCustomer = None, config: Config = DEFAULT_CONFIG, json: AsJson = False) -> int:
    """List API tokens without their secrets.

    Example: recorder token list --customer acme
    """
    from recorder.persist.customers import open_credentials

    settings = load(config)
    names = [customer] if customer else [c.name for c in settings.customers]
    items = [entry for name in names for entry in open_credentials(settings, name).list()]
    if json:
        console.document({"items": [_shown(e) for e in items]})
        return 0
    rows = [(e.customer, e.name, ", ".join(e.roles), rfc3339(e.expires_at) or "never") for e in items]
    console.table(("customer", "name", "roles", "expires"), rows)
    return 0


def revoke(
    name: Annotated[str, typer.Argument(help="Name of the token.")],
    customer: OneCustomer = None,
    config: Config = DEFAULT_CONFIG,
    json: AsJson = False,
) -> int:
    """Revoke an API token; a running daemon refuses it within 5 s.

    Example: recorder token revoke anna
    """
    settings = load(config)
    names = [customer] if customer else [c.name for c in settings.customers]
    gone = [n for n in names if _revoke(settings, n, name)]
    if not gone:
        raise Negative(f"There is no token named {name!r}.", "recorder token list shows all tokens.")
    if json:
        console.document({"revoked": name, "customers": gone})
    else:
        print(f"Revoked for {', '.join(gone)}.")
    return 0


def _revoke(settings: Settings, customer: str, name: str) -> int:
    """Write it to the audit log, then revoke the tokens of this name or id; return how many there were."""
    from recorder.persist.customers import open_credentials

    credentials = open_credentials(settings, customer)
    for entry in credentials.list():
        if name in (entry.name, entry.id):
            note(settings, customer, "token.revoke", entry.id)
    return credentials.revoke(name)
