"""An SBC that vanished sends no BYE: its silent calls end once it says so or says nothing, and no others do."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from media.rtp.header import build
from sip.sdp.description import SessionDescription
from tests.daemon.api import Api, running, until
from tests.daemon.coded_calls import verified
from tests.daemon.sbc import OFFER

SILENT = 8
"""Seconds after which a call is asked about here."""
GIVEN_UP = 32.0
"""Seconds that an answer is waited for (RFC 3261, timer F)."""
HELD = OFFER.replace(b"a=sendonly", b"a=inactive").replace(b"o=- 1 1", b"o=- 1 2")


class Call:
    """One call of an SBC on a socket of its own, which answers what it is asked with `status`, or with nothing."""

    def __init__(self, it: Api, status: int) -> None:
        self.sbc, self.status, self.asked = it.one.sbc(), status, list[str]()
        answer = self.sbc.ask("INVITE", OFFER, "")  # which allows no UPDATE
        assert answer.status == 200
        self.name, self.media = self.sbc.call, SessionDescription.parse(answer.body).media[0].port

    def answer(self, stop: threading.Event) -> None:
        """Be there until told to stop."""
        while not stop.is_set():
            with suppress(TimeoutError):
                request = self.sbc.asked(seconds=0.1, status=0)
                self.asked.append(request.method)
                if self.status:
                    self.sbc.reply(request, 200 if request.method == "BYE" else self.status)


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
            call.sbc.close()


def states(it: Api) -> dict[str, tuple[str, str | None]]:
    """The state of each call, and why it ended, by its Call-ID."""
    return {call["session_id"]: (call["state"], call["end_reason"]) for call in it.calls()}


@pytest.mark.timeout(400)  # two questions that nobody answers
def test_a_silent_call_ends_if_its_client_does_not_know_it(tmp_path: Path) -> None:
    with running(tmp_path, start=False) as it:
        one = it.one
        one.replace("[sip]\n", f"[sip]\nsilent_seconds = {SILENT}\n")
        one.start()
        forgotten, vanished, muted, talking, held = (Call(it, status) for status in (481, 0, 200, 481, 481))
        assert held.sbc.ask("INVITE", HELD, "").status == 200
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
        kinds = [(each["kind"], each["status"]) for each in it.get("/incidents").json()["items"]]
        assert sorted(kinds) == [("client-gone", 408), ("client-gone", 481)]
        assert "Traceback" not in one.log.read_text()
        assert one.stop() == 0
        assert verified(one) == []
