"""Two and three recorders on one database and one object store: who takes calls, and what each leaves alone."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from recorder.calls.membership import FOLDER
from recorder.persist import instance
from recorder.simulate.plan import Plan
from recorder.simulate.report import CallReport
from storage.database.database import Database
from storage.nodes import membership
from tests.daemon.api import WHY, Api, running, until
from tests.daemon.coded_calls import place
from tests.daemon.object_stores import BUCKET, KEY, SECRET, Server, object_store
from tests.daemon.postgresql import Cluster, cluster
from tests.daemon.sbc import OFFER

CALLS = 4


@dataclass
class Nodes:
    """A database server, a store, and recorders that have copies of the same keys."""

    folder: Path
    database: Cluster
    store: Server
    stack: ExitStack
    all: list[Api] = field(default_factory=list)

    def add(self, number: int, like: Api | None = None, name: str = "") -> Api:
        """Prepare a recorder at an address of its own; `like`: with a copy of that one's disk as it is now."""
        folder = self.folder / f"node{len(self.all) + 1}"
        if like is not None:
            folder.mkdir()
            shutil.copytree(like.one.data, folder / "data")
            for file in ("root.key", "tls.crt", "tls.key"):
                shutil.copy2(like.one.folder / file, folder)
        api = self.stack.enter_context(running(folder, start=False, calls=CALLS))
        if like is not None:
            api.one.tokens = dict(like.one.tokens)
        for file, secret in (("id", KEY), ("secret", SECRET)):
            (folder / file).write_text(secret)
            (folder / file).chmod(0o600)
        api.one.replace("[node]\n", f'[node]\nname = "{name or f"rec{number}"}"\nnumber = {number}\n')
        store = f'endpoint = "http://127.0.0.1:{self.store.port}"\nbucket = "{BUCKET}"\npath_style = true\n'
        store += f'access_key = "file:{folder}/id"\nsecret_key = "file:{folder}/secret"\n'
        api.one.replace("[keys]", f'[storage]\ndatabase = "{self.database.url}"\nmedia = "s3"\n{store}[keys]')
        self.all.append(api)
        return api

    def change(self, work: Callable[[AsyncConnection], Awaitable[object]]) -> None:
        """Change the registry as a command of another node does."""

        async def run() -> None:
            database = Database(self.database.url, "acme", self.folder)
            with database.opening():
                async with database.writing() as connection:
                    await work(connection)
            await database.close()

        asyncio.run(run())

    def join(self, number: int) -> Api:
        """Have the first one admit another one, with an empty disk; it is ready to be started."""
        first, new, file = self.all[0], self.add(number), self.folder / f"keys{number}"
        shutil.rmtree(new.one.data)
        asked = json.loads(done(new, "node", "admit", "--json"))
        words = ("--number", number, "--recipient", asked["recipient"], "-o", file)
        done(first, "node", "admit", f"rec{number}", *words)
        done(new, "node", "admit", "--file", file)
        new.one.tokens = dict(first.one.tokens)
        return new


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    with cluster() as database, object_store("rclone", tmp_path / "store") as store, ExitStack() as stack:
        database.start()
        yield Nodes(tmp_path, database, store, stack)


def done(api: Api, *words: object) -> str:
    """Run a command, which must succeed; return what it printed."""
    answer = api.one.run(*words)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def call(api: Api, seconds: float = 1, meanwhile: Callable[[], Awaitable[None]] | None = None) -> CallReport:
    """Place one call; return what the client saw."""
    (report,) = place([Plan(to=api.one.uri(), seconds=seconds)], meanwhile)
    return report


def options(api: Api) -> int:
    """Return how OPTIONS are answered."""
    with api.one.sbc("udp", "options") as sbc:
        return sbc.ask("OPTIONS").status


def ready(api: Api) -> str:
    """Return what /readyz says: "" while calls are taken."""
    answer = httpx2.get(f"{api.url}/readyz", timeout=30)
    return "" if answer.status_code == 200 else str(answer.json()["detail"])


def states(api: Api) -> dict[str, str]:
    """Return the state of each node as `recorder node list` shows it."""
    return {item["name"]: item["state"] for item in json.loads(api.one.run("node", "list", "--json").stdout)["items"]}


def ids(api: Api) -> set[str]:
    return {one["id"] for one in api.calls() if one["state"] != "recording"}


def test_a_node_takes_calls_once_it_is_admitted(nodes: Nodes) -> None:
    one = nodes.add(1)
    stranger = nodes.add(3, like=one)  # which has the keys, from an old copy perhaps
    one.one.start()
    stranger.one.start()
    assert (ready(one), ready(stranger)) == ("", "not registered")
    assert (call(one).status, call(stranger).status) == (200, 503)
    checked = stranger.one.run("check-config", "--start", "--json")
    (fault,) = json.loads(checked.stdout)["faults"]
    assert checked.returncode == 3 and "node rec3, number 3 is not admitted" in fault["found"]

    two = nodes.join(2)
    assert states(one) == {"rec1": "active", "rec2": "pending"}
    two.one.start()
    until(lambda: ready(two) == "")
    assert call(two).status == 200
    until(lambda: len(ids(one)) == 2)
    assert ids(one) == ids(two)
    assert states(one) == states(two) == {"rec1": "active", "rec2": "active"}


@pytest.mark.torture
def test_a_node_that_drains_takes_no_new_calls_and_ends_none(nodes: Nodes) -> None:
    one = nodes.add(1)
    one.one.start()
    two = nodes.join(2)
    two.one.start()
    until(lambda: ready(two) == "")

    async def drain() -> None:
        assert (await asyncio.to_thread(one.one.run, "node", "drain", "rec2")).returncode == 0
        await two.until(lambda: ready(two) == "draining")
        assert two.figure("recorder_calls_active") == 1
        assert await asyncio.to_thread(options, two) == 503

    assert call(two, 20, drain).well
    assert call(two).status == 503
    two.one.stop(signal.SIGKILL)
    two.one.start()
    assert (ready(two), states(two)["rec2"]) == ("draining", "draining")
    assert two.one.run("node", "drain", "rec2", "--undo").returncode == 0
    until(lambda: ready(two) == "")
    assert call(two).status == 200
    until(lambda: len(ids(one)) == 2)


def test_a_cloned_disk_takes_no_calls_while_its_original_runs(nodes: Nodes) -> None:
    one = nodes.add(1)
    one.one.start()
    assert call(one).status == 200
    clone = nodes.add(1, like=one)
    clone.one.start()
    assert (ready(clone), call(clone).status) == ("not registered", 503)
    (told,) = [line for line in clone.one.lines() if line.get("event") == "database.away"]
    assert (told["node"], told["error"]) == ("rec1", "OtherNode") and "another machine" in told["hint"]
    assert call(one).status == 200
    assert one.one.stop() == 0
    until(lambda: ready(clone) == "")  # it left in order
    assert call(clone).status == 200
    until(lambda: len(ids(clone)) == 3)
    one.one.start()
    assert (ready(one), call(one).status) == ("not registered", 503)


def test_the_database_is_away_at_a_start(nodes: Nodes) -> None:
    """The next process of the same boot goes on; after a restart of the machine somebody else may have the number."""
    one = nodes.add(1)
    one.one.start()
    nodes.database.stop()
    assert one.one.stop(signal.SIGKILL) < 0
    one.one.start()
    assert (ready(one), call(one).status) == ("", 200)
    assert one.one.stop(signal.SIGKILL) < 0
    run = one.one.folder / "run"
    shutil.rmtree(run / FOLDER)
    (run / instance.NAME).unlink()
    one.one.start()
    assert (ready(one), call(one).status) == ("not registered", 503)
    nodes.database.start()
    nodes.database.ask("recorder_acme", "UPDATE nodes SET seen = 0")  # as if it had been stopped in order
    until(lambda: ready(one) == "")
    assert call(one).status == 200
    until(lambda: len(ids(one)) == 2)


def test_a_retired_node_that_stood_still_changes_nothing(nodes: Nodes) -> None:
    one = nodes.add(1)
    one.one.start()
    two = nodes.join(2)
    two.one.start()
    until(lambda: ready(two) == "")

    with two.one.sbc() as sbc:
        assert sbc.ask("INVITE", OFFER).status == 200
        until(lambda: len(one.calls()) == 1)
        assert two.one.process is not None
        two.one.process.send_signal(signal.SIGSTOP)
        nodes.change(lambda connection: membership.retire(connection, "rec2"))
        two.one.process.send_signal(signal.SIGCONT)
        assert sbc.ask("BYE").status == 200
    until(lambda: ready(two) == "not registered")
    two.one.until("database.away")
    (told,) = [line for line in two.one.lines() if line.get("event") == "database.away"]
    assert "was retired" in told["hint"]
    assert call(two).status == 503
    assert [each["state"] for each in one.calls()] == ["recording"], "what ended afterwards is not in the database"
    assert states(one) == {"rec1": "active", "rec2": "retired"}


@pytest.mark.torture
def test_commits_that_a_fail_over_lost_come_back(nodes: Nodes) -> None:
    one = nodes.add(1)
    one.one.start()
    for number in (2, 3):
        nodes.join(number).one.start()
    _, two, three = nodes.all
    for api in (two, three):
        until(lambda api=api: ready(api) == "")  # type: ignore[misc]
    assert call(three).status == 200
    (early,) = one.ended()
    nodes.database.stop()
    older = nodes.database.place / "older"
    shutil.copytree(nodes.database.place / "data", older)
    nodes.database.start()  # what is written from here on is lost

    assert (call(one).status, call(two).status) == (200, 200)
    until(lambda: len(ids(one)) == 3)
    listed = ids(one)
    assert one.ask("PUT", f"/calls/{early['id']}/hold", "privacy", json=WHY).is_success
    swap(nodes.database, older)
    for api in (one, two):
        until(lambda api=api: "database.older" in api.one.events())  # type: ignore[misc]
    for api in (one, two, three):
        until(lambda api=api: ids(api) == listed)  # type: ignore[misc]
    assert "database.older" not in three.one.events()
    until(lambda: held(three, early["id"]))
    assert call(two).status == 200


def swap(database: Cluster, older: Path) -> None:
    """Let a copy of before take the place of a database."""
    database.stop()
    newer = database.place / "data"
    owner = newer.stat()
    shutil.rmtree(newer)
    older.rename(newer)
    if database.user:
        for path in (newer, *newer.rglob("*")):
            shutil.chown(path, owner.st_uid, owner.st_gid)
    database.start()


def held(api: Api, call: str) -> Any:
    answer = api.get(f"/calls/{call}")
    return answer.status_code == 200 and answer.json()["hold"]
