"""Commands for the object store: check, move."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from recorder.cli import console
from recorder.cli.options import DEFAULT_CONFIG, AsJson, Config, OneCustomer
from recorder.cli.progress import progress
from recorder.config.loader import load
from recorder.errors import Negative, NotPossible, WrongUse

if TYPE_CHECKING:
    from storage.objects.store import Features, StoreSettings


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    help = "The object stores of the configuration.\n\nExample: recorder store check"
    store = typer.Typer(no_args_is_help=True, help=help, rich_markup_mode=None)
    store.command("check")(check)
    store.command("move")(move)
    app.add_typer(store, name="store")


def check(config: Config = DEFAULT_CONFIG, json: AsJson = False) -> int:
    """Try each object store with scratch objects, which are removed.

    Example: recorder store check

    The store does not have to be in use yet: set endpoint, bucket and keys and leave media = "file". If the bucket
    takes locks, the check tries one and waits 15 s until it ends; a recorder with lock does not start before this check
    has succeeded. Exit status: 1 if a store cannot be used, 3 if one cannot be reached.
    """
    from recorder.persist.object_store import described_stores
    from recorder.runtime.service_user import acting_as_owner
    from storage.objects.probe import probe, usable
    from storage.vault import locking_stores

    settings = load(config)
    seen = [(store.settings, probe(store)) for store in described_stores(settings)]
    for place, features in seen:
        with acting_as_owner(settings.node.data_dir):
            locking_stores.note(settings.node.data_dir, place.endpoint, place.bucket, seen=features.lock)
    results = [
        {"ok": usable(features, place.lock), "features": asdict(features), "endpoint": place.endpoint,
         "bucket": place.bucket, "prefix": place.prefix}
        for place, features in seen
    ]  # fmt: skip
    good = all(each["ok"] for each in results)
    if json:
        more = {"stores": results} if len(results) > 1 else {}
        console.document({"ok": good, "features": results[0]["features"], **more})
        return 0 if good else 1
    for place, features in seen:
        if len(seen) > 1:
            print(f"{place.endpoint}, bucket {place.bucket}, prefix {place.prefix or 'none'}:")
        _show(features)
    for place, features in seen:
        _refuse(place, features)
    print("This object store can be used." if len(seen) == 1 else "These object stores can be used.")
    return 0


def _show(features: Features) -> None:
    from storage.objects.probe import lacking

    missing = lacking(features)
    rows = [(name, "yes" if there else "no", missing.get(name, "")) for name, there in asdict(features).items()]
    console.table(("feature", "there", "consequence"), rows)


def _refuse(place: StoreSettings, features: Features) -> None:
    """Raise Negative for a store that cannot be used as it is configured."""
    from storage.objects.probe import usable

    if not usable(features):
        raise Negative(
            f"The object store {place.endpoint} cannot be used.", 'Recordings stay in data_dir with media = "file".'
        )
    if not usable(features, place.lock):
        raise Negative(
            f"The bucket {place.bucket} cannot be used with a lock.", 'Set lock = "off", or use another bucket.'
        )


def move(customer: OneCustomer = None, config: Config = DEFAULT_CONFIG, json: AsJson = False) -> int:
    """Move all recordings to where `media` says. Set `media` in [storage] or in a customer's table.

    Example: recorder store move

    media = "s3": uploads what the store lacks, and restores on each side what the other still has. media = "file":
    fetches everything and empties the store. Set media, restart the recorder, run this; calls are recorded meanwhile.
    It may be stopped and run again. Exit status: 1 if parts failed, 3 if the store is away.
    """
    from recorder.cli.calls import with_customers
    from recorder.config.loader import with_objects
    from recorder.persist.instance_lock import node_lock
    from recorder.persist.object_store import described_stores, release_stores
    from storage.vault.object_compare import Moved, into_folder, into_store
    from storage.vault.object_vault import ObjectVault

    settings = load(config)
    described_stores(settings)
    uploading = {each.name for each in settings.customers if settings.storage_of(each).media == "s3"}
    if settings.node.number and len(uploading) < len(settings.customers):
        raise WrongUse(
            "One of several nodes cannot leave the object store, which has the recordings of the others too.",
            "Retire the other nodes and remove [node] number first.",
        )
    with node_lock(settings) as alone:
        begun = with_objects(settings)
        wanted = {each for each in uploading if customer in (None, each)}
        if not alone and not wanted <= set(begun):
            raise NotPossible("The recorder runs without the object store.", 'Restart it with media = "s3" first.')
    with progress("moving", None) as advance:

        async def work(one: Any) -> Moved:
            there = one.name in uploading
            if not isinstance(one.vault, ObjectVault) or not (there or one.name in begun):
                return Moved()
            if there:
                one.vault.begin()
            try:
                return await asyncio.to_thread(into_store if there else into_folder, one.vault, advance)
            except asyncio.CancelledError:  # Ctrl-C: the thread ends with its next request
                release_stores(settings)
                raise

        moved = with_customers(settings, customer, work)
    total = {name: sum(getattr(each, name) for each in moved) for name in ("parts", "done", "failed")}
    if json:
        console.document(total)
    else:
        print(f"{total['parts']} parts to move: {total['done']} moved, {total['failed']} failed.")
    if total["failed"]:
        console.say("Run recorder verify: it names what is missing.")
    return 1 if total["failed"] else 0
