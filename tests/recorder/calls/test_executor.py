"""Commands of recordings carried out: files, sockets and answers, also on a disk that is full or stands still."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from typing import Any

import pytest

from recorder.calls import fd_store, finalize
from recorder.calls.leaf_prefetch import DAY_SECONDS
from recorder.errors import NotPossible
from recorder.persist.control_part import ControlPart
from recorder.persist.repair import content
from recorder.runtime.disk_thread import Work
from recorder.session.states import State
from sip.ua.events import Token
from storage.errors import NoSpace
from storage.keys.key_store import CustomerKeys
from storage.vault.vault import Draft, Vault
from tests.in_process.offers import beyond_a_message, sdp
from tests.in_process.recorder_node import Stage, sip_request
from tests.recorder.calls.client import hang_up, state_of
from tests.recorder.calls.restart import forget_dialogs
from tests.recorder.calls.service_manager import Manager


async def test_an_accepted_call_has_files_sockets_and_a_checkpoint(one: Stage) -> None:
    """It gives every descriptor back; the first one opens what those behind it need too."""
    one.invite("c0")
    await hang_up(one, "c0")
    await one.indexer.drain(30)
    before = one.descriptors()
    call = one.invite()
    assert (one.statuses("INVITE"), call.recording.state) == ([200, 200], State.RECORDING)
    assert sorted(ref.part for ref in call.customer.vault.left_open()) == ["c1", "m1"]
    assert len(call.sockets.pairs) == 2
    assert [outer.call for outer in one.checkpoints.left()] == [call.id]
    await hang_up(one)
    assert (one.statuses("BYE"), one.faults) == ([200, 200], [])
    await one.indexer.drain(30)
    await one.until(lambda: one.descriptors() <= before)  # a thread may be syncing a folder still


async def test_without_free_ports_an_invite_gets_503(one: Stage) -> None:
    one.invite("c1", sdp(*["sendonly"] * 4))
    taken = []
    while one.resources.ports.free > 1:  # a neighbour may have some
        taken.append(one.resources.ports.open())
    held = one.descriptors()
    one.hear(sip_request("INVITE", "c2", 1, sdp("sendonly", "sendonly")))
    assert one.statuses("INVITE") == [200, 503]
    assert len(one.live) == 1
    await one.until(lambda: one.descriptors() <= held)  # a thread may be syncing a folder still
    assert one.resources.ports.free == 1  # nobody was told of it, so it is there for who needs no more
    for pair in taken:
        pair.close()


@pytest.mark.parametrize("too_large", [False, True])
async def test_a_call_that_is_withdrawn_or_too_large_is_never_stored(one: Stage, too_large: bool) -> None:
    """It is too large if a worker cannot be told of it."""
    before, vault = one.descriptors(), one.customers["acme"].vault
    offer = beyond_a_message() if too_large else sdp("sendonly", "sendonly")
    invite = sip_request("INVITE", "c1", 1, offer, branch="same")
    one.hear(invite, *([] if too_large else [sip_request("CANCEL", "c1", 1, branch="same")]))
    assert (one.statuses("INVITE"), len(one.live), len(one.repairs)) == ([488 if too_large else 487], 0, 0)
    await one.until(lambda: not list(vault.walk()))  # with a document in it, it would be indexed
    await one.until(lambda: one.descriptors() <= before)  # a thread may be syncing a folder still
    await one.indexer.drain(30)
    assert await one.customers["acme"].calls.count() == 0
    assert [each["reason"] for each in one.node.incidents.of("acme")] == ["too-long"] * too_large
    assert not list(one.checkpoints.left())
    assert one.invite("c2").recording.alive


@pytest.mark.parametrize("too_large", [False, True])
async def test_a_withdrawn_or_too_large_reoffer_changes_nothing(one: Stage, too_large: bool) -> None:
    """RFC 3261 section 14.1: the session goes on as if the re-INVITE had never been."""
    call = one.invite()
    before, document = one.descriptors(), call.recording.call_document(one.node.now())["streams"]
    offer = beyond_a_message() if too_large else sdp("gone", "sendonly", "sendonly", version=2)
    again = sip_request("INVITE", "c1", 2, offer, to=one.tag(), branch="two")
    one.hear(again, sip_request("ACK" if too_large else "CANCEL", "c1", 2, to=one.tag(), branch="two"))
    assert one.statuses("INVITE") == [200, 488 if too_large else 487]
    assert (b"Warning: 399" in one.said[-1]) is too_large
    assert [each["reason"] for each in one.node.incidents.of("acme")] == ["too-long"] * too_large
    assert call.recording.call_document(one.node.now())["streams"] == document
    assert sorted(call.sockets.pairs) == [0, 1]
    await one.until(lambda: one.descriptors() <= before)  # a thread may be syncing a folder still
    one.hear(sip_request("INVITE", "c1", 3, sdp("sendonly", "gone", version=2), to=one.tag()))
    assert one.statuses("INVITE")[2:] == [200]
    assert await hang_up(one) == [200]


async def test_a_moved_source_is_heard_before_its_client_is_answered(
    one: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first packets come with the answer, and the worker may be busy with other calls just then."""
    call, change, peers = one.invite(), one.resources.workers.change, []
    for pair in call.sockets.pairs.values():
        pair.rtp.connect(("127.0.0.1", 9))

    def look(*words: Any) -> None:
        peers.extend(pair.peer for pair in call.sockets.pairs.values())
        change(*words)

    monkeypatch.setattr(one.resources.workers, "change", look)
    offer = sdp("sendonly", "sendonly", version=2).replace(b"m=audio 30000", b"m=audio 30100")
    one.hear(sip_request("INVITE", "c1", 2, offer, to=one.tag()))
    assert peers == [None, ("127.0.0.1", 9)]


@pytest.mark.parametrize("notify", [Manager], indirect=True)
async def test_a_new_call_is_answered_once_its_sockets_are_kept(
    one: Stage, notify: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a kill of this process would cost a call audio that was promised to be kept."""
    monkeypatch.setattr(fd_store, "KEPT_SECONDS", 60.0)
    notify.full = True
    one.hear(sip_request("INVITE", "c1", 1, sdp("sendonly", "sendonly")))
    (call,) = one.live
    await asyncio.sleep(0)
    assert (call.sockets.unstored, call.started, one.statuses("INVITE")) == (True, False, [])
    one.executor.checkpoint(call)
    assert not list(one.checkpoints.left())  # nobody could go on with a call that is not answered
    notify.full = False
    await one.until(lambda: one.statuses("INVITE") == [200])
    assert (call.sockets.unstored, call.started) == (False, True)
    assert notify.heard == [(call.sockets.name, 4)]


async def test_a_fault_in_one_call_is_answered_and_spares_the_others(one: Stage) -> None:
    spared, broken = one.invite("c1"), one.invite("c2")
    broken.recording.streams = None  # type: ignore[assignment]  # as a bug would leave it
    one.hear(sip_request("BYE", "c2", 2, to=one.tag()))
    assert one.statuses("BYE") == [500]
    assert [call.id for call in one.live] == [spared.id]
    await one.until(lambda: not len(one.repairs))
    assert await state_of(one, broken.id) == "interrupted"


async def test_a_call_whose_dialog_is_over_is_saved_no_more(one: Stage) -> None:
    call = one.invite()
    (left,) = one.checkpoints.left()
    saved = left.path.read_bytes()
    forget_dialogs(one)
    one.executor.checkpoint(call)
    assert left.path.read_bytes() == saved


async def test_a_refused_line_is_an_incident_of_its_customer(one: Stage) -> None:
    """Half a conversation looks like all of it: `complete`, no gap."""
    call = one.invite(offer=sdp("sendonly", "sendonly").replace(b"inline:QkJC", b"inline:"))
    one.hear(sip_request("INVITE", "c1", 2, sdp("sendonly", "gone", version=2), to=one.tag()))
    found = [(i["kind"], i["call"], i["reason"]) for i in one.node.incidents.of("acme")]
    assert found == [("line-refused", call.id, "crypto-key-length")]


def today(one: Stage) -> int:
    return int(one.node.now().wall.timestamp()) // DAY_SECONDS


@pytest.mark.parametrize(("fault", "reason"), [("no part", "storage"), ("no record", "storage"), ("stall", "disk")])
async def test_a_disk_that_fails_as_a_call_begins_gives_503(
    one: Stage, monkeypatch: pytest.MonkeyPatch, fault: str, reason: str
) -> None:
    acme, go = one.customers["acme"], threading.Event()
    make, put = type(acme.vault).make, ControlPart._put

    def no_part(vault: Vault, draft: Draft) -> object:
        if fault == "no part" and draft.place.endswith(".m1"):
            raise NoSpace("no space left")
        return make(vault, draft)

    def no_record(part: ControlPart, ready: bytes) -> None:
        if fault == "no record":
            raise NotPossible("no space left")
        go.wait(30)
        put(part, ready)

    def read_only(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(finalize, "take_back", read_only)  # files that were made after all are removed later
    for day in (today(one), today(one) + 1):  # midnight may pass
        acme.keys.refill(day)
    before = one.descriptors()
    with monkeypatch.context() as broken:
        broken.setattr(type(acme.vault), "make", no_part)
        broken.setattr(ControlPart, "_put", no_record)
        broken.setattr(one.resources.disk, "_give_up_seconds", 0.05 if fault == "stall" else 10.0)
        one.hear(sip_request("INVITE", "c1", 1, sdp("sendonly", "sendonly")))
        left = acme.vault.left_open()
        if fault == "stall":  # the next gets neither ports nor files
            broken.setattr(one.resources.ports, "open", None)
            one.hear(sip_request("INVITE", "c2", 1, sdp("sendonly", "sendonly")))
        assert acme.vault.left_open() == left
        assert (set(one.statuses("INVITE")), len(one.live)) == ({503}, 0)
        assert any(b"Retry-After: 30" in answer for answer in one.said)
        go.set()
        await one.until(lambda: not one.resources.disk.away)
    await one.until(lambda: not acme.vault.left_open() and not len(one.repairs))
    await one.until(lambda: one.descriptors() <= before)  # a thread may be syncing a folder still
    assert not list(one.checkpoints.left())
    assert all(not path.stat().st_size for path in (one.node.settings.node.runtime_dir / "live").iterdir())
    assert [each["reason"] for each in one.node.incidents.of("acme")][-1] == reason
    assert one.resources.storage.well is (fault == "stall")
    one.resources.storage.well = True
    assert one.invite("c9").recording.alive


async def test_a_live_calls_records_are_written_after_a_stall(one: Stage) -> None:
    call, go = one.invite(), threading.Event()
    one.resources.disk._give_up_seconds = 0.05
    one.resources.disk.begin(lambda: go.wait(30))
    one.hear(sip_request("INVITE", "c1", 2, sdp("inactive", "sendonly", version=2), to=one.tag()))
    assert one.statuses("INVITE") == [200, 200]
    one.hear(sip_request("ACK", "c1", 2, to=one.tag()))
    one.bye()
    await asyncio.sleep(0)
    assert one.statuses("BYE") == []
    go.set()
    await one.until(lambda: one.statuses("BYE"))
    assert one.statuses("BYE") == [200]
    document = content(call.customer, call.id, call.leaf).document
    assert document and (document["state"], len(document["streams"][0]["pauses"])) == ("complete", 1)
    assert one.faults == []


async def test_a_checkpoint_that_could_not_be_written_is_repeated(one: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left")

    call = one.invite()
    with monkeypatch.context() as broken:
        broken.setattr(one.checkpoints, "save", full)
        one.executor.checkpoint(call)
    assert (call.outdated, one.resources.storage.well) == (True, False)
    one.executor.checkpoint(call)
    assert not call.outdated


async def test_one_visit_to_the_disk_stores_what_a_200_promises(one: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """To wake its thread costs more than the work, and the loop, which waits for it, has the keys at hand."""
    acme, begin, accept = one.customers["acme"], one.resources.disk.begin, one.resources.endpoint.accept
    secret = CustomerKeys.secret
    asked, threads, found = list[list[str]](), set[str](), list[object]()
    acme.keys.refill(today(one))

    def count(*words: Any) -> Work[Any]:
        work: Work[Any] = begin(*words)
        asked.append(sorted(ref.part for ref in acme.vault.left_open()))
        return work

    def derive(self: CustomerKeys, leaf: int, name: str) -> bytes:
        threads.add(threading.current_thread().name)
        return secret(self, leaf, name)

    def look(token: Token, answer: bytes, now: float) -> bool:
        (call,) = one.live
        found.append((content(call.customer, call.id, call.leaf).document or {}).get("state"))
        return accept(token, answer, now)

    monkeypatch.setattr(one.resources.disk, "begin", count)
    monkeypatch.setattr(CustomerKeys, "secret", derive)
    monkeypatch.setattr(one.resources.endpoint, "accept", look)
    one.invite()
    assert (asked, threads) == ([["c1", "m1"]], {threading.main_thread().name})
    assert found == ["interrupted"]  # as a successor would find it before the 200
