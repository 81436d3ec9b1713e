"""Several nodes hold the keys: what is erased on one opens on none, and is done when all of them have said so."""

from __future__ import annotations

import json
import secrets
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from recorder.simulate.plan import Plan
from tests.daemon.api import SECONDS, WAIVER, Api, until
from tests.daemon.coded_calls import place, record
from tests.daemon.nodes import indexed, nodes
from tests.daemon.object_stores import object_store
from tests.daemon.postgresql import Cluster, cluster

LENGTH = 8.0
"""Seconds of a call whose sound is larger than what is on its way to a slow client."""
ON_THE_WAY = 32 << 10
"""Bytes that the kernel of a client may have received and not given to it; that of a node may hold more."""


class Download:
    """A client that reads a little now and then, and takes so little at once that the rest waits at the node."""

    def __init__(self, api: Api, path: str) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)  # the kernel of the node keeps as little
        self._socket.settimeout(SECONDS)
        self._socket.connect((api.one.api_host, api.one.api))
        lines = (
            f"GET /api/v1/customers/acme{path} HTTP/1.1",
            "Host: x",
            f"Authorization: Bearer {api.one.token('admin')}",
        )
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += self._socket.recv(1)
        status, *headers = head.decode().lower().splitlines()
        assert " 200 " in status, status
        self.size = int(next(line for line in headers if line.startswith("content-length:")).split()[1])
        self.read = 0
        self.is_over = False

    def some(self, length: int = 1024) -> int:
        """Read some; return 0 at the end, whatever it is."""
        try:
            got = 0 if self.is_over else len(self._socket.recv(min(length, self.size - self.read)))
        except ConnectionResetError:
            got = 0
        self.read += got
        self.is_over = not got
        return got

    def rest(self) -> int:
        """Read to the end; return how much that was."""
        before = self.read
        while self.some(1 << 16):
            pass
        self._socket.close()
        return self.read - before


@contextmanager
def running_nodes(folder: Path, count: int) -> Iterator[tuple[list[Api], Cluster]]:
    """Have nodes that run and serve, and their database."""
    with ExitStack() as stack:
        database = stack.enter_context(cluster())
        database.start()
        store = stack.enter_context(object_store("moto", folder / "store"))
        apis = stack.enter_context(nodes(folder, database.url, store.port, count, keep="1d"))
        for each in apis:
            until(lambda each=each: each.get("/calls").status_code == 200)  # type: ignore[misc]
        yield apis, database


def erased(api: Api, call: str) -> str:
    """Ask for an erasure, wait until this node has cut it; return its id."""
    answer = api.ask("POST", "/erasures", "privacy", json={"calls": [call], "reason": "she asked us to"})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


@pytest.mark.timeout(300)
@pytest.mark.parametrize("count", [2, pytest.param(3, marks=pytest.mark.torture)])
def test_what_one_erases_no_other_opens(tmp_path: Path, count: int) -> None:
    with running_nodes(tmp_path, count) as (apis, _):
        first, *others = apis
        first.ask("PUT", "/waiver", json=WAIVER)
        mine, kept = (call["id"] for call in record(first, 2))
        indexed(apis)
        for api in others:
            assert api.sound(mine)
        id = erased(first, mine)
        for api in others:
            until(lambda api=api: api.gone(mine))  # type: ignore[misc]
        done = first.erasure(id, "done")
        names = [f"rec{number}" for number in range(1, count + 1)]
        assert done["receipt"]["holders"] == [{"node": name, "retired": False} for name in names]
        assert all(api.sound(kept) for api in apis)

        last = others[-1]
        assert last.one.stop(signal.SIGKILL) < 0
        id = erased(first, kept)
        until(lambda: first.erasure(id, "cut")["waiting_for"] == [names[-1]])  # rec1 has indexed its own calls by then
        assert first.erasure(id, "cut")["receipt"] is None
        assert first.gone(kept)
        last.one.start()
        until(lambda: last.gone(kept))
        assert first.erasure(id, "done")["receipt"]["holders"]
        for api in apis:
            assert api.one.stop() == 0


@pytest.mark.torture
@pytest.mark.timeout(300)
def test_a_holder_that_is_away_is_named_until_it_is_retired(tmp_path: Path) -> None:
    with running_nodes(tmp_path, 2) as ((first, other), database):
        first.ask("PUT", "/waiver", json=WAIVER)
        (mine,) = (call["id"] for call in record(first, 1))
        indexed([first, other])
        assert other.one.stop() == 0
        id = erased(first, mine)
        assert first.erasure(id, "waiting")["waiting_for"] == ["rec2"]
        refused = first.one.run("node", "retire", "rec2", "--yes")
        assert refused.returncode == 3 and "two days" in refused.stderr
        database.ask("recorder_acme", "update nodes set seen = seen - 3 * 86400000000 where label = 'rec2'")
        retired = first.one.run("node", "retire", "rec2", "--yes", "--json")
        assert retired.returncode == 0, retired.stderr
        done = first.erasure(id, "done")
        assert done["receipt"]["holders"] == [{"node": "rec1", "retired": False}, {"node": "rec2", "retired": True}]
        tree = other.one.data / "keys" / "acme.tree.0"
        assert any(tree.read_bytes())
        other.one.start()  # which serves nothing, and destroys its keys
        until(lambda: not any(tree.read_bytes()))
        assert other.one.stop() == 0 and other.one.run("calls").returncode != 0
        assert first.one.stop() == 0


@pytest.mark.torture
@pytest.mark.timeout(300)
def test_what_one_erases_no_other_goes_on_sending(tmp_path: Path) -> None:
    """Sound, an export and an attachment are downloaded slowly; they end before the erasure is said to be done."""
    with running_nodes(tmp_path, 2) as ((first, other), _):
        first.ask("PUT", "/waiver", json=WAIVER)
        place([Plan(first.one.uri(), calls=2, seconds=LENGTH, codec="opus", audio_kind="tone")])
        mine, kept = (call["id"] for call in first.ended(2))
        for call in (mine, kept):
            said = json.dumps([{"text": secrets.token_hex(1 << 20)}]).encode()
            kind = {"content-type": "application/json"}
            added = first.ask("POST", f"/calls/{call}/attachments?kind=chat", "privacy", headers=kind, content=said)
            assert added.status_code == 201, added.text
        indexed([first, other])
        until(lambda: other.get("/exports", "privacy").status_code == 200)  # it knows the new token

        def downloads(call: str) -> dict[str, Download]:
            (attached,) = other.get(f"/calls/{call}").json()["attachments"]
            export = other.export(calls=[call], format="json", media="wav")
            paths = {
                "sound": f"/calls/{call}/media?format=wav",
                "export": f"/exports/{export}/file",
                "attachment": f"/calls/{call}/attachments/{attached['id']}",
            }
            return {name: Download(other, path) for name, path in paths.items()}

        ending, going_on = downloads(mine), downloads(kept)
        print({name: each.size for name, each in ending.items()})
        assert all(each.size > 1 << 20 for each in ending.values())
        id = erased(first, mine)
        while first.get(f"/erasures/{id}", "privacy").json()["state"] != "done":
            for each in (*ending.values(), *going_on.values()):
                each.some()
            time.sleep(0.02)
        left = {name: each.rest() for name, each in ending.items()}
        assert all(each < ON_THE_WAY for each in left.values()), left
        assert all(each.read < each.size // 2 for each in ending.values())
        assert [each.size - each.read - each.rest() for each in going_on.values()] == [0, 0, 0]
        assert first.one.stop() == other.one.stop() == 0
