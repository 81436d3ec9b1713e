"""Commands for the object store: check, move."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

import typer

from recorder.cli import console
from recorder.cli.options import DEFAULT_CONFIG, AsJson, Config, OneCustomer
from recorder.cli.progress import progress
from recorder.config.loader import load
from recorder.errors import Negative, NotPossible


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    help = "The object store of [storage]. Example: recorder store check"
    store = typer.Typer(no_args_is_help=True, help=help, rich_markup_mode=None)
    store.command("check")(check)
    store.command("move")(move)
    app.add_typer(store, name="store")


def check(config: Config = DEFAULT_CONFIG, json: AsJson = False) -> int:
    """Try the object store of [storage] with scratch objects, which are removed. Example: recorder store check

    The store does not have to be in use yet: set endpoint, bucket and keys and leave media = "file". A lock is tried
    where the bucket takes one; the check then waits 15 s for its end, and a start with a lock needs it. Exit status: 1
    if the store cannot be used, 3 if it cannot be reached.
    """
    from recorder.persist.object_store import described_store
    from recorder.runtime.service_user import acting_as_owner
    from storage.objects.probe import lacking, probe, usable
    from storage.vault import locking_stores

    settings = load(config)
    store = described_store(settings)
    features = probe(store)
    with acting_as_owner(settings.node.data_dir):
        place = store.settings
        locking_stores.note(settings.node.data_dir, place.endpoint, place.bucket, seen=features.lock)
    good = usable(features, store.settings.lock)
    if json:
        console.document({"ok": good, "features": asdict(features)})
        return 0 if good else 1
    missing = lacking(features)
    rows = [(name, "yes" if there else "no", missing.get(name, "")) for name, there in asdict(features).items()]
    console.table(("feature", "there", "what that means"), rows)
    if not good:
        if usable(features):
            raise Negative("This object store cannot be used with a lock.", 'Set lock = "off", or use another bucket.')
        raise Negative("This object store cannot be used.", 'Recordings stay in data_dir with media = "file".')
    print("This object store can be used.")
    return 0


def move(customer: OneCustomer = None, config: Config = DEFAULT_CONFIG, json: AsJson = False) -> int:
    """Move all recordings to where [storage] media says. Example: recorder store move

    media = "s3": uploads what the store lacks, and makes good from each side what the other lost. media = "file":
    fetches everything and empties the store. Set media, restart the recorder, run this; calls are recorded meanwhile.
    It may be stopped and run again. Exit status: 1 if parts failed, 3 if the store is away.
    """
    from recorder.cli.calls import with_customers
    from recorder.config.loader import with_objects
    from recorder.persist.instance_lock import node_lock
    from recorder.persist.object_store import described_store
    from storage.vault.object_compare import Moved, into_folder, into_store
    from storage.vault.object_vault import ObjectVault

    settings = load(config)
    store = described_store(settings)
    there = settings.storage.media == "s3"
    with node_lock(settings) as alone:
        begun = with_objects(settings)
        if there and not alone and not begun:
            raise NotPossible("The recorder runs without the object store.", 'Restart it with media = "s3" first.')
    with progress("moving", None) as advance:

        async def work(one: Any) -> Moved:
            if not isinstance(one.vault, ObjectVault) or not (there or one.name in begun):
                return Moved()
            if there:
                one.vault.begin()
            try:
                return await asyncio.to_thread(into_store if there else into_folder, one.vault, advance)
            except asyncio.CancelledError:  # Ctrl-C: the thread ends with its next request
                store.requests.close()
                raise

        moved = with_customers(settings, customer, work)
    total = {name: sum(getattr(each, name) for each in moved) for name in ("parts", "done", "failed")}
    if json:
        console.document(total)
    else:
        print(f"{total['parts']} parts were elsewhere, {total['done']} moved, {total['failed']} failed.")
    if total["failed"]:
        console.say("recorder verify names what is missing.")
    return 1 if total["failed"] else 0
