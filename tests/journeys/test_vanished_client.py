"""An SBC that vanished sends no BYE: its silent calls end once it says so or says nothing, and no others do."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from media.rtp.header import build
from sip.message.message import Response
from tests.daemon.coded_calls import Watched, verified
from tests.daemon.sbc_link import OFFER, Link
from tests.daemon.server import server

SILENT = 8
"""Seconds after which a call is asked about here."""
GIVEN_UP = 32.0
"""Seconds that an answer is waited for (RFC 3261, timer F)."""
HELD = OFFER.replace(b"a=sendonly", b"a=inactive").replace(b"o=- 1 1", b"o=- 1 2")


class Call:
    """One call of an SBC on a socket of its own, which answers what it is asked with `status`, or with nothing."""

    def __init__(self, port: int, status: int) -> None:
        self.link, self.status, self.asked = Link("udp", port), status, list[str]()
        answer = self.link.invite()
        assert answer is not None
        assert answer.status == 200
        self.to = answer.headers.get("To") or ""
        self.link.again("ACK", self.to)
        found = re.search(rb"m=audio (\d+)", answer.body)
        assert found
        self.media = int(found[1])
        self.name = f"{self.link.cseq}@{self.link.here}"

    def hold(self) -> None:
        """Hold the stream."""
        self.link.again("INVITE", self.to, body=HELD)
        assert (self.link.hear() or Response(0, "")).status == 200
        self.link.again("ACK", self.to, 2)

    def answer(self, stop: threading.Event) -> None:
        """Be there until told to stop."""
        self.link.socket.settimeout(0.1)
        while not stop.is_set():
            try:
                request = self.link.asked()
            except TimeoutError:
                continue
            self.asked.append(request.method)
            if self.status:
                self.link.reply(request, self.status if request.method != "BYE" else 200)


def talk(port: int, stop: threading.Event) -> None:
    """Send audio, now and then."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mine:
        number = 0
        while not stop.wait(0.2):
            number += 1
            mine.sendto(build(8, number, 1600 * number, 7, bytes(160)), ("127.0.0.1", port))


@contextmanager
def beside(calls: Sequence[Call], *works: Callable[[threading.Event], None]) -> Iterator[None]:
    """Have calls answered and something else done beside the story, until its end."""
    stop = threading.Event()
    threads = [threading.Thread(target=work, args=(stop,)) for work in (*(call.answer for call in calls), *works)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        for call in calls:
            call.link.close()


def states(it: Watched) -> dict[str, tuple[str, str | None]]:
    """The state of each call, and why it ended, by its Call-ID."""
    return {call["session_id"]: (call["state"], call["end_reason"]) for call in it.calls()}


def until(true: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.timeout(400)  # two questions that nobody answers
def test_a_silent_call_ends_if_its_client_does_not_know_it(tmp_path: Path) -> None:
    with server(tmp_path, level="info") as one:
        one.config.write_text(one.config.read_text().replace("[sip]\n", f"[sip]\nsilent_seconds = {SILENT}\n"))
        it = Watched(one, one.init())
        one.start()
        forgotten, vanished, muted = Call(one.udp, 481), Call(one.udp, 0), Call(one.udp, 200)
        talking, held = Call(one.udp, 481), Call(one.udp, 481)
        held.hold()
        everybody = (forgotten, vanished, muted, talking, held)
        with beside(everybody, lambda stop: talk(talking.media, stop)):
            until(lambda: states(it).get(forgotten.name) == ("complete", "dialog-gone"), 60.0)
            until(lambda: states(it).get(vanished.name) == ("complete", "dialog-gone"), 2 * (GIVEN_UP + 30.0))
            living = {states(it)[each.name] for each in (muted, talking, held)}
            assert living == {("recording", None)}
            until(lambda: "BYE" in forgotten.asked and "BYE" in vanished.asked, 30.0)  # it follows the call's end
        assert set(forgotten.asked) == {"OPTIONS", "BYE"}
        assert set(vanished.asked) == {"OPTIONS", "BYE"}
        assert set(muted.asked) == {"OPTIONS"}
        assert (talking.asked, held.asked) == ([], [])
        kinds = [(each["kind"], each["status"]) for each in it.ask("/incidents").json()["items"]]
        assert sorted(kinds) == [("client-gone", 408), ("client-gone", 481)]
        assert "Traceback" not in one.log.read_text()
        assert one.stop() == 0
        assert verified(one) == []
