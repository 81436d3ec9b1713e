"""Whether calls are accepted, and how the storage becomes well again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from recorder.calls import admission
from recorder.calls.admission import Admission, room
from recorder.calls.executor import SETTLED_SECONDS
from tests.in_process.recorder_node import CONFIG, Stage, sip_request, standing
from tests.recorder.calls.service_manager import Manager


def keeper(one: Stage, *every_second: Callable[[], None]) -> Admission:
    return Admission(one.node, one.resources, one.live, None, every_second)


def options(one: Stage, number: int) -> int:
    one.hear(sip_request("OPTIONS", f"o{number}", number))
    return one.statuses("OPTIONS")[-1]


async def test_calls_are_refused_while_the_storage_fails(one: Stage) -> None:
    here = keeper(one)
    one.load_changed = here.review
    assert options(one, 1) == 200
    one.resources.storage.trouble(OSError(5, "broken"))
    assert here.not_accepting() == "storage"
    assert options(one, 2) == 503
    here.beat()
    assert here.not_accepting() is None
    assert options(one, 3) == 200


@pytest.mark.parametrize("config", [pytest.param(CONFIG.replace("max_calls = 5", "max_calls = 1"), id="one call")])
async def test_the_limit_and_the_drain_are_reasons(one: Stage) -> None:
    here = keeper(one)
    one.invite()
    assert here.not_accepting() == "limit reached"
    here.drain()
    assert here.not_accepting() == "draining"


@pytest.mark.parametrize("notify", [Manager], indirect=True)
async def test_sockets_the_service_manager_did_not_take_are_resent(
    one: Stage, notify: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the next beat: a crash meanwhile would cost those calls audio."""
    monkeypatch.setattr(admission, "BEAT_SECONDS", 600.0)
    notify.away = True
    calls = [one.invite(name) for name in ("c1", "c2")]
    beating = asyncio.create_task(keeper(one).run())
    await asyncio.sleep(0)
    assert all(call.sockets.unstored for call in calls)
    notify.away = False
    await one.until(lambda: not any(call.sockets.unstored for call in calls))
    keeper(one).beat()
    stored = [(call.sockets.name, len(call.sockets.descriptors())) for call in calls]
    assert notify.heard == [*stored, ("watchdog", 0)]  # once each
    beating.cancel()


async def test_a_changed_call_is_saved_at_the_next_beat(one: Stage) -> None:
    call, done = one.invite(), list[bool]()
    call.changed()
    here = keeper(one, one.executor.save_settled, lambda: done.append(call.outdated))
    here.beat()
    begun = call.recording.started
    call.recording.started = begun._replace(mono=begun.mono - SETTLED_SECONDS - 1)
    here.beat()
    assert done == [True, False]  # a call that has just begun waits


async def test_a_bug_in_a_check_does_not_stop_the_clock(one: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "BEAT_SECONDS", 0.001)
    beats: list[int] = []
    one.node.tasks.start(keeper(one, lambda: beats.append(1 // 0)).run(), "beat")
    other: list[int] = []
    one.node.tasks.start(keeper(one, lambda: other.append(1)).run(), "other")
    await one.until(lambda: len(other) > 3)
    assert one.faults == []


def test_a_small_disk_is_full_at_a_twentieth(small_disk: Path) -> None:
    assert room(small_disk, 64 << 20)
    (small_disk / "filler").write_bytes(bytes(1_000_000))
    assert not room(small_disk, 64 << 20) and not room(small_disk / "gone", 1)


async def test_only_lasting_load_refuses_calls(one: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    here = keeper(one)
    load, said = {0: 0.99}, list[str | None]()
    monkeypatch.setattr(type(one.resources.workers), "load", property(lambda _: load))
    for seconds, busy in ((0, 0.99), (admission.BUSY_SECONDS, 0.99), (admission.BUSY_SECONDS, 0.5)):
        load[0] = busy
        with standing(one, 1_000.0 + seconds):
            here.beat()
            said.append(here.not_accepting())
    assert said == [None, "workers busy", None]
