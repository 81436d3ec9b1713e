"""Recorders that share one PostgreSQL server and one object store, each at an address and with secrets of its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.daemon.api import Api, running, until
from tests.daemon.object_stores import BUCKET, KEY, SECRET

UPLOADED = 120.0
"""Seconds until everything is in a store that was in trouble: pauses between tries grow."""
STORAGE = """[storage]
database = "{database}"
media = "s3"
endpoint = "http://127.0.0.1:{store}"
bucket = "{bucket}"
prefix = "{prefix}"
access_key = "file:{folder}/id"
secret_key = "file:{folder}/secret"
path_style = true
keep_local = "{keep}"
"""


@dataclass(frozen=True)
class Reach:
    """How one node reaches what all share, and how it runs."""

    database: str
    """URL of the database."""
    store: int
    """Port of the object store."""
    environment: dict[str, str]
    """More of its environment."""


def share(api: Api, database: str, store: int, prefix: str = "", keep: str = "0s") -> None:
    """Configure a database and an object store, which is at a port."""
    folder = api.one.folder
    for name, secret in (("id", KEY), ("secret", SECRET)):
        (folder / name).write_text(secret)
        (folder / name).chmod(0o600)
    named = {"database": database, "store": store, "prefix": prefix, "keep": keep}
    api.one.replace("[keys]", STORAGE.format(bucket=BUCKET, folder=folder, **named) + "[keys]")


@contextmanager
def nodes(
    folder: Path, database: str, store: int, count: int = 3, *, prefix: str = "", keep: str = "0s", calls: int = 40,
    prepare: Callable[[Api], object] | None = None, own: Callable[[str], Reach] | None = None, more: str = "",
) -> Iterator[list[Api]]:  # fmt: skip
    """Run nodes 1, 2, … called rec1, rec2, …, each for so many calls and in the care of a descriptor store.

    Each has keys under a root secret of its own, which the first admitted it to. A single one has no number. `prepare`
    is called for the first before it starts. `own` tells how a node, by its name, reaches database and store. `more`:
    lines behind those of the store.
    """
    with ExitStack() as stack:
        made: list[Api] = []
        for number in range(1, count + 1):
            name = f"rec{number}"
            reach = Reach(database, store, {}) if own is None else own(name)
            settings: dict[str, Any] = {"kept": True, "calls": calls, "environment": reach.environment}
            api = stack.enter_context(running(folder / name, start=False, **settings))
            share(api, reach.database, reach.store, prefix, keep)
            api.one.replace("[keys]", f"{more}[keys]")
            if count > 1:
                api.one.replace("[node]\n", f'[node]\nname = "{name}"\nnumber = {number}\n')
            if made:
                join(made[0], api, number)
            elif prepare is not None:
                prepare(api)
            api.one.start()
            made.append(api)
        yield made


def join(holder: Api, api: Api, number: int) -> None:
    """Admit a new node, as docs/cluster.md says."""
    shutil.rmtree(api.one.data)  # nothing of it was ever used
    api.one.tokens = holder.one.tokens
    file = api.one.folder / "keys.age"
    recipient = done(api, "node", "admit", "--json")["recipient"]
    name = f"rec{number}"
    done(holder, "node", "admit", name, "--number", number, "--recipient", recipient, "-o", file, "--json")
    done(api, "node", "admit", "--file", file, "--json")
    file.unlink()


def done(api: Api, *words: object) -> dict[str, Any]:
    """Run a command of a node, which must succeed; return its document."""
    found = api.one.run(*words)
    assert found.returncode == 0, found.stdout + found.stderr
    told: dict[str, Any] = json.loads(found.stdout)
    return told


def indexed(apis: Sequence[Api], uploaded: float = UPLOADED) -> None:
    """Wait until nothing of any node waits for the index or, for so many seconds, for the object store."""
    for api in apis:
        until(lambda api=api: api.figure("recorder_oldest_unindexed_seconds") == 0)  # type: ignore[misc]
        until(lambda api=api: api.figure("recorder_parts_waiting") == 0, uploaded)  # type: ignore[misc]
