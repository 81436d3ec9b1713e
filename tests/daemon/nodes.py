"""Recorders that share one PostgreSQL server and one object store, each at an address and with secrets of its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.daemon.api import Api, running, until
from tests.daemon.object_stores import BUCKET, KEY, SECRET

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
    folder: Path, database: str, store: int, count: int = 3, *, prefix: str = "", keep: str = "0s", calls: int = 40
) -> Iterator[list[Api]]:
    """Have nodes 1, 2, … called rec1, rec2, … that are ready to be started, each for so many calls.

    All hold the keys of the first, under a root secret of their own. A single one has no number.
    """
    with ExitStack() as stack:
        made: list[Api] = []
        for number in range(1, count + 1):
            api = stack.enter_context(running(folder / f"rec{number}", start=False, calls=calls))
            share(api, database, store, prefix, keep)
            if count > 1:
                api.one.replace("[node]\n", f'[node]\nname = "rec{number}"\nnumber = {number}\n')
            if made:
                copy_keys(made[0], api)
            made.append(api)
        yield made


def copy_keys(source: Api, target: Api) -> None:
    """Make a holder of the same keys, and give it another root secret."""
    shutil.rmtree(target.one.data)
    shutil.copytree(source.one.data / "keys", target.one.data / "keys")
    (target.one.data / "customers" / "acme").mkdir(parents=True)
    shutil.copy2(source.one.folder / "root.key", target.one.folder / "root.key")
    rotated = target.one.run("keys", "rotate", "--to", f"file:{target.one.folder}/root.new")
    assert rotated.returncode == 0, rotated.stdout + rotated.stderr
    (target.one.folder / "root.new").replace(target.one.folder / "root.key")
    target.one.tokens.clear()


def indexed(apis: Sequence[Api]) -> None:
    """Wait until nothing of any node waits for the index or for the object store."""
    for api in apis:
        until(lambda api=api: api.figure("recorder_oldest_unindexed_seconds") == 0)  # type: ignore[misc]
        until(lambda api=api: api.figure("recorder_parts_waiting") == 0)  # type: ignore[misc]
