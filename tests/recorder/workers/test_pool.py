"""Main's side of the workers: their death, their hanging, a new main, and calls that end while nobody has them."""

import asyncio
import os
import resource
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
from msgspec import structs

from media.records import record_format
from recorder.errors import OtherVersion
from recorder.session.mline_matching import MAX_STREAMS
from recorder.workers import messages
from recorder.workers.pool import Workers
from recorder.workers.worker_handle import HANG, activity
from tests.daemon.other_version import change_messages, same_files
from tests.in_process.worker_call import CALL, Sender, WorkerCall, run
from tests.recorder.timing import steady


def all_of(worker_call: WorkerCall, final: messages.Final) -> None:
    """Every frame that was sent is there once."""
    found = worker_call.read(final)
    for stream, sender in enumerate(worker_call.senders):
        assert worker_call.frames(found, stream) == list(range(sender.sent))
        assert final.streams[stream]["lost"] == final.streams[stream]["gap_ms"] == 0


def test_the_least_loaded_worker_gets_a_call(tmp_path: Path) -> None:
    async def story() -> None:
        workers = Workers(2, tmp_path, lambda _: None)
        await workers.start()
        assert workers.well
        assert set(workers.load) == {0, 1}
        workers._processes[0].calls.add("another")
        assert workers._least() is workers._processes[1]
        pids = [process.pid for process in workers._processes.values()]
        await workers.stop()
        assert [activity(pid)[0] for pid in pids] == ["X", "X"]
        assert not list(tmp_path.glob("*.raw"))

    run(story())


def test_a_call_with_the_most_streams_can_be_taken_over(tmp_path: Path) -> None:
    """A re-offer may have just taken half of them out: what comes to their sockets is kept for a moment more."""

    async def story() -> None:
        worker_call = WorkerCall(tmp_path, streams=MAX_STREAMS)
        await worker_call.recording(2)
        worker_call.kill()
        worker_call.send(2)
        await worker_call.heard(messages.Resumed)
        all_of(worker_call, await worker_call.workers.close(CALL))
        await worker_call.end()

    run(story())


def test_messages_that_may_wait_are_sent_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recorder.workers.worker_handle.GATHER", 0.3)

    async def story() -> None:
        worker_call = WorkerCall(tmp_path)
        await worker_call.recording(5)  # the first call goes at once
        (process,) = worker_call.workers._processes.values()
        closing = asyncio.create_task(worker_call.workers.close(CALL))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(process.outbox) == 1  # within a moment of the call's beginning, so it waits
        worker_call.workers.pause(CALL)  # which cannot wait, and goes behind it
        assert not process.outbox
        assert process.alarm is None
        all_of(worker_call, await asyncio.wait_for(closing, 10))

        worker_call.workers.add(worker_call.new()[0], worker_call.pairs, *[worker_call.spool] * 2)
        worker_call.workers.drop(CALL)
        began = time.monotonic()
        worker_call.begin()
        assert len(process.outbox) == 1
        assert (await worker_call.workers.close(CALL)).clean  # nobody hurries it
        assert time.monotonic() - began > 0.2
        await worker_call.end()

    run(story())


@pytest.mark.parametrize("how", ["its worker is killed", "it ends", "it is paused"])
def test_a_call_that_no_worker_has_heard_of_yet_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr("recorder.workers.worker_handle.GATHER", 0.5)

    async def story() -> None:
        worker_call = WorkerCall(tmp_path)
        await worker_call.workers.start()
        worker_call.workers.add(
            worker_call.new()[0], worker_call.pairs, *[worker_call.spool] * 2
        )  # this one begins the while
        worker_call.workers.drop(CALL)
        (process,) = worker_call.workers._processes.values()
        worker_call.begin()
        worker_call.send(5)
        assert len(process.outbox) == 1
        if how == "its worker is killed":
            worker_call.kill()
            worker_call.send(5)
            await worker_call.heard(messages.Resumed)
        elif how == "it is paused":
            worker_call.workers.pause(CALL)
            for number, sender in enumerate(worker_call.senders):  # nothing of what comes from now on
                sender.socket.sendto(sender.packet(), ("127.0.0.1", worker_call.pairs[number].port))
                sender.sent -= 1
        final = await worker_call.workers.close(CALL)
        assert final.clean
        found = worker_call.read(final)
        assert [worker_call.frames(found, n) for n in range(2)] == [
            list(range(each.sent)) for each in worker_call.senders
        ]
        await worker_call.end()

    run(story())


def test_a_message_that_lacks_descriptors_leaves_none_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recorder.workers.worker_handle.GATHER", 1.0)

    async def story() -> None:
        worker_call = WorkerCall(tmp_path, streams=8)
        await worker_call.recording(5)
        (process,) = worker_call.workers._processes.values()
        new, part = worker_call.new()
        before, limits = os.listdir("/proc/self/fd"), resource.getrlimit(resource.RLIMIT_NOFILE)
        fifth = [number for number in range(10_000) if str(number) not in before][5]
        resource.setrlimit(resource.RLIMIT_NOFILE, (fifth, limits[1]))
        try:
            for _ in range(3):
                with pytest.raises(OSError, match="Too many"):
                    worker_call.workers.add(
                        structs.replace(new, call="another"), worker_call.pairs, part, worker_call.spool
                    )
                worker_call.workers.drop("another")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert (os.listdir("/proc/self/fd"), process.calls) == (before, {CALL})
        os.close(part)
        all_of(worker_call, await worker_call.workers.close(CALL))
        await worker_call.end()

    run(story())


def test_a_stopped_worker_is_replaced_within_five_seconds(tmp_path: Path) -> None:
    async def story(folder: Path) -> float:
        worker_call = WorkerCall(folder)
        await worker_call.recording(20)
        await worker_call.heard(messages.Beat)
        os.kill(worker_call.workers._processes[0].pid, signal.SIGSTOP)
        began = time.monotonic()
        worker_call.send(30)
        while not any(isinstance(event, messages.WorkerDied) for event in worker_call.events):
            worker_call.send(1)  # on a busy machine silence would grow to a gap
            await asyncio.sleep(0.05)
        took = time.monotonic() - began
        (died,) = [event for event in worker_call.events if isinstance(event, messages.WorkerDied)]
        assert (died.why, died.calls) == ("hang", 1)
        await worker_call.resumed()
        worker_call.send(10)
        all_of(worker_call, await worker_call.workers.close(CALL))
        await worker_call.end()
        return took

    assert steady(lambda number: run(story(tmp_path / str(number))), lambda took: took < 5) < 5


def test_a_worker_waiting_for_disk_or_cpu_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        workers = Workers(1, tmp_path, lambda _: None)
        await workers.start()
        process = workers._processes[0]
        for state, used, spared in (
            ("D", 0.0, True), ("R", process.used + 0.2, True), ("R", process.used + 3.0, False), ("S", 0.0, False),
        ):  # fmt: skip
            killed: list[int] = []
            process.last_beat, process.hung, process.waiting = time.monotonic() - HANG - 1, False, False
            with monkeypatch.context() as patch:
                patch.setattr("recorder.workers.worker_handle.activity", lambda *_, said=(state, used): said)
                patch.setattr(
                    "recorder.workers.worker_handle.os.kill", lambda pid, _, killed=killed: killed.append(pid)
                )
                process.check()
            assert (not killed, process.waiting, workers.well) == (spared, spared, spared)
        process.last_beat = time.monotonic()
        await workers.stop()

    run(story())


def test_a_worker_of_other_files_gets_no_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other"
    other.mkdir()
    change_messages(same_files(other))

    async def story() -> None:
        worker_call = WorkerCall(tmp_path)
        await worker_call.recording(20)
        with monkeypatch.context() as patch:
            patch.setattr("recorder.runtime.python_command.HOME", other)  # the files are replaced
            worker_call.kill()
            worker_call.send(5)
            await worker_call.heard(messages.OtherVersion)
        stranger = worker_call.workers._processes[0]
        assert not worker_call.workers.well
        assert worker_call.workers._entries[CALL].process is None
        worker_call.workers.pause(CALL)
        worker_call.workers.resume_call(CALL)
        assert not stranger.outbox
        await worker_call.workers.stop()
        assert activity(stranger.pid)[0] == "X"
        assert [type(event) for event in worker_call.events if not isinstance(event, messages.Beat)] == [
            messages.WorkerDied, messages.NeedPart, messages.OtherVersion
        ]  # fmt: skip  # and it was not replaced
        worker_call.send(7)
        worker_call.workers = Workers(1, tmp_path / "run", worker_call._heard, 0.01)
        await worker_call.workers.start()
        worker_call._heard(messages.NeedPart(CALL))
        await worker_call.resumed()
        all_of(worker_call, await worker_call.workers.close(CALL))
        await worker_call.end()

    run(story())


def test_nothing_begins_with_workers_of_other_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other"
    other.mkdir()
    change_messages(same_files(other))

    async def story() -> None:
        workers = Workers(1, tmp_path / "run", lambda _: None)
        monkeypatch.setattr("recorder.runtime.python_command.HOME", other)
        with pytest.raises(OtherVersion):
            await workers.start()
        await workers.stop()
        assert not list((tmp_path / "run").glob("*.raw"))

    run(story())


def test_a_new_main_goes_on_with_what_the_old_one_left(tmp_path: Path) -> None:
    async def story() -> None:
        worker_call = WorkerCall(tmp_path)
        await worker_call.workers.start()
        worker_call.begin()
        worker_call.send(40)
        await asyncio.sleep(0.03)
        worker_call.kill()  # in the middle of it all, and main with it
        worker_call.send(5)
        worker_call.workers._stopping = True
        await worker_call.workers.stop()
        worker_call.send(7)
        worker_call.workers = Workers(1, tmp_path / "run", worker_call._heard, 0.01)
        await worker_call.workers.start()
        worker_call._heard(messages.NeedPart(CALL))
        await worker_call.resumed()
        worker_call.send(9)
        all_of(worker_call, await worker_call.workers.close(CALL))
        assert not [raw for raw in (tmp_path / "run").glob("*.raw") if raw != worker_call.workers._processes[0].raw]
        await worker_call.end()

    run(story())


def test_packets_in_the_kernel_are_stored_when_main_ends(tmp_path: Path) -> None:
    async def story() -> None:
        worker_call = WorkerCall(tmp_path, tick=60.0, kept=False)
        await worker_call.workers.start()
        worker_call.begin()
        await worker_call.workers.snapshot(CALL)
        worker_call.send(50)
        await worker_call.workers.stop()
        for pair in worker_call.pairs.values():
            pair.close()  # as without a descriptor store
        worker_call.pairs = {n: worker_call._pair() for n in worker_call.pairs}
        worker_call.workers = Workers(1, tmp_path / "run", worker_call._heard, 0.01)
        await worker_call.workers.start()
        worker_call._heard(messages.NeedPart(CALL))
        await worker_call.heard(messages.Resumed)
        final = await worker_call.workers.close(CALL)
        found = worker_call.read(final)
        for stream in (0, 1):
            assert worker_call.frames(found, stream) == list(range(50))
            assert final.streams[stream]["gap_ms"] > 0  # what may have come in between cannot be known
        await worker_call.end()

    run(story())


def test_lost_sockets_leave_a_marked_gap(tmp_path: Path) -> None:
    async def story() -> None:
        worker_call = WorkerCall(tmp_path, kept=False)
        await worker_call.talk_to_one_that_dies()
        await asyncio.sleep(0.3)
        await worker_call.heard(messages.Resumed)
        for _ in range(10):
            worker_call.send()
            await asyncio.sleep(0.02)
        final = await worker_call.workers.close(CALL)
        for stream in (0, 1):
            assert worker_call.frames(worker_call.read(final), stream) == [*range(10), *range(25, 35)]
            figures = final.streams[stream]
            assert (figures["lost"], figures["packets"]) == (15, 20)
            assert figures["gap_ms"] >= 15 * 20
            assert {gap[2] for gap in figures["gaps"]} == {"restart"}
        assert any(
            r.kind == record_format.Mark.RESTART for r in worker_call.read(final) if isinstance(r, record_format.Marked)
        )
        await worker_call.end()

    run(story())


def test_a_call_closed_while_its_worker_is_dead_is_finished(tmp_path: Path) -> None:
    async def story() -> None:
        worker_call = WorkerCall(tmp_path)
        await worker_call.recording(30)
        worker_call.kill()
        worker_call.send(4)
        closing = asyncio.create_task(worker_call.workers.close(CALL))
        again = asyncio.create_task(worker_call.workers.close(CALL))
        final = await closing
        assert await again == final
        assert CALL not in worker_call.workers
        all_of(worker_call, final)
        await worker_call.end()

    run(story())


def test_a_call_may_begin_in_a_pause(tmp_path: Path) -> None:
    """As where the client's answer to an offer of ours comes in its ACK, and somebody was faster."""

    async def story() -> None:
        worker_call = WorkerCall(tmp_path, tick=0.05)
        await worker_call.workers.start()
        new, fd = worker_call.new(pauses=((time.time_ns(), None),))
        worker_call.workers.add(new, worker_call.pairs, fd, worker_call.spool)
        os.close(fd)
        worker_call.send(6)
        await worker_call.workers.snapshot(CALL)
        worker_call.workers.resume_call(CALL)
        worker_call.send(8)
        final = await worker_call.workers.close(CALL)
        assert worker_call.frames(worker_call.read(final), 0) == list(range(6, 14))
        await worker_call.end()

    run(story())


def test_commands_to_a_dead_worker_go_to_the_next(tmp_path: Path) -> None:
    async def story() -> None:
        worker_call = WorkerCall(tmp_path, tick=0.05)
        await worker_call.recording(10)
        process = worker_call.workers._processes[0]
        worker_call.kill()
        while not process.dead:
            await asyncio.sleep(0)
        worker_call.workers.pause(CALL)
        worker_call.send(6)
        worker_call.workers.resume_call(CALL)
        worker_call.send(8)
        figures = await worker_call.workers.snapshot(CALL)
        assert figures.streams[0]["packets"] == 18
        final = await worker_call.workers.close(CALL)
        assert worker_call.frames(worker_call.read(final), 0) == [*range(10), *range(16, 24)]
        assert final.streams[0]["gap_ms"] == 0
        await worker_call.end()

    run(story())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can look into a worker")
def test_a_dropped_call_returns_its_sockets(tmp_path: Path) -> None:
    async def story() -> None:
        worker_call = WorkerCall(tmp_path)
        await worker_call.recording(3)
        worker_call.workers.drop(CALL)
        assert CALL not in worker_call.workers
        assert await worker_call.workers.snapshot(CALL) == messages.Figures(CALL, 0, ())
        assert not (await worker_call.workers.close(CALL)).clean
        pid = worker_call.workers._processes[0].pid
        async with asyncio.timeout(30):
            while any(CALL in path for path in _open_files(pid)):
                await asyncio.sleep(0.01)
        await worker_call.end()

    run(story())


def _open_files(pid: int) -> list[str]:
    """Give what a process has open; what it closes while we look is not."""
    found, folder = [], f"/proc/{pid}/fd"
    for name in os.listdir(folder):
        with suppress(FileNotFoundError):
            found.append(os.readlink(f"{folder}/{name}"))
    return found


def test_a_worker_that_keeps_dying_is_restarted_with_delays(tmp_path: Path) -> None:
    async def story() -> None:
        worker_call = WorkerCall(tmp_path)
        await worker_call.workers.start()
        worker_call.begin()
        for kill in range(1, 4):
            worker_call.kill()
            await worker_call.heard(messages.WorkerDied, kill)
            await worker_call.heard(messages.Resumed, kill)
        worker_call.send(5)
        all_of(worker_call, await worker_call.workers.close(CALL))
        await worker_call.end()

    run(story())


def test_shutdown_is_orderly_during_a_worker_replacement(tmp_path: Path) -> None:
    async def story() -> None:
        workers = Workers(2, tmp_path, lambda _: None)
        await workers.start()
        dead, well = workers._processes.values()
        os.kill(dead.pid, signal.SIGKILL)
        async with asyncio.timeout(30):
            while workers.well:
                await asyncio.sleep(0.01)
        await workers.stop()
        assert activity(well.pid)[0] == "X"

    run(story())


def test_a_worker_that_has_only_been_started_is_not_well_yet(tmp_path: Path) -> None:
    async def story() -> None:
        worker_call = WorkerCall(tmp_path)
        await worker_call.workers.start()
        assert worker_call.workers.well
        worker_call.kill()
        await worker_call.heard(messages.WorkerDied)
        assert not worker_call.workers.well
        while not worker_call.workers.well:
            await asyncio.sleep(0.01)
        await worker_call.end()

    run(story())


def test_foreign_packets_are_reported_once_a_second(tmp_path: Path) -> None:
    async def story() -> None:
        worker_call = WorkerCall(tmp_path)
        await worker_call.workers.start()
        worker_call.begin()
        stranger = Sender(os.urandom(30), 0x1000)
        began = time.monotonic()
        while time.monotonic() - began < 2.2:
            stranger.send(worker_call.pairs[0].port, 20)
            await asyncio.sleep(0.01)
        told = [event for event in worker_call.events if isinstance(event, messages.RefusedPackets)]
        assert 1 <= len(told) <= 1 + time.monotonic() - began
        stranger.socket.close()
        await worker_call.end()

    run(story())
