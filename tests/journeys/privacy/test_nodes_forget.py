"""Several nodes hold the keys: what is erased on one opens on none, and is done when all of them have said so."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.daemon.api import WAIVER, Api, until
from tests.daemon.coded_calls import record
from tests.daemon.nodes import indexed, nodes
from tests.daemon.object_stores import object_store
from tests.daemon.postgresql import Cluster, cluster

BY_ALL = 2.0
"""Seconds after which no other node opens what one has erased."""


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


def erased(api: Api, call: str) -> tuple[str, float]:
    """Ask for an erasure, wait until this node has cut it; return its id and when it was asked for."""
    at = time.monotonic()
    answer = api.ask("POST", "/erasures", "privacy", json={"calls": [call], "reason": "she asked us to"})
    assert answer.status_code == 202, answer.text
    return answer.json()["id"], at


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
        id, asked = erased(first, mine)
        for api in others:
            until(lambda api=api: api.gone(mine))  # type: ignore[misc]
        assert time.monotonic() - asked < BY_ALL * 3, "on a busy machine"
        done = first.erasure(id, "done")
        names = [f"rec{number}" for number in range(1, count + 1)]
        assert done["receipt"]["holders"] == [{"node": name, "retired": False} for name in names]
        assert all(api.sound(kept) for api in apis)

        last = others[-1]
        assert last.one.stop(signal.SIGKILL) < 0
        id, _ = erased(first, kept)
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
        id, _ = erased(first, mine)
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
