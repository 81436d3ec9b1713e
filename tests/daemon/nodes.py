"""Recorders that share a PostgreSQL server and an object store, each with its own address and secrets."""

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
"""Seconds until everything is in a store that failed before: the pauses between attempts grow."""
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
    """How one node reaches the shared database and object store, and its environment."""

    database: str
    """URL of the database."""
    store: int
    """Port of the object store."""
    environment: dict[str, str]
    """Additional environment variables."""


def share(api: Api, database: str, store: int, prefix: str = "", keep: str = "0s") -> None:
    """Configure a database, and an object store at a port."""
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
    """Run nodes 1, 2, … called rec1, rec2, …, each for this many calls and under a descriptor store.

    Node 1 admits each of the others, which seals the keys under its own root secret. A single node has no number.
    `prepare` is called with node 1 before it starts. `own` returns how the node of a name reaches database and store.
    `more` is configuration that follows the store's.
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
    shutil.rmtree(api.one.data)  # `init` made it, and nothing was ever stored in it
    api.one.tokens = holder.one.tokens
    file = api.one.folder / "keys.age"
    recipient = done(api, "node", "admit", "--json")["recipient"]
    name = f"rec{number}"
    done(holder, "node", "admit", name, "--number", number, "--recipient", recipient, "-o", file, "--json")
    done(api, "node", "admit", "--file", file, "--json")
    file.unlink()


def done(api: Api, *words: object) -> dict[str, Any]:
    """Run a node's command, which must succeed; return the JSON document that it prints."""
    found = api.one.run(*words)
    assert found.returncode == 0, found.stdout + found.stderr
    told: dict[str, Any] = json.loads(found.stdout)
    return told


def indexed(apis: Sequence[Api], uploaded: float = UPLOADED) -> None:
    """Wait until every node has indexed all calls and, within `uploaded` seconds, uploaded all parts."""
    for api in apis:
        until(lambda api=api: api.figure("recorder_oldest_unindexed_seconds") == 0)  # type: ignore[misc]
        until(lambda api=api: api.figure("recorder_parts_waiting") == 0, uploaded)  # type: ignore[misc]
