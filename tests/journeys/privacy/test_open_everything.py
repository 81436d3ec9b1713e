"""Everything that was ever written, with all of today's secrets, opens nothing that was erased, and everything else.

`open_everything.py` beside this file tries it, which shares no code with the recorder.
"""

from __future__ import annotations

import base64
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from storage.objects.s3 import S3
from tests.daemon.api import WAIVER, Api, until
from tests.daemon.coded_calls import record
from tests.daemon.links import captured
from tests.daemon.nodes import indexed, nodes
from tests.daemon.object_stores import PORTS, Server, object_store
from tests.daemon.postgresql import Cluster, cluster
from tests.journeys.privacy.opened import opened
from tests.ports import unused


@dataclass
class World:
    """Nodes, the servers that they share, and everything that was collected of them."""

    apis: list[Api]
    database: Cluster
    store: Server
    pile: Path
    copies: int = field(default=0)

    def collect(self) -> None:
        """Take a copy of everything as it is now, but for the keys."""
        self.copies += 1
        indexed(self.apis)
        here = self.pile / f"copy{self.copies}"
        for api in self.apis:
            without = shutil.ignore_patterns("keys", "*.sock", "live")
            shutil.copytree(api.one.data, here / api.one.folder.name, ignore=without, symlinks=True)
        self.database.copy(self.database.place / f"base{self.copies}")
        shutil.copytree(self.database.place / f"base{self.copies}", here / "base")
        store = S3(self.store.settings())
        for each in store.listing(""):
            path = here / "objects" / each.name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                store.read(each.name, each.size, file.write)

    def finish(self) -> None:
        """Add the whole write-ahead log."""
        self.database.ask("postgres", "select pg_switch_wal()")
        last = self.database.ask("postgres", "select pg_walfile_name(pg_current_wal_lsn())")
        until(lambda: any(path.name >= last[:-1] for path in self.database.archive.iterdir()))
        shutil.copytree(self.database.archive, self.pile / "archive")

    def secrets(self, name: str, folder: Path) -> None:
        """Add the secrets of nodes as they are now."""
        for api in self.apis:
            target = folder / f"{name}-{api.one.folder.name}"
            shutil.copytree(api.one.data / "keys", target / "keys")
            shutil.copy2(api.one.folder / "root.key", target)


@contextmanager
def world(folder: Path, count: int) -> Iterator[World]:
    """Have nodes all of whose traffic to database and store is kept."""
    pile = folder / "pile"
    with ExitStack() as stack:
        database = stack.enter_context(cluster(archive=True))
        database.start()
        store = stack.enter_context(object_store("moto", folder / "store"))
        socket = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="seen-")))
        socket.chmod(0o755)
        port = unused(PORTS)
        name = ".s.PGSQL.5432"
        stack.enter_context(captured(socket / name, database.place / name, pile / "traffic" / "database"))
        stack.enter_context(captured(port, store.port, pile / "traffic" / "store"))
        url = database.url.replace(str(database.place), str(socket))
        apis = stack.enter_context(nodes(folder, url, port, count))
        yield World(apis, database, store, pile)


def leak(it: World, forget: Path, pile: Path) -> None:
    """Make a small pile with a forget secret of before in its log, and the tree that was sealed with it."""
    shutil.copytree(it.pile / "secrets", pile / "secrets")
    shutil.copytree(it.pile / "copy1" / it.apis[0].one.folder.name, pile / "disk", symlinks=True)
    (pile / "log").write_text(f"forget={base64.urlsafe_b64encode(forget.read_bytes()[16:48]).decode()}")


@pytest.mark.torture
@pytest.mark.timeout(3600)  # a guess of every 32 bytes takes minutes, and a busy machine may have little time for it
@pytest.mark.parametrize("count", [1, 3])
def test_what_was_erased_opens_nowhere_and_everything_else_does(tmp_path: Path, count: int) -> None:
    with world(tmp_path, count) as it:
        api = it.apis[0]
        erased, kept, swept = (call["id"] for one in (it.apis * 3)[:3] for call in record(one))
        people = [{"first_name": name, "email": f"{name}@example.org"} for name in ("Gone", "Here")]
        gone, _ = (api.ask("POST", "/users", "privacy", json=person).json()["id"] for person in people)
        it.collect()
        it.secrets("old", tmp_path / "before")

        api.ask("PUT", "/waiver", json=WAIVER)
        assert api.erase(calls=[erased, swept])["receipt"]["calls"]
        api.ask("POST", f"/users/{gone}/unmap", "privacy")
        assert api.ask("DELETE", f"/users/{gone}", "privacy").status_code == 204
        (later,) = (call["id"] for call in record(it.apis[-1]))
        it.collect()
        it.secrets("new", it.pile / "secrets")
        for each in it.apis:
            assert each.one.stop() == 0
        it.finish()
        told = opened(it.pile, "--guess")
        assert set(told["calls"]) == {kept, later} and set(told["closed"]) == {erased, swept}
        assert all(call["parts"] == 2 and call["forms"] for call in told["calls"].values())
        everywhere = {"archive", "copy1/base", "copy2/base", "traffic/database"}
        assert set(told["calls"][kept]["rows"]) == everywhere
        closed = {leaf for leaf, items in told["journal"].items() if not items}
        assert told["guessed"] == [] and closed and len(closed) < len(told["journal"])

        leak(it, tmp_path / "before" / f"old-{api.one.folder.name}" / "keys" / "acme.forget", tmp_path / "small")
        told = opened(tmp_path / "small", "--guess")
        assert told["guessed"] == ["forget secret"], "the guess finds what was written where it may not be"

        late = f"old-{it.apis[-1].one.folder.name}"
        (tmp_path / "before" / late).replace(it.pile / "secrets" / late)
        told = opened(it.pile)  # a holder that has not acknowledged still has the keys
        assert set(told["calls"]) == {erased, kept, swept, later} and told["closed"] == []
        assert all(told["calls"][call]["rows"] for call in (erased, swept))
        assert all(told["journal"].values())
