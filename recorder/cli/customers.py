"""Commands for the life of a customer: add, title, close, remove."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from recorder.cli import console
from recorder.cli.options import DEFAULT_CONFIG, AsJson, Config
from recorder.config import editor
from recorder.config.faults import SettingsError
from recorder.config.installation import Installation
from recorder.config.loader import load
from recorder.config.model import Customer as Configured
from recorder.config.model import Settings
from recorder.config.value_readers import CustomerState
from recorder.errors import NotPossible, WrongUse
from recorder.maintenance.cli_audit import note
from recorder.persist.customers import check_not_removed, create_customer, is_new, load_root_of
from recorder.runtime.service_user import acting_as_owner

Name = Annotated[str, typer.Argument(help="Name of the customer; files and keys contain it, so it never changes.")]


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    help = "Customers.\n\nExample: recorder customer add acme --title 'Acme Ltd' --source 192.0.2.0/24"
    customer = typer.Typer(no_args_is_help=True, help=help, rich_markup_mode=None)
    customer.command("add")(add)
    customer.command("title")(title)
    customer.command("close")(close)
    customer.command("remove")(remove)
    app.add_typer(customer, name="customer")


def add(
    name: Name,
    shown: Annotated[str | None, typer.Option("--title", help="What people are shown in place of the name.")] = None,
    source: Annotated[list[str] | None, typer.Option(help="Address or network of its SBCs; may be repeated.")] = None,
    certificate: Annotated[
        list[str] | None, typer.Option(help="Name in the client certificate of an SBC; may be repeated.")
    ] = None,
    domain: Annotated[list[str] | None, typer.Option(help="Host part of the Request-URI; may be repeated.")] = None,
    country: Annotated[str | None, typer.Option(help="How national numbers are read, such as DE.")] = None,
    days: Annotated[int | None, typer.Option("--retention-days", help="Days until calls are erased.")] = None,
    config: Config = DEFAULT_CONFIG,
    json: AsJson = False,
) -> int:
    """Write a customer into the configuration and make its keys. Its calls are recorded after a reload.

    Example: recorder customer add acme --title "Acme Ltd" --source 192.0.2.0/24
    """
    settings = load(config, files=False)
    if settings.customer(name) is not None:
        raise WrongUse(f"There already is a customer {name}.", "Choose another name.")
    check_not_removed(settings, name)
    given = {
        "name": name, "title": shown, "sources": source, "certificates": certificate, "domains": domain,
        "country": country, "retention_days": days,
    }  # fmt: skip
    values = {key: value for key, value in given.items() if value}
    before = editor.read(config)
    after = editor.add(before, values)
    made = checked(settings, after).customer(name)
    if made is None or not is_new(settings, made):
        folder = settings.node.data_dir
        raise WrongUse(f"{folder} already has files of a customer named {name}.", "Choose another name.")
    root = load_root_of(settings)
    editor.write(config, before, after)
    try:
        with acting_as_owner(settings.node.data_dir):
            create_customer(settings, made, root)
            note(settings, name, "customer.add", root=root)
    except BaseException:
        with suppress(Exception):  # the first failure is the one to report
            editor.write(config, after, before)
        raise
    lines = [f"Added {name} to {config} and made its keys.", f"Next: {_reload(config)}"]
    return _print_result(name, made.state.value, lines, json=json)


def title(
    name: Name,
    text: Annotated[str, typer.Argument(metavar="title", help="What people are shown in place of the name.")],
    config: Config = DEFAULT_CONFIG,
    json: AsJson = False,
) -> int:
    """Change what people are shown in place of a customer's name.

    Example: recorder customer title acme "Acme Ltd"
    """
    changed = _changed(config, name, "title", text)
    return _print_result(
        name, changed.state.value, [f"{name} is shown as {text}.", f"Next: {_reload(config)}"], json=json
    )


def close(name: Name, config: Config = DEFAULT_CONFIG, json: AsJson = False) -> int:
    """Stop recording a customer after a reload. The reload ends its live calls; everything else goes on.

    To open it again, write state = "open" into its table.

    Example: recorder customer close acme
    """
    changed = _changed(config, name, "state", CustomerState.CLOSED.value)
    lines = [
        f"{name} is closed in {config}.",
        f"Next: {_reload(config)}  (ends its live calls; its SBCs get 403 from then on)",
    ]
    return _print_result(name, changed.state.value, lines, json=json)


def remove(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    config: Config = DEFAULT_CONFIG,
    json: AsJson = False,
) -> int:
    """Erase a closed customer and take it out of the configuration.

    Refused while a call is live or under legal hold, or if calls are kept and no waiver permits erasing them now. While
    the recorder runs, this takes two runs with a reload between them: the first takes the customer out of the
    configuration, the second erases. A receipt, the audit log and the public key stay in data_dir/removed/NAME/.

    Example: recorder customer remove acme --yes
    """
    from recorder.maintenance.customer_removal import remove as carry_out

    def confirm(calls: int) -> bool:
        if yes:
            return True
        if not sys.stdin.isatty():
            raise WrongUse("Removing a customer cannot be undone.", "Add --yes.")
        console.say(f"Erase {name} with {calls} calls, for good? Type its name:")
        return sys.stdin.readline().strip() == name

    receipt = carry_out(config, name, confirm)
    if receipt is None:  # debian/recorderctl knows it by "still has it open", or "removing" in JSON, and reloads
        lines = [f"{name} is no longer in {config}, but the running recorder still has it open.",
                 f"Next: {_reload(config)}, then run this command again."]  # fmt: skip
        _print_result(name, "removing", lines, json=json)
        return NotPossible.status
    lines = [f"All data of {name} is erased. Receipt, audit log and public key: {receipt.parent}"]
    return _print_result(name, "removed", lines, receipt, json=json)


def _reload(config: Path) -> str:
    return Installation.of(config).reload


def _changed(config: Path, name: str, key: str, value: str) -> Configured:
    """Change one value of a customer in the configuration, and note it in the customer's audit log."""
    settings = load(config, files=False)
    found(settings, name)
    before = editor.read(config)
    after = editor.change(before, name, key, value)
    changed = found(checked(settings, after), name)
    if after != before:
        root = load_root_of(settings)
        with acting_as_owner(settings.node.data_dir):
            note(settings, name, f"customer.{'close' if key == 'state' else key}", root=root)
        editor.write(config, before, after)
    return changed


def found(settings: Settings, name: str) -> Configured:
    """Return a customer of the configuration; raises WrongUse."""
    configured = settings.customer(name)
    if configured is None:
        known = ", ".join(each.name for each in settings.customers)
        raise WrongUse(f"There is no customer {name!r}.", f"Configured are: {known}.")
    return configured


def checked(settings: Settings, text: str) -> Settings:
    """Return what an edited configuration says; raises SettingsError."""
    from recorder.config import parser

    after, faults = parser.examine(text.encode())
    if faults:
        raise SettingsError(faults, str(settings.source))
    return after


def _print_result(name: str, state: str, lines: list[str], receipt: Path | None = None, *, json: bool) -> int:
    if json:
        console.document({"name": name, "state": state, "receipt": None if receipt is None else str(receipt)})
    else:
        print("\n".join(map(console.plain, lines)))
    return 0
