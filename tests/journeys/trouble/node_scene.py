"""Nodes in trouble, what they share, and everything that may happen to them; what must hold afterwards.

with scene(folder, count, seed, troublemaker) as it:
    it.round()      places calls and erases some, while one thing happens
    it.judge()      all is well again: what was promised is there once, what was erased opens nowhere
"""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from recorder.maintenance.upload_job import AGAIN_SECONDS
from recorder.simulate.plan import Plan
from recorder.simulate.report import CallReport
from storage.objects.s3 import S3
from tests.daemon.api import WAIVER, WHY, Api, until
from tests.daemon.coded_calls import missing, place
from tests.daemon.fault_injection import Trouble
from tests.daemon.links import Links
from tests.daemon.nodes import UPLOADED, Reach, indexed, nodes
from tests.daemon.object_stores import BUCKET, PORTS, Proxy, Server, object_store
from tests.daemon.postgresql import Cluster, cluster
from tests.journeys.privacy.opened import opened
from tests.ports import unused

CALLS, SECONDS = 3, 9.0
FAULTS = ("503", "403", "reset", "lost", "flip", "swallow", "slow1", "pass")
PART_SECONDS = 3
LATE = 6.0
"""Seconds that setting up, noticing and uploading may take on a busy machine."""
LONG = 20.0
"""Length of calls whose node burns in their middle, in seconds."""
KEPT_DAYS = 20
DAY = 86_400
FRAMES = 50
"""Of each stream in a second."""
SOCKET = ".s.PGSQL.5432"
STATE = "customers/acme/tree.state"
"""The copy of the key tree that lies with the data."""
WRONG = (-30 * DAY, -5 * 3600, -600, -90, 90, 600, 5 * 3600, 30 * DAY)
"""By how many seconds a clock is off; all are more than the 60 by which clocks may differ."""
SHARED = f"""part_seconds = {PART_SECONDS}
[retention]
sweep_seconds = 1
brake_percent = 100
"""


@dataclass
class Scene:
    """Nodes and what they share, who can make trouble for them, and what was promised."""

    folder: Path
    apis: list[Api]
    primary: Cluster
    standby: Cluster
    store: Server
    proxy: Proxy
    links: dict[str, Links]  # by name of the node
    clocks: dict[str, Trouble]
    chance: random.Random
    promoted: bool = False
    calls: list[CallReport] = field(default_factory=list)  # that were answered
    began: float = 0.0  # when the calls of this round were placed
    lost: dict[str, int] = field(default_factory=dict)  # by session: the first frame that may be lost
    burning: tuple[str, float] = ("", 0.0)  # a node that is gone, and how much of its live calls is safe, in seconds
    erased: dict[str, str] = field(default_factory=dict)  # calls, with the id of their erasure, "" if none was told
    gone: set[str] = field(default_factory=set)  # the sessions of these calls
    copies: int = 0
    said: list[str] = field(default_factory=list)

    @property
    def database(self) -> Cluster:
        """The server that can be written."""
        return self.standby if self.promoted else self.primary

    # --- what may happen ---------------------------------------------------------------------------------------------

    def killed(self) -> None:
        """A node is killed, and starts again."""
        one = self.any().one
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

    def one_cut_off(self) -> None:
        """One node reaches neither database nor store, and opens nothing; what others erase meanwhile it never does."""
        away = self.any()
        links = self.links[name(away)]
        links.cut(silent=self.chance.random() < 0.5)
        time.sleep(self.chance.uniform(0, 3))
        others = [api for api in self.apis if api is not away]
        gone = self.erase(self.chance.choice(others)) if others else ""

        def silent(seconds: float) -> None:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                assert not gone or not opens(away, gone)
                time.sleep(0.05)

        if others:
            silent(self.chance.uniform(2, 6))
        if self.chance.random() < 0.3:
            away.one.stop(signal.SIGKILL)
            away.one.start()
        links.mend()
        silent(2.0)  # nor before it has heard what it missed

    def clock_off(self, wrong: int = 0, boots: bool | None = None) -> None:
        """Set the clock of a node by minutes to days; perhaps the node starts with it, and trusts it.

        By how many seconds, and whether the node starts with it, is drawn unless it is given; then a call is erased.
        """
        erases = bool(wrong)
        node = self.any()
        clock = self.clocks[name(node)]
        wrong = wrong or self.chance.choice(WRONG)
        if boots is None:
            boots = len(self.apis) > 1 and self.chance.random() < 0.5  # a node that is alone has no other clock to ask
        self.said.append(f"{name(node)} {wrong:+d} s{', starts' * boots}")
        clock.set(ahead=wrong)
        if boots:
            node.one.stop(signal.SIGKILL)
            (node.one.folder / "run" / "clock").unlink(missing_ok=True)
            node.one.start()
        until(lambda: answers(node))
        if erases:
            assert self.erase(node, surely=True)
        elif self.chance.random() < 0.5:
            self.erase(node)
        time.sleep(self.chance.uniform(3, 6))
        clock.set(ahead=0)

    def burnt(self) -> None:
        """A node is gone with its disk: erasures wait for it and name it until it is retired."""
        time.sleep(max(0.0, self.began + LONG * 0.6 - time.monotonic()))
        gone = self.any()
        self.apis.remove(gone)
        self.said.append(name(gone))
        gone.one.stop(signal.SIGKILL)
        self.burning = gone.one.uri(), max(0.0, time.monotonic() - self.began - PART_SECONDS - LATE)
        shutil.rmtree(gone.one.data)
        (gone.one.folder / "root.key").unlink()
        node, *_ = self.chance.sample(self.apis, len(self.apis))
        if call := self.erase(node):
            id = self.erased[call]
            until(lambda: told(node, id).get("waiting_for") == [name(gone)], UPLOADED)  # its turns last a minute longer
            assert told(node, id)["state"] in ("cut", "waiting")
            until(lambda: node.gone(call))
        refused = node.one.run("node", "retire", name(gone), "--yes")
        assert refused.returncode == 3 and "two days" in refused.stderr, refused
        past = f"update nodes set seen = seen - {3 * DAY}000000 where label = '{name(gone)}'"  # noqa: S608
        self.database.ask("recorder_acme", past)
        retired = node.one.run("node", "retire", name(gone), "--yes", "--json")
        assert retired.returncode == 0, retired.stderr

    def older_keys(self) -> None:
        """A copy of `keys/` from before is put back: it opens nothing until the others know, and nothing erased.

        Beside newer data the node does not start; so the copy of the tree that lies there is put back as well.
        """
        node, *others = self.chance.sample(self.apis, len(self.apis))
        self.said.append(name(node))
        made = [self.erased[call] for api in others if (call := self.erase(api, surely=True))]
        if not made:
            return  # the copy is as new as what it replaces
        until(lambda: all(told(others[0], id).get("state") == "done" for id in made), UPLOADED)
        for api in (node, *others):
            api.one.stop(signal.SIGKILL)
        older = self.folder / "older" / name(node)
        shutil.rmtree(node.one.data / "keys")
        shutil.copytree(older / "keys", node.one.data / "keys")
        with pytest.raises(RuntimeError, match="recorder keys restore --older"):
            node.one.start()
        shutil.copy2(older / STATE, node.one.data / STATE)
        with ThreadPoolExecutor(1) as pool:
            starting = pool.submit(node.one.start)
            until(lambda: status(node, "/calls"))
            end = time.monotonic() + self.chance.uniform(2, 5)
            while time.monotonic() < end:
                assert not answers(node), "it opens something before anybody knows that it is back"
                time.sleep(0.2)
            for api in others:
                api.one.start()
            starting.result()
        until(lambda: answers(node))
        assert not any(opens(node, call) for call in self.erased)

    # --- a round -----------------------------------------------------------------------------------------------------

    def kinds(self) -> Sequence[Callable[[Scene], None]]:
        """Return what may happen now."""
        found = [*ANY]
        if len(self.apis) > 1 and self.erased:
            found += [Scene.older_keys] * 2
        if len(self.apis) > 2:
            found += [Scene.burnt] * 2
        return found

    def round(self, kind: Callable[[Scene], None] | None = None) -> None:
        """Place calls, and let something happen in their middle."""
        kind = kind or self.chance.choice(self.kinds())
        if kind is Scene.burnt:
            indexed(self.apis)  # what it has not uploaded is lost, and what waits for a store that was away waits long
        self.said = [kind.__name__]

        async def meanwhile() -> None:
            await asyncio.sleep(self.chance.uniform(0.5, 3))
            await asyncio.to_thread(self.erase, self.any())
            await asyncio.to_thread(kind, self)

        uris = self.chance.sample([api.one.uri() for api in self.apis], len(self.apis))
        seconds, each = LONG if kind is Scene.burnt else SECONDS, CALLS // len(uris)
        orders = [(*uris[at:], *uris[:at]) for at in range(len(uris))]  # each node has live calls in its trouble
        plans = [Plan(first, calls=each, seconds=seconds, others=tuple(rest)) for first, *rest in orders]
        self.began = time.monotonic()
        placed = place(plans, meanwhile)
        print(*self.said, [(call.status, call.faults) for call in placed], flush=True)
        self.calls += [call for call in placed if call.answered]
        uri, safe = self.burning
        self.lost |= {call.session_id: int(safe * FRAMES) for call in placed if call.answered and call.to == uri}
        self.keep_keys()

    def any(self) -> Api:
        """Choose a node."""
        return self.chance.choice(self.apis)

    def erase(self, api: Api, *, surely: bool = False) -> str:
        """Ask a node to erase a call that is over, if one can be spared; return its id, "" if none was erased.

        `surely`: ask until it takes the request, as a node does again that had to ask the others what it missed.
        """
        kept = {call.session_id for call in self.calls} - self.gone
        over = [call for call in api.calls() if call["session_id"] in kept and call["state"] != "recording"]
        if len(over) < 2:
            return ""
        self.collect()
        call = self.chance.choice(over)
        self.gone.add(call["session_id"])
        self.erased[call["id"]] = until(lambda: asked(api, call["id"])) if surely else asked(api, call["id"])
        return str(call["id"]) if self.erased[call["id"]] else ""

    def collect(self) -> None:
        """Keep a copy of everything that the store has now."""
        self.copies += 1
        with suppress(shutil.Error):  # what is being written may have another name a moment later
            shutil.copytree(self.store.folder / BUCKET, self.folder / "pile" / f"copy{self.copies}")

    def keep_keys(self) -> None:
        """Keep a copy of the keys of each node, which may be put back later."""
        if self.chance.random() < 0.5 and (self.folder / "older").exists():
            return
        shutil.rmtree(self.folder / "older", ignore_errors=True)
        for api in self.apis:
            until(lambda api=api: answers(api))  # type: ignore[misc]
            older = self.folder / "older" / name(api)
            shutil.copytree(api.one.data / "keys", older / "keys")
            (older / STATE).parent.mkdir(parents=True)
            shutil.copy2(api.one.data / STATE, older / STATE)

    # --- afterwards --------------------------------------------------------------------------------------------------

    def judge(self) -> None:
        """Wait until all is well again, then hold everything against what was promised."""
        indexed(self.apis, AGAIN_SECONDS + UPLOADED)  # a store may refuse what is dated hours ahead
        for call in [call for call, id in self.erased.items() if not id]:  # as whoever asked does
            for api in self.apis:
                until(lambda api=api: answers(api))  # type: ignore[misc]
            if not self.apis[0].gone(call):
                self.erased[call] = asked(self.apis[0], call)
                assert self.erased[call]
        for call, id in self.erased.items():
            for api in self.apis:
                until(lambda api=api, call=call: api.gone(call), UPLOADED)  # type: ignore[misc]
            if id:
                until(lambda id=id: told(self.any(), id).get("state") == "done", UPLOADED)  # type: ignore[misc]
                self.signed(told(self.any(), id)["receipt"])
        kept = [call for call in self.calls if call.session_id not in self.gone]
        assert kept
        for api in self.apis:
            self.once_or_marked(api, kept)
        ids = {call["id"] for call in self.apis[0].over(kept).values()}
        listed = [each.name for each in S3(self.store.settings()).listing("acme/")]
        names = Counter(each.rsplit("-", 1)[0] for each in listed)
        assert set(names.values()) == {1} and len(names) >= 2 * len(kept)
        assert not any(call in each for each in listed for call in self.erased)
        for api in self.apis:
            assert api.one.stop() == 0
            assert json.loads(api.one.run("verify", "--json").stdout)["ok"]
        self.opens_nothing_else(ids)

    def signed(self, receipt: dict[str, Any]) -> None:
        """Hold the receipt of an erasure against who held the keys."""
        if len(self.links) > 1:
            there = {name(api) for api in self.apis}
            assert {each["node"] for each in receipt["holders"]} == set(self.links)
            assert {each["node"] for each in receipt["holders"] if not each["retired"]} >= there

    def once_or_marked(self, api: Api, calls: Sequence[CallReport]) -> None:
        """Hold every recording against what was sent: each frame is there once, or in a gap that is marked."""
        recorded = api.over(calls)
        for call in calls:
            mine = recorded[call.session_id]
            found_in = api.channels(mine["id"])
            if call.session_id in self.lost:
                assert mine["state"] == "interrupted", mine  # nobody may take it for whole
                for sent, found in zip(call.streams, found_in, strict=True):
                    assert min(missing(sent, found), default=1 << 31) >= self.lost[call.session_id], mine
                continue
            for sent, said, found in zip(call.streams, mine["streams"], found_in, strict=True):
                lack = missing(sent, found)
                assert said["packets"] == sent.frames - len(lack), (mine["id"], said, len(lack))
                assert said["gap_ms"] >= 20 * len(lack), (mine, said, lack[:1], lack[-1:], sent.frames)

    def opens_nothing_else(self, kept: set[str]) -> None:
        """Open all that the store ever had with all keys of today: what was erased stays closed, the rest opens."""
        self.collect()
        for api in self.apis:
            target = self.folder / "pile" / "secrets" / name(api)
            shutil.copytree(api.one.data / "keys", target / "keys")
            shutil.copy2(api.one.folder / "root.key", target)
        found = opened(self.folder / "pile")
        assert set(found["calls"]) >= kept
        assert not set(found["calls"]) & set(self.erased)


ANY: tuple[Callable[[Scene], None], ...] = (
    Scene.killed, Scene.without_database, Scene.without_store, Scene.store_killed, Scene.cut_off, Scene.failed_over,
    Scene.one_cut_off, Scene.clock_off,
)  # fmt: skip
"""What may happen to one node and to several."""


def name(api: Api) -> str:
    """Return the name of a node."""
    return api.one.folder.name


def answers(api: Api) -> bool:
    """Return whether a node shows its calls."""
    return status(api, "/calls") == httpx2.codes.OK


def opens(api: Api, call: str) -> bool:
    """Return whether a node plays a call."""
    return status(api, f"/calls/{call}/media?format=wav") == httpx2.codes.OK


def status(api: Api, path: str) -> int:
    """Return how a node answers; 0 while it does not."""
    try:
        return api.ask("GET", path, timeout=5).status_code
    except httpx2.TransportError:
        return 0


def told(api: Api, id: str) -> dict[str, Any]:
    """Return what a node tells of an erasure; nothing while it tells nothing."""
    try:
        answer = api.get(f"/erasures/{id}", "privacy")
    except httpx2.TransportError:
        return {}
    return dict(answer.json()) if answer.status_code == httpx2.codes.OK else {}


def asked(api: Api, call: str) -> str:
    """Ask for an erasure; return its id, "" if nobody took the request."""
    try:
        answer = api.ask("POST", "/erasures", "privacy", json={"calls": [call], **WHY})
    except httpx2.TransportError:
        return ""
    return str(answer.json()["id"]) if answer.status_code == httpx2.codes.ACCEPTED else ""


@contextmanager
def scene(folder: Path, count: int, seed: int, troublemaker: Path) -> Iterator[Scene]:
    """Have nodes that run; each reaches database and store over links of its own, and has a clock of its own."""
    with ExitStack() as stack:
        primary = stack.enter_context(cluster())
        primary.start()
        standby = stack.enter_context(cluster(primary=primary))
        standby.start()
        store = stack.enter_context(object_store("rclone", folder / "store"))
        proxy = stack.enter_context(closing(Proxy(store.port)))
        links, clocks = dict[str, Links](), dict[str, Trouble]()

        def own(name: str) -> Reach:
            link = links[name] = stack.enter_context(closing(Links()))
            hosts = []
            for each in (primary, standby):
                socket = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="link-")))
                socket.chmod(0o755)
                link.add(socket / SOCKET, each.place / SOCKET)
                hosts.append(f"host={socket}:5432")
            port = unused(PORTS)
            link.add(port, proxy.port)
            (folder / name).mkdir()
            clock = clocks[name] = Trouble(folder / name, troublemaker, folder / name / "data")
            url = "postgresql+asyncpg://rec@/recorder_{customer}?" + "&".join(hosts)
            return Reach(f"{url}&target_session_attrs=read-write", port, clock.environment)

        apis = stack.enter_context(nodes(folder, "", 0, count, own=own, more=SHARED))
        for api in apis:
            until(lambda api=api: answers(api))  # type: ignore[misc]
        assert apis[0].ask("PUT", "/waiver", json=WAIVER).is_success
        rules = {"rules": [], "default_days": KEPT_DAYS}
        until(lambda: apis[0].ask("PUT", "/retention", json=rules).is_success)
        yield Scene(folder, apis, primary, standby, store, proxy, links, clocks, random.Random(seed))
