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
from recorder.session import commands as c
from recorder.session.states import State
from tests.in_process.offers import beyond_a_message, sdp
from tests.in_process.recorder_node import sip_request, stage


def test_an_accepted_call_has_files_sockets_and_a_checkpoint(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            call = one.invite()
            assert one.statuses("INVITE") == [200]
            assert call.recording.state is State.RECORDING
            assert sorted(ref.part for ref in call.customer.vault.left_open()) == ["c1", "m1"]
            assert len(call.sockets.pairs) == 2
            assert [outer.call for outer in one.checkpoints.left()] == [call.id]
            one.bye()
            await one.until(lambda: not len(one.live))
            assert one.statuses("BYE") == [200]
            assert one.faults == []

    asyncio.run(story())


def test_a_finished_call_gives_every_descriptor_back(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            before = 0
            for name in ("c0", "c1", "c2", "c3", "c4"):
                one.invite(name)
                one.bye(name)
                await one.until(lambda: not len(one.live))
                await one.node.indexer.drain(30)
                before = before or one.descriptors()  # with all that the first call opens for those behind it
            await one.until(lambda: one.descriptors() <= before)  # a thread may be syncing a folder still

    asyncio.run(story())


def test_without_free_ports_an_invite_gets_503(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            before = one.descriptors()
            one.hear(
                sip_request("INVITE", "c1", 1, sdp(*["sendonly"] * 4) + sdp(*["sendonly"] * 4).partition(b"m=")[1] * 0)
            )
            assert one.statuses("INVITE") == [200]
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
            assert before < held

    asyncio.run(story())


def test_a_call_withdrawn_before_its_answer_is_never_stored(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            before = one.descriptors()
            invite = sip_request("INVITE", "c1", 1, sdp("sendonly", "sendonly"), branch="same")
            one.hear(invite, sip_request("CANCEL", "c1", 1, branch="same"))
            assert one.statuses("INVITE") == [487]
            assert len(one.live) == 0
            vault = one.node.customers["acme"].vault
            await one.until(lambda: not list(vault.walk()))
            await one.until(lambda: one.descriptors() <= before)  # a thread may be syncing a folder still
            await one.node.indexer.drain(30)
            assert await one.node.customers["acme"].calls.count() == 0

    asyncio.run(story())


def test_a_withdrawn_reoffer_leaves_the_call_as_it_was(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            call = one.invite()
            before, document = one.descriptors(), call.recording.call_document(one.node.now())["streams"]
            offer = sdp("gone", "sendonly", "sendonly", version=2)
            again = sip_request("INVITE", "c1", 2, offer, to=one.tag(), branch="two")
            one.hear(again, sip_request("CANCEL", "c1", 2, to=one.tag(), branch="two"))
            assert one.statuses("INVITE") == [200, 487]
            assert call.recording.call_document(one.node.now())["streams"] == document
            assert sorted(call.sockets.pairs) == [0, 1]
            assert one.descriptors() == before
            one.bye()
            await one.until(lambda: not len(one.live))
            assert one.statuses("BYE") == [200]

    asyncio.run(story())


def test_a_moved_source_is_heard_before_its_client_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first packets come with the answer, and the worker may be busy with other calls just then."""

    async def story() -> None:
        async with stage(tmp_path) as one:
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

    asyncio.run(story())


def test_a_removed_stream_leaves_the_others_in_the_store(tmp_path: Path) -> None:
    """Stored anew they would be nobody's for a moment; and its port keeps the name that they all have theirs."""

    async def story() -> None:
        async with stage(tmp_path) as one:
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

    asyncio.run(story())


def test_a_new_call_is_answered_once_its_sockets_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a kill of this process would cost a call audio that was promised to be kept."""
    monkeypatch.setattr(fd_store, "KEPT_SECONDS", 60.0)

    async def story() -> None:
        async with stage(tmp_path) as one:
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

    asyncio.run(story())


def test_a_call_cancelled_while_its_sockets_wait_is_undone(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
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

    asyncio.run(story())


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


def test_a_fault_in_one_call_is_answered_and_spares_the_others(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            spared, broken = one.invite("c1"), one.invite("c2")
            broken.recording.streams = None  # type: ignore[assignment]  # as a bug would leave it
            one.hear(sip_request("BYE", "c2", 2, to=one.tag()))
            assert one.statuses("BYE") == [500]
            assert [call.id for call in one.live] == [spared.id]
            await one.until(lambda: not len(one.repairs))
            row = await one.node.customers["acme"].calls.get(broken.id)
            assert row is not None
            assert row.state.value == "interrupted"

    asyncio.run(story())


def test_a_call_too_large_for_a_worker_is_refused(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            before = one.descriptors()
            one.hear(sip_request("INVITE", "c1", 1, beyond_a_message()))
            assert (one.statuses("INVITE"), len(one.live), len(one.repairs)) == ([488], 0, 0)
            vault = one.node.customers["acme"].vault
            await one.until(lambda: not list(vault.walk()))  # with a document in it, it would be indexed
            await one.until(lambda: one.descriptors() <= before)
            assert [each["reason"] for each in one.node.incidents.of("acme")] == ["too-long"]
            assert not list(one.checkpoints.left())
            assert not any(process.calls for process in one.node.workers._processes.values())
            assert one.invite("c2").recording.alive

    asyncio.run(story())


def test_a_reoffer_too_large_for_a_worker_changes_nothing(tmp_path: Path) -> None:
    """RFC 3261 section 14.1: the session goes on as if the re-INVITE had never been."""

    async def story() -> None:
        async with stage(tmp_path) as one:
            call = one.invite()
            before, document = one.descriptors(), call.recording.call_document(one.node.now())["streams"]
            one.hear(sip_request("INVITE", "c1", 2, beyond_a_message(), to=one.tag()))
            one.hear(sip_request("ACK", "c1", 2, to=one.tag()))
            assert one.statuses("INVITE") == [200, 488]
            assert b"Warning: 399" in one.said[-1]
            assert call.recording.alive
            assert call.recording.call_document(one.node.now())["streams"] == document
            assert sorted(call.sockets.pairs) == [0, 1]
            assert one.descriptors() == before
            assert [each["reason"] for each in one.node.incidents.of("acme")] == ["too-long"]
            one.hear(sip_request("INVITE", "c1", 3, sdp("sendonly", "gone", version=2), to=one.tag()))
            assert one.statuses("INVITE") == [200, 488, 200]
            one.bye()
            await one.until(lambda: not len(one.live))
            assert one.statuses("BYE") == [200]

    asyncio.run(story())


def test_a_part_that_a_killed_process_made_is_passed_over(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            call = one.invite()
            os.close(call.customer.vault.create(call.id, call.leaf, "m2").fd)
            assert one.executor.next_part(call).name == "m3"

    asyncio.run(story())


def test_a_checkpoint_that_cannot_be_written_is_tried_again(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
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

    asyncio.run(story())


def test_a_refused_line_is_an_incident_of_its_customer(tmp_path: Path) -> None:
    """Half a conversation looks like all of it: `complete`, no gap."""

    async def story() -> None:
        async with stage(tmp_path) as one:
            call = one.invite(offer=sdp("sendonly", "sendonly").replace(b"inline:QkJC", b"inline:"))
            one.hear(sip_request("INVITE", "c1", 2, sdp("sendonly", "gone", version=2), to=one.tag()))
            found = [(i["kind"], i["call"], i["reason"]) for i in one.node.incidents.of("acme")]
            assert found == [("line-refused", call.id, "crypto-key-length")]

    asyncio.run(story())


def test_every_command_has_hands() -> None:
    assert {kind.__name__ for kind in c.Command.__args__} == {
        "Accept", "ChangeMedia", "CloseMedia", "CloseSockets", "Discard", "EndStreams", "Finish", "HangUp",
        "Index", "Keep", "OpenSockets", "PauseMedia", "Refuse", "Reoffer", "Report", "ResumeMedia",
    }  # fmt: skip
