"""Killed at its n-th system call that changes anything: whatever it was at, the next start puts all in order.

In one round a call is begun, recorded and ended while an older one is erased; so kills fall into the making of files,
checkpoints, the end of a recording, the cut in the key tree, the erasure and the index.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from sip.sdp.description import SessionDescription
from tests.daemon.api import WAIVER, WHY, Api, running, until
from tests.daemon.coded_calls import in_order, reasons
from tests.daemon.kills import killed_at
from tests.in_process.offers import KEYS, sdp
from tests.in_process.worker_call import Sender

SPOKEN = 30


@dataclass
class Story:
    """What was asked of the recorder and what it has answered so far."""

    api: Api
    finished: dict[str, dict[str, Any]] = field(default_factory=dict)
    erased: list[str] = field(default_factory=list)
    deaths: int = 0

    def revive(self) -> None:
        """Start the recorder again if it was killed."""
        process = self.api.one.process
        if process and process.poll() is not None:
            self.deaths += 1
            self.api.one.start()

    def call(self, name: str) -> None:
        """Have a call recorded."""
        with self.api.one.sbc("udp", name) as sbc:
            sbc.patience = 1.0
            answer = sbc.insist("INVITE", sdp("sendonly", "sendonly"), self.revive)
            assert answer.status == 200, self.api.one.log.read_text()[-2000:]
            for number, media in enumerate(SessionDescription.parse(answer.body).media):
                voice = Sender(KEYS[number], 0x7000 + number)
                voice.send(media.port, SPOKEN)
                voice.socket.close()
            assert sbc.insist("BYE", between=self.revive).status == 200

    def learn(self, name: str) -> None:
        """Wait until the call is in the index: once, and whole. A try that was never answered may be there, empty."""
        found = until(lambda: [call for call in self.api.calls() if call["session_id"] == name and over(call)])
        (whole,) = (call for call in found if call["state"] == "complete")
        assert [(s["packets"], s["lost"], reasons(s)) for s in whole["streams"]] == [(SPOKEN, 0, set())] * 2
        assert all(s["packets"] == 0 for call in found if call is not whole for s in call["streams"])
        self.finished[whole["id"]] = whole

    def erase(self, call: str) -> None:
        """Ask for an erasure; the answer may never come."""
        with suppress(httpx2.TransportError):
            self.api.ask("POST", "/erasures", "privacy", json={"calls": [call], **WHY})

    def forget(self, call: str) -> None:
        """See the erasure through."""
        if not self.api.gone(call):
            self.api.erase(calls=[call])
        assert self.api.gone(call)
        self.erased.append(call)

    def stands(self) -> None:
        """Look whether everything that was ever answered with success still holds."""
        found = {call["id"]: call for call in self.api.calls()}
        for call, before in self.finished.items():
            assert found.get(call) == (None if call in self.erased else before)


def over(call: dict[str, Any]) -> bool:
    return bool(call["state"] != "recording")


def one_round(story: Story, number: int) -> bool:
    """Record a call and erase one, with a kill at the n-th call that changes anything; tell whether it came to that."""
    victim = next(call for call in story.finished if call not in story.erased)
    name, before = f"round-{number}-{time.monotonic_ns()}", story.deaths
    assert story.api.one.process
    with killed_at(story.api.one.process.pid, number):
        asking = threading.Thread(target=story.erase, args=(victim,))
        asking.start()
        story.call(name)
        asking.join()
        time.sleep(0.3)
    story.revive()
    story.learn(name)
    story.forget(victim)
    story.stands()
    return story.deaths > before


@contextmanager
def begun(folder: Path) -> Iterator[Story]:
    """Serve in the care of a descriptor store, with two calls recorded."""
    with running(folder, kept=True, ports=400) as api:
        assert api.ask("PUT", "/waiver", json=WAIVER).status_code == 200
        story = Story(api)
        for number in range(2):
            story.call(f"before-{number}")
            story.learn(f"before-{number}")
        yield story
        story.stands()
        assert api.one.run("audit", "verify").returncode == 0
        in_order(api)


def test_wherever_it_is_killed_all_is_in_order_afterwards(tmp_path: Path) -> None:
    """A few places; the torture below tries them all."""
    with begun(tmp_path) as story:
        killed = [one_round(story, number) for number in (3, 14, 31)]
        assert any(killed)


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_torture_by_a_kill_at_every_call_that_changes_anything(tmp_path: Path) -> None:
    last = int(os.environ.get("KILL_LAST", "120"))
    with begun(tmp_path) as story:
        killed = [number for number in range(1, last + 1) if one_round(story, number)]
        print(f"killed at {len(killed)} of {last} calls, the last of them number {max(killed)}")
        assert len(killed) > last // 4
