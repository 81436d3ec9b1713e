"""Two recorders on one database and one object store: each lists, plays, exports and verifies the calls of both."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from recorder.simulate.plan import Plan
from tests.daemon.api import Api, until
from tests.daemon.coded_calls import nothing_missing, place, record
from tests.daemon.nodes import nodes
from tests.daemon.object_stores import Server
from tests.daemon.postgresql import Cluster, cluster

Two = tuple[Api, Api, Cluster]
DATABASE = "recorder_acme"
PENDING = "INSERT INTO nodes (node, label, tree, instance, seen, state) VALUES (2, 'rec2', '', '', 0, 'pending')"
COMMITS = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
IDLE_A_SECOND = 4.0
"""Transactions of a node that has nothing to do; they were 2.1, and 10.4 when every job asked for itself."""
AN_HOUR_AGO = "UPDATE nodes SET seen = seen - 3600000000 WHERE node = 2"


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, object_servers: dict[str, Server]) -> Iterator[Two]:
    """Two recorders that run, and their database."""
    folder = tmp_path_factory.mktemp("nodes")
    with cluster() as postgresql:
        postgresql.start()
        with nodes(folder, postgresql.url, object_servers["moto"].port, 2, prefix="two/") as (one, other):
            if one.one.process is None:  # and so none has been admitted
                one.one.start()
                postgresql.ask(DATABASE, PENDING)
                other.one.start()
            yield one, other, postgresql


def place_of(call: dict[str, Any]) -> tuple[str, str, str]:
    return call["state"], call["node"], call["node_state"]


def refused(api: Api, method: str, path: str) -> tuple[int, str]:
    answer = api.ask(method, path)
    return answer.status_code, answer.json()["detail"]


def test_an_idle_node_makes_few_database_transactions(two: Two) -> None:
    *apis, postgresql = two
    found = []
    while not found or (min(found) > IDLE_A_SECOND and len(found) < 5):  # what follows a start may take a while
        before, begun = int(postgresql.ask(DATABASE, COMMITS)), time.monotonic()
        time.sleep(5)
        more = int(postgresql.ask(DATABASE, COMMITS)) - before
        found.append(more / (time.monotonic() - begun) / len(apis))
    assert 0.5 < min(found) < IDLE_A_SECOND, found


def test_any_node_plays_exports_and_verifies_all_calls(two: Two) -> None:
    one, other, _ = two
    (mine,), (theirs,) = record(one), record(other)
    seen = {call["id"]: place_of(call) for call in one.calls()}
    assert seen == {mine["id"]: ("complete", "rec1", "active"), theirs["id"]: ("complete", "rec2", "active")}
    media = f"/calls/{theirs['id']}/media?format=wav"
    until(lambda: one.get(media).status_code == 200)
    assert one.sound(theirs["id"]) == other.sound(theirs["id"])
    assert one.get(f"/calls/{theirs['id']}/waveform").status_code == 200

    id = one.export(calls=[mine["id"], theirs["id"]], format="json", media="wav")
    assert one.get(f"/exports/{id}").json()["problem"] is None
    assert one.get(f"/exports/{id}/file").status_code == 200
    assert refused(other, "GET", f"/exports/{id}/file") == (
        409, "The file is on node rec1, which made it. Fetch it there, or ask for it again here.",
    )  # fmt: skip

    vtt = {"content-type": "text/vtt"}
    until(lambda: other.get(f"/calls/{mine['id']}", "privacy").is_success)  # the token is new
    added = other.ask("POST", f"/calls/{mine['id']}/attachments", "privacy", headers=vtt, content=b"WEBVTT\n")
    attachment = f"/calls/{mine['id']}/attachments/{added.json()['id']}"
    until(lambda: one.get(attachment).status_code == 200)
    assert one.get(attachment).content == b"WEBVTT\n"

    listed = json.loads(one.one.run("calls", "--json").stdout)["items"]
    assert {call["id"]: (call["node"], call["node_state"]) for call in listed}[theirs["id"]] == ("rec2", "active")
    for api in (one, other):
        checked = json.loads(api.one.run("verify", "--json").stdout)
        kinds = [
            each["kind"] for each in checked["defects"] if each["call"]
        ]  # journal and audit log are each node's own
        assert (kinds, checked["elsewhere"], checked["calls"]) == ([], [], 2)
        assert api.one.run("export", theirs["id"], "-o", api.one.folder / "theirs.wav").returncode == 0


def test_another_node_says_where_a_live_call_is(two: Two) -> None:
    one, other, postgresql = two

    async def meanwhile() -> None:
        await one.until(lambda: any(call["state"] == "recording" for call in one.calls()))
        (live,) = [call for call in one.calls() if call["state"] == "recording"]
        assert place_of(live) == ("recording", "rec2", "active")
        path = f"/calls/{live['id']}"
        assert refused(one, "POST", f"{path}/pause") == (409, "The call is live on node rec2; ask there.")
        status, why = refused(one, "GET", f"{path}/media?format=wav")
        assert status == 503 and "live on node rec2" in why
        assert other.get(f"{path}/media?format=wav").status_code == 200
        assert one.ask("POST", f"{path}/annotations", "privacy", json={"text": "of node 2"}).status_code == 201
        assert other.get(path).json()["annotations"][0]["text"] == "of node 2"

        def away() -> bool:
            postgresql.ask(
                DATABASE, AN_HOUR_AGO
            )  # it has not been heard of since, though it says again that it is there
            return place_of(one.get(path).json()) == ("recording", "rec2", "away")

        await one.until(away)

    placed = place([Plan(to=other.one.uri(), seconds=12)], meanwhile)
    nothing_missing(other, placed)
    until(lambda: one.get(f"/calls/{one.calls()[0]['id']}/media?format=wav").status_code == 200)
    nothing_missing(one, placed)


@pytest.mark.torture
def test_a_killed_node_takes_no_call_of_another(two: Two) -> None:
    one, other, _ = two

    async def meanwhile() -> None:
        await one.until(lambda: any(call["state"] == "recording" for call in one.calls()))
        for number in (signal.SIGKILL, signal.SIGTERM):
            one.one.stop(number)
            one.one.start()
            (live,) = [call for call in one.calls() if call["state"] == "recording"]
            assert live["node"] == "rec2"

    nothing_missing(other, place([Plan(to=other.one.uri(), seconds=25)], meanwhile))
    assert "recovery.done" not in one.one.events()


@pytest.mark.torture
def test_a_killed_node_resumes_calls_that_no_other_has_taken(two: Two) -> None:
    one, other, _ = two

    async def meanwhile() -> None:
        await one.until(lambda: any(call["state"] == "recording" for call in one.calls()))
        assert other.one.stop(signal.SIGKILL) < 0
        assert one.one.stop() == 0
        one.one.start()
        (live,) = [call for call in one.calls() if call["state"] == "recording"]
        assert live["node"] == "rec2"
        other.one.start()

    (placed,) = place([Plan(to=other.one.uri(), seconds=20)], meanwhile)
    recorded = other.over([placed])[placed.session_id]
    assert (recorded["end_reason"], recorded["node"]) == ("bye", "rec2")  # what came while nobody was there is lost
    assert "recovery.done" not in one.one.events()


def test_a_call_that_went_on_to_another_node_is_whole_there(two: Two) -> None:
    one, other, _ = two
    one.one.stop(signal.SIGKILL)

    async def meanwhile() -> None:
        await other.talking(1)
        # It answers the INVITE that waited in its socket; the client ends that dialog at once.
        await asyncio.to_thread(one.one.start)

    placed = place([Plan(to=one.one.uri(), seconds=8, others=(other.one.uri(),))], meanwhile)
    for api in (one, other):
        nothing_missing(api, placed)
        listed = [call for call in api.calls() if call["session_id"] == placed[0].session_id]
        assert [(call["sip_call_id"], call["node"]) for call in listed] == [(placed[0].call_id, "rec2")]
        until(lambda id=listed[0]["id"], api=api: len(api.get(f"/calls/{id}").json()["recordings"]) == 1)  # type: ignore[misc]


def test_jobs_have_an_owner_and_a_hold_counts_on_both_nodes(two: Two) -> None:
    one, other, postgresql = two
    lease = "SELECT owner FROM job_leases WHERE job = 'retention'"
    until(lambda: postgresql.ask(DATABASE, lease) in ("1", "2"))
    (call,) = record(one)
    until(lambda: other.get(f"/calls/{call['id']}").status_code == 200)
    held = other.ask("PUT", f"/calls/{call['id']}/hold", "privacy", json={"reason": "court"})
    assert held.status_code == httpx2.codes.OK and one.get(f"/calls/{call['id']}").json()["hold"]
