"""`recorder customer remove`: check that a customer may go, take it out of the configuration, erase everything.

Nothing is erased while a daemon has the customer open. The command then takes the table out of the configuration and
stops; a reload makes the daemon close the customer, and the next run of the command erases it. A removal that has begun
is noted in `removed/NAME/`; until it is done, a folder without a table is not a fault of the configuration.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recorder.config import editor
from recorder.config.installation import Installation
from recorder.config.loader import load
from recorder.config.model import Customer as Configured
from recorder.config.model import Settings
from recorder.config.value_readers import CustomerState
from recorder.errors import Negative, NotPossible, WrongUse
from recorder.maintenance.cli_audit import actor, note
from recorder.persist import instance
from recorder.persist.checkpoint_file import live_customers
from recorder.persist.customers import load_root_of
from recorder.persist.object_store import configured_store
from recorder.runtime.service_user import acting_as_owner
from storage.customer import customers, removal
from storage.customer.customers import CustomerSettings, Place
from storage.customer.removal import Kept, Removal
from storage.customer.settings import removed_folder
from storage.keys.root_secret import RootSecret
from storage.timestamps import to_text

Confirm = Callable[[int], bool]
"""Asks whether to erase this many calls and all other data of the customer."""


def remove(config: Path, name: str, confirm: Confirm) -> Path | None:
    """Remove a customer as far as possible now; return the receipt, None if the daemon must close the customer first.

    Raises WrongUse, Negative (not confirmed), NotPossible, StorageError.
    """
    settings = load(config, files=False)
    data = settings.node.data_dir
    begun = Removal.read(data, name)
    configured = settings.customer(name)
    receipt = removed_folder(data, name) / removal.RECEIPT
    if configured is None and begun is None:
        if receipt.exists():
            return receipt
        known = ", ".join(each.name for each in settings.customers)
        raise WrongUse(f"There is no customer {name!r}.", f"Configured are: {known}.")
    root = load_root_of(settings)
    if configured is not None and (begun is None or begun.calls is None):
        begun = _begin(settings, config, configured, root, confirm)
    elif configured is not None:  # its table was written again, but part of its data is erased already
        _take_out(config, name)
    return receipt if begun is None else _finish(settings, begun, root)


def _begin(settings: Settings, config: Path, configured: Configured, root: RootSecret, confirm: Confirm) -> Removal:
    """Check everything, note the removal, and take the customer out of the configuration."""
    name, data = configured.name, settings.node.data_dir
    if configured.state is not CustomerState.CLOSED:
        how = Installation.of(config)
        raise NotPossible(
            f"Customer {name} is not closed.", f"First: {how.command(f'customer close {name}')}, then {how.reload}."
        )
    if len(settings.customers) == 1:
        raise WrongUse(f"{name} is the only customer.", "Add another customer first: a recorder needs at least one.")
    editor.remove(editor.read(config), name)  # raises before anything is asked
    wanted = Removal(
        name, str(uuid.uuid4()), actor().name, to_text(datetime.now(UTC)), approval=configured.approve_erasures,
        store={key: value if isinstance(value, bool) else str(value) for key, value in _own_store(configured).items()},
    )  # fmt: skip
    with acting_as_owner(data):
        calls = _checked(settings, wanted, root)
        if not confirm(len(calls)):
            raise Negative("Nothing was removed.")
        note(settings, name, "customer.remove", wanted.id, root=root)
        wanted.write(data)
    try:
        _take_out(config, name)
    except BaseException:
        with acting_as_owner(data):
            wanted.call_off(data)
        raise
    return wanted


def _take_out(config: Path, name: str) -> None:
    """Take the tables of a customer out of the configuration."""
    before = editor.read(config)
    editor.write(config, before, editor.remove(before, name))


def _finish(settings: Settings, begun: Removal, root: RootSecret) -> Path | None:
    """Erase everything, unless a process has the customer open."""
    name, data = begun.customer, settings.node.data_dir
    with acting_as_owner(data), removal.alone(customers.customer_folder(data, name)) as alone:
        if not alone:
            return None
        if begun.calls is None:
            try:
                begun = replace(begun, calls=tuple(_checked(settings, begun, root)))
            except Kept as problem:
                begun.call_off(data)  # so that check-config reports the folder without a table again
                raise NotPossible(
                    f"{problem}; nothing was erased.",
                    f"Write the [[customer]] table of {name} into {settings.source} again, and {problem.hint}.",
                ) from None
            begun.write(data)
        return asyncio.run(removal.carry_out(begun, _place(settings, begun), root))


def _checked(settings: Settings, wanted: Removal, root: RootSecret) -> Sequence[str]:
    """Return the ids of the calls that would be erased.

    Raises NotPossible if calls are live, Kept if a call is held or its erasure needs a waiver.
    """
    live = live_customers(settings.node.runtime_dir)[wanted.customer]
    if live:
        calls = "1 call is" if live == 1 else f"{live} calls are"
        raise NotPossible(
            f"{calls} being recorded for {wanted.customer}.",
            "Reload the recorder, which ends the calls of closed customers, then run this again: "
            f"{Installation.of(settings.source).reload}",
        )

    async def look() -> Sequence[str]:
        wanted_customer, number = CustomerSettings(wanted.customer), settings.node.number
        place = _place(settings, wanted)
        customer = await customers.open_customer(place, root, wanted_customer, node=number, create=False)
        try:
            return await removal.left(customer, approval=wanted.approval)
        finally:
            await customer.close()

    return asyncio.run(look())


def _own_store(configured: Configured) -> dict[str, Any]:
    """Return the settings of a customer's own object store: its table is gone before the store is emptied."""
    return {key: value for key, value in configured.store.items() if key not in ("part_seconds", "keep_local")}


def _place(settings: Settings, begun: Removal) -> Place:
    node, own = settings.node, dict[str, Any](begun.store)
    if "ca" in own:
        own["ca"] = Path(own["ca"])
    return Place(
        node.data_dir,
        settings.storage.database,
        lambda: datetime.now(UTC),
        configured_store(settings, Configured(name=begun.customer, **own)),
        node=node.name,
        instance=instance.read(node.runtime_dir),
        several=node.number > 0,
    )
