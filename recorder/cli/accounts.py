"""Commands for accounts of the admin page: admin create, reset, list, roles, disable, enable, remove."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from recorder.cli import console
from recorder.cli.options import DEFAULT_CONFIG, AsJson, Config, OneCustomer, WhichCustomer
from recorder.config.loader import load
from recorder.config.model import Settings
from recorder.errors import Negative, WrongUse
from recorder.maintenance.cli_audit import note
from storage.access.account import Account
from storage.access.api_tokens import ROLES
from storage.errors import StorageError
from storage.timestamps import rfc3339

if TYPE_CHECKING:
    from storage.access.accounts import Accounts, Created

Name = Annotated[str, typer.Argument(help="Name to sign in with.")]
Roles = Annotated[
    list[str], typer.Option("--role", help="admin, listener, privacy, approver, auditor or operator; may be repeated.")
]


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    admin = typer.Typer(
        help="Accounts of the admin page.\n\nExample: recorder admin list", no_args_is_help=True, rich_markup_mode=None
    )
    for name, command in (
        ("create", create),
        ("reset", reset),
        ("list", list_),
        ("roles", roles_),
        ("disable", disable),
        ("enable", enable),
        ("remove", remove),
    ):
        admin.command(name)(command)
    app.add_typer(admin, name="admin")


def create(
    name: Name, role: Roles, customer: WhichCustomer = None, config: Config = DEFAULT_CONFIG, json: AsJson = False
) -> int:
    """Create an account and print a one-time link. Its owner sets a password with it within an hour.

    Example: recorder admin create anna --customer acme --role admin --role privacy
    """
    from recorder.persist.customers import open_credentials
    from storage.access.accounts import AccountsError

    settings = load(config)
    _known(role)
    where = _customer(settings, customer)
    accounts = _accounts(settings, where)
    try:
        tokens = [each.name for each in open_credentials(settings, where).list()]
        made = accounts.create(name, role, datetime.now(UTC), tokens)
    except AccountsError as problem:
        raise WrongUse(str(problem), problem.hint) from None
    try:
        note(settings, where, "account.create", made.account.id, reason=", ".join(made.account.roles))
    except StorageError:
        accounts.remove(made.account.id)  # an account that the audit log does not record must not give access
        raise
    return _show_link(settings, where, made, json=json)


def reset(
    name: Name,
    factors: Annotated[bool, typer.Option("--factors", help="Remove app, passkeys and recovery codes too.")] = False,
    customer: OneCustomer = None,
    config: Config = DEFAULT_CONFIG,
    json: AsJson = False,
) -> int:
    """Print a new one-time link for somebody who is locked out. Second factors stay unless you add --factors.

    Example: recorder admin reset anna --factors
    """
    settings = load(config)
    where, accounts, account = _find(settings, customer, name)
    if account.disabled:
        raise Negative("This account is disabled.", f"Enable it first: recorder admin enable {name}")
    note(settings, where, "account.reset", account.id, reason="with second factors" if factors else "")
    made = accounts.invite(account.id, datetime.now(UTC), factors=factors)
    return _show_link(settings, where, made, json=json)


def list_(customer: OneCustomer = None, config: Config = DEFAULT_CONFIG, json: AsJson = False) -> int:
    """List accounts.

    Example: recorder admin list --customer acme
    """
    settings = load(config)
    names = [customer] if customer else [c.name for c in settings.customers]
    found = [(where, account) for where in names for account in _accounts(settings, where).all()]
    if json:
        console.document({"items": [_shown(where, account) for where, account in found]})
        return 0
    rows = [
        (where, a.name, ", ".join(a.roles), _factors(a), rfc3339(a.signed_in_at) or "never", _state(a))
        for where, a in found
    ]
    console.table(("customer", "name", "roles", "second factor", "last sign-in", "state"), rows)
    return 0


def roles_(
    name: Name, role: Roles, customer: OneCustomer = None, config: Config = DEFAULT_CONFIG, json: AsJson = False
) -> int:
    """Change the roles of an account and end its sessions.

    Example: recorder admin roles anna --role listener
    """
    _known(role)
    wanted, settings = tuple(dict.fromkeys(role)), load(config)
    change = _change(settings, customer, name, "account.roles", lambda a: a.ended(roles=wanted), ", ".join(wanted))
    return _show_change(*change, json=json)


def disable(name: Name, customer: OneCustomer = None, config: Config = DEFAULT_CONFIG, json: AsJson = False) -> int:
    """Disable an account and end its sessions; it is kept.

    Example: recorder admin disable anna
    """
    settings = load(config)
    change = _change(settings, customer, name, "account.disable", lambda a: a.ended(disabled=True, invitation=None))
    return _show_change(*change, json=json)


def enable(name: Name, customer: OneCustomer = None, config: Config = DEFAULT_CONFIG, json: AsJson = False) -> int:
    """Enable a disabled account.

    Example: recorder admin enable anna
    """
    change = _change(load(config), customer, name, "account.enable", lambda a: replace(a, disabled=False))
    return _show_change(*change, json=json)


def remove(name: Name, customer: OneCustomer = None, config: Config = DEFAULT_CONFIG, json: AsJson = False) -> int:
    """Delete an account for good and end its sessions.

    Example: recorder admin remove anna
    """
    settings = load(config)
    where, accounts, account = _find(settings, customer, name)
    note(settings, where, "account.remove", account.id)
    accounts.remove(account.id)
    if json:
        console.document({"id": account.id, "customer": where, "name": account.name, "state": "removed"})
    else:
        print(f"Removed from {where}.")
    return 0


def _change(
    settings: Settings,
    customer: str | None,
    name: str,
    action: str,
    change: Callable[[Account], Account],
    reason: str = "",
) -> tuple[str, Account]:
    """Write the change to the audit log, then make it; return the customer and the changed account."""
    where, accounts, account = _find(settings, customer, name)
    note(settings, where, action, account.id, reason=reason)
    return where, accounts.change(account.id, change)


def _show_change(where: str, changed: Account, *, json: bool) -> int:
    if json:
        console.document(_shown(where, changed))
    else:
        print(f"{changed.name} of {where}: {', '.join(changed.roles)}, {_state(changed)}.")
    return 0


def _accounts(settings: Settings, customer: str) -> Accounts:
    from recorder.persist.customers import open_accounts

    return open_accounts(settings, customer)


def _customer(settings: Settings, customer: str | None) -> str:
    """Return the intended customer; it may be omitted if there is only one."""
    if customer:
        return customer
    if len(settings.customers) != 1:
        raise WrongUse("There are several customers.", "Choose one with --customer.")
    return settings.customers[0].name


def _find(settings: Settings, customer: str | None, name: str) -> tuple[str, Accounts, Account]:
    """Find the one account of this name; raises Negative, WrongUse."""
    names = [customer] if customer else [c.name for c in settings.customers]
    found = []
    for where in names:
        accounts = _accounts(settings, where)
        account = accounts.named(name)
        if account is not None:
            found.append((where, accounts, account))
    if not found:
        raise Negative(f"There is no account named {name!r}.", "recorder admin list shows all accounts.")
    if len(found) > 1:
        raise WrongUse("Several customers have an account of that name.", "Choose one with --customer.")
    return found[0]


def _known(roles: list[str]) -> None:
    unknown = [role for role in roles if role not in ROLES]
    if unknown:
        raise WrongUse(f"There is no role {unknown[0]!r}.", f"Choose from {', '.join(ROLES)}.")


def _show_link(settings: Settings, customer: str, made: Created, *, json: bool) -> int:
    from recorder.access.page_links import invitation

    link, out = invitation(settings, customer, made.secret), made.account.invitation
    until = rfc3339(out.expires_at) if out else None
    if json:
        console.document({"link": link, "link_expires_at": until, **_shown(customer, made.account)})
    else:
        print(link)
        console.say(f"The link works once, until {until}, to set a password. Shown once; only its hash is kept.")
    return 0


def _shown(customer: str, account: Account) -> dict[str, object]:
    return {
        "id": account.id,
        "customer": customer,
        "name": account.name,
        "roles": list(account.roles),
        "second_factor": _factors(account),
        "created_at": rfc3339(account.created_at),
        "signed_in_at": rfc3339(account.signed_in_at),
        "state": _state(account),
    }


def _state(account: Account) -> str:
    if account.disabled:
        return "disabled"
    return "active" if account.password else "invited"


def _factors(account: Account) -> str:
    kinds = ["app"] if account.totp else []
    kinds += ["passkey"] if account.passkeys else []
    return " and ".join(kinds) or "none"
