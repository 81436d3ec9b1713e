"""The hands of the recordings: files, sockets and answers, and that nothing is left of what fails."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from recorder.calls import fd_store
from recorder.runtime.sd_notify import Notifier
from recorder.session.states import State
from tests.recorder.in_process_node import Stage, sip_request
from tests.recorder.offers import beyond_a_message, sdp


async def test_an_accepted_call_has_files_sockets_and_a_checkpoint(one: Stage) -> None:
    """It gives every descriptor back; the first one opens what those behind it need too."""
    one.invite("c0")
    one.bye("c0")
    await one.until(lambda: not len(one.live))
    await one.node.indexer.drain(30)
    before = one.descriptors()
    call = one.invite()
    assert (one.statuses("INVITE"), call.recording.state) == ([200, 200], State.RECORDING)
    assert sorted(ref.part for ref in call.customer.vault.left_open()) == ["c1", "m1"]
    assert len(call.sockets.pairs) == 2
    assert [outer.call for outer in one.checkpoints.left()] == [call.id]
    one.bye()
    await one.until(lambda: not len(one.live))
    assert (one.statuses("BYE"), one.faults) == ([200, 200], [])
    await one.node.indexer.drain(30)
    await one.until(lambda: one.descriptors() <= before)  # a thread may be syncing a folder still


async def test_without_free_ports_an_invite_gets_503(one: Stage) -> None:
    one.invite("c1", sdp(*["sendonly"] * 4))
    taken = []
    while one.node.ports.free > 1:  # a neighbour may have some
        taken.append(one.node.ports.open())
    held = one.descriptors()
    one.hear(sip_request("INVITE", "c2", 1, sdp("sendonly", "sendonly")))
    assert one.statuses("INVITE") == [200, 503]
    assert len(one.live) == 1
    assert one.descriptors() == held
    assert one.node.ports.free == 1  # nobody was told of it, so it is there for who needs no more
    for pair in taken:
        pair.close()


@pytest.mark.parametrize("too_large", [False, True])
async def test_a_call_that_is_withdrawn_or_too_large_is_never_stored(one: Stage, too_large: bool) -> None:
    """It is too large if a worker cannot be told of it."""
    before, vault = one.descriptors(), one.node.customers["acme"].vault
    offer = beyond_a_message() if too_large else sdp("sendonly", "sendonly")
    invite = sip_request("INVITE", "c1", 1, offer, branch="same")
    one.hear(invite, *([] if too_large else [sip_request("CANCEL", "c1", 1, branch="same")]))
    assert (one.statuses("INVITE"), len(one.live), len(one.repairs)) == ([488 if too_large else 487], 0, 0)
    await one.until(lambda: not list(vault.walk()))  # with a document in it, it would be indexed
    await one.until(lambda: one.descriptors() <= before)  # a thread may be syncing a folder still
    await one.node.indexer.drain(30)
    assert await one.node.customers["acme"].calls.count() == 0
    assert [each["reason"] for each in one.node.incidents.of("acme")] == ["too-long"] * too_large
    assert not list(one.checkpoints.left())
    assert one.invite("c2").recording.alive


@pytest.mark.parametrize("too_large", [False, True])
async def test_a_reoffer_that_is_withdrawn_or_too_large_changes_nothing(one: Stage, too_large: bool) -> None:
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
    assert sorted(call.sockets.pairs) == [0, 1] and one.descriptors() == before
    one.hear(sip_request("INVITE", "c1", 3, sdp("sendonly", "gone", version=2), to=one.tag()))
    assert one.statuses("INVITE")[2:] == [200]
    one.bye()
    await one.until(lambda: not len(one.live))
    assert one.statuses("BYE") == [200]


async def test_a_moved_source_is_heard_before_its_client_is_answered(
    one: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first packets come with the answer, and the worker may be busy with other calls just then."""
    call, change, peers = one.invite(), one.node.workers.change, []
    for pair in call.sockets.pairs.values():
        pair.rtp.connect(("127.0.0.1", 9))

    def look(*words: Any) -> None:
        peers.extend(pair.peer for pair in call.sockets.pairs.values())
        change(*words)

    monkeypatch.setattr(one.node.workers, "change", look)
    offer = sdp("sendonly", "sendonly", version=2).replace(b"m=audio 30000", b"m=audio 30100")
    one.hear(sip_request("INVITE", "c1", 2, offer, to=one.tag()))
    assert peers == [None, ("127.0.0.1", 9)]


async def test_a_removed_stream_leaves_the_others_in_the_store(one: Stage, tmp_path: Path) -> None:
    """Stored anew they would be nobody's for a moment; and its port keeps the name that they all have theirs."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "manager"))
        manager.setblocking(False)
        one.node.notify = Notifier(str(tmp_path / "manager"))
        call = one.invite()
        name, pairs = call.sockets.name, dict(call.sockets.pairs)
        assert told(manager) == [("FDSTORE=1", name)]
        without = sdp("image", "sendonly", "sendonly", version=2)
        again = sip_request("INVITE", "c1", 2, without, to=one.tag())
        one.hear(again, sip_request("ACK", "c1", 2, to=one.tag()))
        await one.until(lambda: list(call.sockets.pairs) == [1, 2])
        assert (call.sockets.retired, call.sockets.name) == (((pairs[0], None),), name)
        assert pairs[0].rtp.fileno() >= 0
        assert told(manager) == [("FDSTORE=1", name)]  # of the third
        port, client = pairs[0].port, ("192.0.2.9", 4000, (7,))
        call.sockets.retired = ((pairs[0], client),)
        one.bye()
        await one.until(lambda: not len(one.live))
        assert [pair.rtp.fileno() for pair in pairs.values()] == [-1, -1]
        assert one.node.ports.former(port) == (client,)
        assert told(manager) == [("FDSTOREREMOVE=1", name)]
    one.node.notify.close()


async def test_a_new_call_is_answered_once_its_sockets_are_kept(
    one: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a kill of this process would cost a call audio that was promised to be kept."""
    monkeypatch.setattr(fd_store, "KEPT_SECONDS", 60.0)
    with full(tmp_path / "manager") as (manager, notifier):
        one.node.notify = notifier
        one.hear(sip_request("INVITE", "c1", 1, sdp("sendonly", "sendonly")))
        (call,) = one.live
        await asyncio.sleep(0)
        assert (call.sockets.unstored, call.started, one.statuses("INVITE")) == (True, False, [])
        one.executor.checkpoint(call)
        assert not list(one.checkpoints.left())  # nobody could go on with a call that is not answered
        empty(manager)
        await one.until(lambda: one.statuses("INVITE") == [200])
        assert (call.sockets.unstored, call.started) == (False, True)
        assert told(manager) == [("FDSTORE=1", call.sockets.name)]


async def test_a_call_cancelled_while_its_sockets_wait_is_undone(one: Stage, tmp_path: Path) -> None:
    with full(tmp_path / "manager") as (manager, notifier):
        one.node.notify = notifier
        before = one.node.ports.free
        one.hear(sip_request("INVITE", "c1", 1, sdp("sendonly", "sendonly")))
        one.hear(sip_request("CANCEL", "c1", 1, branch="INVITE1"))
        assert one.statuses("INVITE") == [487]
        empty(manager)
        await one.until(lambda: not len(one.live))
        assert one.statuses("INVITE") == [487]
        assert one.node.ports.free <= before - 2  # they rest


@contextmanager
def full(address: Path) -> Iterator[tuple[socket.socket, Notifier]]:
    """A service manager whose queue is full, and the way to it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(address))
        manager.setblocking(False)
        notifier = Notifier(str(address))
        while notifier.watchdog():
            pass
        try:
            yield manager, notifier
        finally:
            notifier.close()


def empty(manager: socket.socket) -> None:
    """Let the manager read everything that nobody needs."""
    with suppress(BlockingIOError):
        while manager.recv(100) == b"WATCHDOG=1":
            pass


def told(manager: socket.socket) -> list[tuple[str, str]]:
    """Take what a service manager was told: verb and name."""
    out = []
    with suppress(BlockingIOError):
        while True:
            data, given, _, _ = socket.recv_fds(manager, 1000, 10)
            for descriptor in given:
                os.close(descriptor)
            verb, name, *_ = data.decode().split("\n")
            out.append((verb, name.removeprefix("FDNAME=")))
    return out


async def test_a_fault_in_one_call_is_answered_and_spares_the_others(one: Stage) -> None:
    spared, broken = one.invite("c1"), one.invite("c2")
    broken.recording.streams = None  # type: ignore[assignment]  # as a bug would leave it
    one.hear(sip_request("BYE", "c2", 2, to=one.tag()))
    assert one.statuses("BYE") == [500]
    assert [call.id for call in one.live] == [spared.id]
    await one.until(lambda: not len(one.repairs))
    row = await one.node.customers["acme"].calls.get(broken.id)
    assert row and row.state.value == "interrupted"


async def test_a_part_that_a_killed_process_made_is_passed_over(one: Stage) -> None:
    call = one.invite()
    os.close(call.customer.vault.create(call.id, call.leaf, "m2").fd)
    assert one.executor.next_part(call).name == "m3"


async def test_a_checkpoint_that_cannot_be_written_is_tried_again(one: Stage) -> None:
    call = one.invite()
    slot = one.checkpoints._of[call.id]
    held, slot.fd = slot.fd, os.open("/dev/full", os.O_WRONLY)
    one.executor.checkpoint(call)
    assert call.dirty
    assert one.node.storage.well is False
    os.close(slot.fd)
    slot.fd = held
    one.executor.checkpoint(call)
    assert not call.dirty


async def test_a_refused_line_is_an_incident_of_its_customer(one: Stage) -> None:
    """Half a conversation looks like all of it: `complete`, no gap."""
    call = one.invite(offer=sdp("sendonly", "sendonly").replace(b"inline:QkJC", b"inline:"))
    one.hear(sip_request("INVITE", "c1", 2, sdp("sendonly", "gone", version=2), to=one.tag()))
    found = [(i["kind"], i["call"], i["reason"]) for i in one.node.incidents.of("acme")]
    assert found == [("line-refused", call.id, "crypto-key-length")]
