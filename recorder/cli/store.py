"""Commands for the object store: check."""

from __future__ import annotations

from dataclasses import asdict

import typer

from recorder.cli import console
from recorder.cli.options import DEFAULT_CONFIG, AsJson, Config
from recorder.config.loader import load
from recorder.errors import Negative


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    help = "The object store of [storage]. Example: recorder store check"
    store = typer.Typer(no_args_is_help=True, help=help, rich_markup_mode=None)
    store.callback()(_store)
    store.command("check")(check)
    app.add_typer(store, name="store")


def _store() -> None:
    """Have `check` a command of its own, though it is the only one."""


def check(config: Config = DEFAULT_CONFIG, json: AsJson = False) -> int:
    """Try the object store of [storage] with scratch objects, which are removed. Example: recorder store check

    The store does not have to be in use yet: set endpoint, bucket and keys and leave media = "file". A lock is tried
    where the bucket takes one; the check then waits 15 s for its end. Exit status: 1 if the store cannot be used, 3 if
    it cannot be reached.
    """
    from recorder.persist.object_store import described_store
    from storage.objects.probe import lacking, probe, usable

    store = described_store(load(config))
    features = probe(store)
    good = usable(features)
    if json:
        console.document({"ok": good, "features": asdict(features)})
        return 0 if good else 1
    missing = lacking(features)
    rows = [(name, "yes" if there else "no", missing.get(name, "")) for name, there in asdict(features).items()]
    console.table(("feature", "there", "what that means"), rows)
    if not good:
        raise Negative("This object store cannot be used.", 'Recordings stay in data_dir with media = "file".')
    print("This object store can be used.")
    return 0
