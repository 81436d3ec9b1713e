"""The hands of the recordings on a disk that is full, stands still or goes away: no 200 that is not true."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from media.receive.sockets import Pair
from recorder.calls.leaf_prefetch import DAY_SECONDS
from recorder.errors import NotPossible
from recorder.persist.control_part import ControlPart
from recorder.persist.repair import rebuild
from recorder.runtime.disk_thread import Work
from recorder.session import events as e
from sip.ua.events import Token
from storage.errors import NoSpace
from storage.keys.key_store import CustomerKeys
from storage.vault.vault import Draft
from tests.in_process.offers import sdp
from tests.in_process.recorder_node import Stage, sip_request, stage


def today(one: Stage) -> int:
    return int(one.node.now().wall.timestamp()) // DAY_SECONDS


def test_a_full_disk_is_503_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            vault = one.node.customers["acme"].vault
            make = type(vault).make

            def full(self: object, draft: Draft) -> object:
                if draft.place.endswith(".m1"):
                    raise NoSpace("no space left")
                return make(vault, draft)

            monkeypatch.setattr(type(vault), "make", full)
            before = one.descriptors()
            one.hear(sip_request("INVITE", "c1", 1, sdp("sendonly", "sendonly")))
            assert one.statuses("INVITE") == [503]
            assert len(one.live) == 0
            await one.until(lambda: one.descriptors() <= before)  # a thread may be syncing a folder still
            assert one.node.storage.well is False
            await one.until(lambda: not vault.left_open())
            assert all(not path.stat().st_size for path in (one.node.runtime_dir / "live").iterdir())
            assert not list(one.checkpoints.left())

    asyncio.run(story())


def test_a_stalled_disk_delays_an_invite_only_briefly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with stage(tmp_path, patience=0.05) as one:
            vault, go = one.node.customers["acme"].vault, threading.Event()
            make, asked = type(vault).make, list[str]()

            def slow(self: object, draft: Draft) -> object:
                asked.append(draft.place[-2:])
                made = make(vault, draft)
                go.wait(30)
                return made

            opened, opening = list[bool](), one.node.ports.open

            def count(*, rtcp: bool) -> Pair:
                opened.append(rtcp)
                return opening(rtcp=rtcp)

            monkeypatch.setattr(type(vault), "make", slow)
            monkeypatch.setattr(one.node.ports, "open", count)
            one.node.customers["acme"].keys.refill(today(one))
            before = one.descriptors()
            for number in range(3):
                one.hear(sip_request("INVITE", f"c{number}", 1, sdp("sendonly", "sendonly")))
            assert one.statuses("INVITE") == [503] * 3
            assert all(b"Retry-After: 30" in answer for answer in one.said if b" 503 " in answer)
            assert (len(one.live), one.node.storage.well) == (0, True)
            assert len(opened) == 2  # the first one's
            assert [each["reason"] for each in one.node.incidents.of("acme")] == ["disk"]
            await one.until(lambda: len(vault.left_open()) == 1)
            go.set()
            await one.until(lambda: not one.node.disk.away)
            assert asked == ["c1", "m1"]  # the first one found out; the others asked for nothing
            assert vault.left_open() == []
            await one.until(lambda: one.descriptors() <= before)  # a thread may be syncing a folder still
            one.node.disk._give_up_seconds = 10.0
            assert one.invite("c9").recording.alive

    asyncio.run(story())


def test_no_200_precedes_the_record_of_its_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            accept, found = one.node.endpoint.accept, list[object]()

            def look(token: Token, answer: bytes, now: float) -> bool:
                (call,) = one.live
                found.append((rebuild(call.customer, call.id, call.leaf) or {}).get("state"))
                return accept(token, answer, now)

            monkeypatch.setattr(one.node.endpoint, "accept", look)
            one.invite()
            assert found == ["interrupted"]  # as a successor would find it

    asyncio.run(story())


@pytest.mark.parametrize("fault", ["away", "full"])
def test_a_disk_that_fails_after_the_files_are_made_gives_503(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            vault, go = one.node.customers["acme"].vault, threading.Event()
            put = ControlPart._put

            def stuck(part: ControlPart, ready: bytes) -> None:
                if fault == "full":
                    raise NotPossible("no space left")
                go.wait(30)
                put(part, ready)

            one.node.customers["acme"].keys.refill(today(one))
            before = one.descriptors()
            with monkeypatch.context() as broken:
                broken.setattr(ControlPart, "_put", stuck)
                broken.setattr(one.node.disk, "_give_up_seconds", 0.05 if fault == "away" else 10.0)
                one.hear(sip_request("INVITE", "c1", 1, sdp("sendonly", "sendonly")))
                assert one.statuses("INVITE") == [503]
                assert any(b"Retry-After: 30" in answer for answer in one.said)
                assert len(one.live) == 0
                go.set()
                await one.until(lambda: not one.node.disk.away)
            await one.until(lambda: not vault.left_open())
            await one.until(lambda: one.descriptors() <= before)  # a thread may be syncing a folder still
            assert not list(one.checkpoints.left())
            reason = "disk" if fault == "away" else "storage"
            assert [each["reason"] for each in one.node.incidents.of("acme")][-1] == reason
            one.node.storage.well = True
            assert one.invite("c9").recording.alive

    asyncio.run(story())


def test_a_read_only_disk_leaks_no_descriptor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            vault, refused = one.node.customers["acme"].vault, OSError(errno.EROFS, os.strerror(errno.EROFS))
            one.node.customers["acme"].keys.refill(today(one))
            before = one.descriptors()

            def read_only(*_: object) -> None:
                raise refused

            with monkeypatch.context() as broken:
                broken.setattr(ControlPart, "_put", read_only)
                broken.setattr(os, "unlink", read_only)
                one.hear(sip_request("INVITE", "c1", 1, sdp("sendonly", "sendonly")))
            assert (one.statuses("INVITE"), len(one.live)) == ([503], 0)
            assert [ref.part for ref in vault.left_open()] == ["c1", "m1"]  # the next start sees that they are empty
            await one.until(lambda: one.descriptors() <= before)  # a thread may be syncing a folder still

    asyncio.run(story())


def test_a_live_calls_records_are_written_after_a_stall(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            call, go = one.invite(), threading.Event()
            one.node.disk._give_up_seconds = 0.05
            one.node.disk.begin(lambda: go.wait(30))
            one.hear(sip_request("INVITE", "c1", 2, sdp("inactive", "sendonly", version=2), to=one.tag()))
            assert one.statuses("INVITE") == [200, 200]
            one.hear(sip_request("ACK", "c1", 2, to=one.tag()))
            one.bye()
            await asyncio.sleep(0)
            assert one.statuses("BYE") == []
            go.set()
            await one.until(lambda: one.statuses("BYE"))
            assert one.statuses("BYE") == [200]
            document = rebuild(call.customer, call.id, call.leaf)
            assert document and (document["state"], len(document["streams"][0]["pauses"])) == ("complete", 1)
            assert one.faults == []

    asyncio.run(story())


def test_the_control_part_goes_on_after_the_disk_was_full(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            call = one.invite()
            assert call.files.control
            held, call.files.control._fd = call.files.control._fd, os.open("/dev/full", os.O_WRONLY)
            one.executor.feed(call, e.PauseAsked())
            assert one.node.storage.well is False
            os.close(call.files.control._fd)
            call.files.control._fd = held
            one.executor.feed(call, e.ResumeAsked())
            one.bye()
            await one.until(lambda: not len(one.live))
            assert one.statuses("BYE") == [200]
            kept = [d for ref in call.customer.vault.parts(call.id, call.leaf) for d in call.customer.vault.verify(ref)]
            assert kept == []

    asyncio.run(story())


def test_the_disk_is_asked_once_for_all_that_a_200_promises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files, what came with the INVITE and the call's document: to wake its thread costs more than the work."""

    async def story() -> None:
        async with stage(tmp_path) as one:
            begin, asked = one.node.disk.begin, list[list[str]]()
            vault = one.node.customers["acme"].vault
            one.node.customers["acme"].keys.refill(today(one))

            def count(*words: Any) -> Work[Any]:
                work: Work[Any] = begin(*words)
                asked.append(sorted(ref.part for ref in vault.left_open()))
                return work

            monkeypatch.setattr(one.node.disk, "begin", count)
            call = one.invite()
            assert asked == [["c1", "m1"]]
            assert rebuild(call.customer, call.id, call.leaf)

    asyncio.run(story())


def test_the_disk_is_not_kept_with_what_needs_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop waits for its thread, which has everything to fetch that the loop has at hand: keys, names, ciphers."""

    async def story() -> None:
        async with stage(tmp_path) as one:
            secret, threads = CustomerKeys.secret, set[str]()

            def derive(self: CustomerKeys, leaf: int, name: str) -> bytes:
                threads.add(threading.current_thread().name)
                return secret(self, leaf, name)

            monkeypatch.setattr(CustomerKeys, "secret", derive)
            call = one.invite()
            assert threads == {threading.main_thread().name}
            assert rebuild(call.customer, call.id, call.leaf)

    asyncio.run(story())
