"""The disk misbehaves while calls run.

Nothing that is finished is damaged, running calls lose nothing that the kernel can hold or say what they lack, refusals
come at once with their reason, and all is well soon after the cause has gone.
"""

from __future__ import annotations

import asyncio
import errno
import time
from pathlib import Path

from sip.message.message import Response
from tests.daemon.api import WAIVER, WHY
from tests.daemon.coded_calls import missing, nothing_missing, whole_or_marked
from tests.daemon.fault_injection import troublemaker
from tests.in_process.offers import sdp
from tests.journeys.trouble.disks import AT_ONCE, asked
from tests.journeys.trouble.scene import CALLS, LONG, Scene, scene

__all__ = ["troublemaker"]

STALL = 4.0
"""Seconds that a disk may stand still at no cost."""
ENOUGH = 10
"""Refusals from which a quarter of them says something."""


def test_a_disk_that_stands_still_costs_nothing(tmp_path: Path, troublemaker: Path) -> None:
    with scene(tmp_path, troublemaker) as on:
        answers: list[tuple[Response, float]] = []

        def ask_on(until: float) -> None:
            while time.monotonic() < until or len(answers) <= ENOUGH:
                answers.append(asked(on.it.one, "INVITE", sdp("sendonly")))
                time.sleep(0.1)

        async def meanwhile() -> None:
            on.trouble.set(stalled=1)
            end = time.monotonic() + STALL
            asking = asyncio.create_task(asyncio.to_thread(ask_on, end - 0.5))
            await on.it.until(lambda: len(answers) > 2 and on.refused())
            assert on.it.health("/healthz") == 200
            await asking
            await asyncio.sleep(max(0.0, end - time.monotonic()))
            on.trouble.set(stalled=0)
            await on.well()

        nothing_missing(on.it, on.place(meanwhile))
        assert {(a.status, a.headers.get("Retry-After")) for a, _ in answers} == {(503, "30")}
        # none waited for the disk, which stood still until all were there; a few may have waited for a processor
        assert sorted(took for _, took in answers)[len(answers) // 4] < AT_ONCE
        assert on.trouble.hit > 0
        assert on.left_open() == []
        on.in_order()


def test_a_disk_that_fails_with_eio_refuses_and_recovers(tmp_path: Path, troublemaker: Path) -> None:
    with scene(tmp_path, troublemaker) as on:
        assert on.it.ask("PUT", "/waiver", json=WAIVER).status_code < 300
        victim = on.finished.pop()

        async def meanwhile() -> None:
            on.trouble.set(write_errno=errno.EIO, sync_errno=errno.EIO, fsync_fails=1_000_000)
            began = time.monotonic()
            await on.it.until(on.refused)
            on.invited()
            assert on.it.health("/healthz") == 200
            asked = await asyncio.to_thread(on.it.ask, "POST", "/erasures", json={"calls": [victim], **WHY})
            assert asked.status_code in (202, 503)
            await asyncio.sleep(max(0.0, LONG - (time.monotonic() - began)))
            on.trouble.set(write_errno=0, fsync_fails=0)
            await on.well()

        calls = on.place(meanwhile, 12.0)  # whoever hung up in the trouble would lack what the memory held
        states = whole_or_marked(on.it, calls)
        assert states == ["complete"] * CALLS
        assert on.trouble.hit > 0
        erased(on, victim)
        on.before = on.it.prints(on.finished)
        on.in_order()


def erased(on: Scene, call: str) -> None:
    """Erasing works again after the trouble, and what was asked for meanwhile is done."""
    answer = on.it.ask("POST", "/erasures", json={"calls": [call], **WHY})
    assert answer.status_code == 202, answer.text
    on.it.erasure(answer.json()["id"], "done")
    assert on.it.get(f"/calls/{call}").status_code == 404


def test_a_sync_that_failed_is_never_taken_for_success(tmp_path: Path, troublemaker: Path) -> None:
    with scene(tmp_path, troublemaker) as on:

        async def meanwhile() -> None:
            on.trouble.set(sync_errno=errno.EIO, syncfs_fails=1)
            await on.it.until(lambda: "storage.sync_failed" in on.it.one.events())
            await on.well()

        calls = on.place(meanwhile)
        assert [(call.number, call.faults) for call in calls if not call.well] == []
        for call in calls:
            mine = on.it.over(calls)[call.session_id]
            assert mine["state"] == "interrupted"
            assert [note["kind"] for note in mine["notes"]] == ["sync-failed"]
            found = on.it.channels(mine["id"])
            assert [missing(s, f) for s, f in zip(call.streams, found, strict=True)] == [(), ()]
        assert "sync-failed" in [each["kind"] for each in on.it.get("/incidents").json()["items"]]
        on.in_order()
