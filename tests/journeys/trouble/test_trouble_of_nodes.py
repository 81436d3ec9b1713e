"""Random schedules of trouble: whatever nodes, database and store do, each frame that was promised is there once."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from recorder.simulate.plan import Plan
from recorder.simulate.report import CallReport
from storage.objects.s3 import S3
from tests.daemon.api import Api
from tests.daemon.coded_calls import missing, place
from tests.daemon.nodes import indexed, nodes
from tests.daemon.object_stores import Proxy, Server, object_store
from tests.daemon.postgresql import Cluster, cluster

ROUNDS, CALLS, SECONDS = 4, 3, 9.0
FAULTS = ("503", "403", "reset", "lost", "flip", "swallow", "slow1", "pass")


@dataclass
class Scene:
    """Nodes and what they share, and who can make trouble for them."""

    apis: list[Api]
    primary: Cluster
    standby: Cluster
    store: Server
    proxy: Proxy
    chance: random.Random
    promoted: bool = False
    done: list[str] = field(default_factory=list)

    @property
    def database(self) -> Cluster:
        """The server that can be written."""
        return self.standby if self.promoted else self.primary

    def killed(self) -> None:
        """A node is killed, and starts again."""
        one = self.chance.choice(self.apis).one
        one.stop(signal.SIGKILL)
        time.sleep(self.chance.random())
        one.start()

    def without_database(self) -> None:
        """The database is away for some seconds."""
        self.database.stop()
        time.sleep(self.chance.uniform(1, 10))
        self.database.start()

    def without_store(self) -> None:
        """The store does something else for each request."""
        self.proxy.play(*self.chance.choices(FAULTS, k=self.chance.randrange(12)), always=self.chance.choice(FAULTS))
        time.sleep(self.chance.uniform(1, 5))
        self.proxy.play()

    def store_killed(self) -> None:
        """The store is killed, and starts again."""
        self.store.kill()
        time.sleep(self.chance.uniform(0, 3))
        self.store.start()

    def cut_off(self) -> None:
        """Neither database nor store can be reached, and a node is killed meanwhile."""
        self.proxy.play(always="reset")
        self.database.stop()
        self.killed()
        self.database.start()
        self.proxy.play()

    def failed_over(self) -> None:
        """The standby becomes the primary without what was committed last."""
        if self.promoted:
            return
        self.standby.detach()
        time.sleep(self.chance.uniform(0, 4))
        self.primary.stop()
        self.standby.promote()
        self.promoted = True
        if len(self.apis) == 1:  # several nodes notice by themselves
            self.apis[0].one.stop()
            self.apis[0].one.start()


TROUBLE: tuple[Callable[[Scene], None], ...] = (
    Scene.killed, Scene.without_database, Scene.without_store, Scene.store_killed, Scene.cut_off, Scene.failed_over,
)  # fmt: skip


@contextmanager
def scene(folder: Path, count: int, seed: int) -> Iterator[Scene]:
    with ExitStack() as stack:
        primary = stack.enter_context(cluster())
        primary.start()
        standby = stack.enter_context(cluster(primary=primary))
        standby.start()
        store = stack.enter_context(object_store("rclone", folder / "store"))
        proxy = stack.enter_context(closing(Proxy(store.port)))
        hosts = f"host={primary.place}:5432&host={standby.place}:5432&target_session_attrs=read-write"
        url = f"postgresql+asyncpg://rec@/recorder_{{customer}}?{hosts}"
        apis = stack.enter_context(nodes(folder, url, proxy.port, count))
        yield Scene(apis, primary, standby, store, proxy, random.Random(seed))


def once_or_marked(api: Api, calls: Sequence[CallReport]) -> None:
    """Hold every recording against what was sent: each frame is there once, or in a gap that is marked."""
    recorded = api.over(calls)
    for call in calls:
        mine = recorded[call.session_id]
        for sent, said, found in zip(call.streams, mine["streams"], api.channels(mine["id"]), strict=True):
            lack = missing(sent, found)
            assert said["packets"] == sent.frames - len(lack), (mine["id"], said, len(lack))
            assert said["gap_ms"] >= 20 * len(lack)


@pytest.mark.torture
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("count", [1, 3])
def test_no_schedule_of_trouble_loses_or_doubles_a_frame(tmp_path: Path, count: int, seed: int) -> None:
    with scene(tmp_path, count, seed) as it:
        calls: list[CallReport] = []
        for _ in range(ROUNDS):
            trouble = it.chance.choice(TROUBLE)

            async def meanwhile(trouble: Callable[[Scene], None] = trouble) -> None:
                await asyncio.sleep(it.chance.uniform(0.5, 3))
                await asyncio.to_thread(trouble, it)

            first, *others = it.chance.sample([api.one.uri() for api in it.apis], len(it.apis))
            calls += place([Plan(first, calls=CALLS, seconds=SECONDS, others=tuple(others))], meanwhile)
            print(trouble.__name__, [(call.status, call.faults) for call in calls[-CALLS:]])
        calls = [call for call in calls if call.answered]
        assert calls
        indexed(it.apis)
        for api in it.apis:
            once_or_marked(api, calls)
        found = {each.name.rsplit("-", 1)[0] for each in S3(it.store.settings()).listing("acme/")}
        assert len(found) == len(list(S3(it.store.settings()).listing("acme/"))) >= 2 * len(calls)
        for api in it.apis:
            assert api.one.stop() == 0
            assert json.loads(api.one.run("verify", "--json").stdout)["ok"]
