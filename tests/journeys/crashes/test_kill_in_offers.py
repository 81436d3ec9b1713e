"""Killed at its n-th system call that changes anything while offers go to and fro: both sides go on, at one about them.

One call has it all: offers of the client in INVITE and UPDATE, one that it leaves to the recorder, and two of the
recorder's own, that tell of a pause and of its end.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest

from sip.message.message import Response
from sip.sdp.description import SessionDescription
from tests.daemon.api import Api, running, until
from tests.daemon.coded_calls import in_order
from tests.daemon.kills import killed_at
from tests.in_process.offers import KEYS, sdp
from tests.in_process.worker_call import Sender

SPOKEN = 30
SECONDS = 60.0
PATIENCE = 5.0
"""For an answer of the API. The store keeps its socket too: who asks a recorder that was killed waits for the next one,
which this client starts."""
BUSY = (491, 500)
"""Answers after which a client tries again (RFC 3261 section 14.1)."""


class Client:
    """A client that finds its way back to a recorder which has died, and repeats what was not answered."""

    def __init__(self, it: Api, transport: str, name: str) -> None:
        self.it, self.name, self.deaths = it, name, 0
        self.sbc = it.one.sbc(transport, name)
        self.sbc.patience = 1.5

    def revive(self) -> None:
        """Start the recorder again if it was killed, and connect to it."""
        process = self.it.one.process
        if process and process.poll() is not None:
            self.deaths += 1
            self.it.one.start()
        with suppress(OSError):
            self.sbc.connect()

    def insist(self, method: str, body: bytes = b"") -> Response:
        """Ask until there is an answer."""
        again = False
        for _ in range(40):
            try:
                found = self.sbc.again() if again else self.sbc.ask(method, body)
            except OSError:  # a timeout is one
                again = True
                self.revive()
                continue
            if found.status not in BUSY:
                assert found.status == 200
                return found
            again = False
            with suppress(OSError):
                self.sbc.attend(lambda: False, 0.7)
        raise TimeoutError(f"{method} was never answered")

    def turn(self, what: str, direction: bytes) -> None:
        """Have the call paused or resumed, and wait until the recorder has said so by an offer of its own."""
        heard = self.deaths
        until(lambda: self._done(what))
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            if self.deaths > heard:  # the recorder has to hear where to find us
                heard = self.deaths
                self.insist("UPDATE")
            try:
                if direction in self.sbc.asked("INVITE", 1.0).body:
                    return
            except TimeoutError:
                self.revive_if_dead()
            except OSError:
                self.revive()
        raise TimeoutError(f"nobody was told of {what}")

    def revive_if_dead(self) -> None:
        """Start the recorder again if it was killed; over UDP nothing tells."""
        process = self.it.one.process
        if process and process.poll() is not None:
            self.revive()

    def _done(self, what: str) -> bool:
        self.revive_if_dead()
        call = next((call["id"] for call in self.mine()), "")
        try:
            return self.it.ask("POST", f"/calls/{call}/{what}", timeout=PATIENCE).status_code == 200
        except httpx2.TransportError:
            return False

    def mine(self) -> list[dict[str, Any]]:
        """The recordings of this dialog."""
        return [call for call in self.it.calls(PATIENCE) if call["sip_call_id"] == self.name]


def one_round(it: Api, transport: str, number: int) -> bool:
    """Go through a call with a kill at the n-th call that changes anything; tell whether it came to that."""
    client, voice = Client(it, transport, f"{transport}-{number}-{time.monotonic_ns()}"), Sender(KEYS[0], number)

    def port(answer: Response) -> int:
        return SessionDescription.parse(answer.body).media[0].port

    def speak(at: int) -> None:
        for _ in range(SPOKEN):
            voice.socket.sendto(voice.packet(), (it.one.host, at))

    assert it.one.process
    with client.sbc, closing(voice.socket), killed_at(it.one.process.pid, number):
        same = port(client.insist("INVITE", sdp("sendonly")))
        speak(same)
        assert port(client.insist("INVITE", sdp("inactive", version=2))) == same
        client.sbc.agreed = sdp("sendonly", version=3)
        assert port(client.insist("INVITE")) == same
        assert port(client.insist("UPDATE", sdp("sendonly", version=4))) == same
        client.sbc.agreed = sdp("inactive", version=5)
        client.turn("pause", b"a=inactive")
        client.sbc.agreed = sdp("sendonly", version=6)
        client.turn("resume", b"a=recvonly")
        speak(same)
        client.insist("BYE")
    (call,) = until(lambda: ended(client))
    (stream,) = call["streams"]
    assert (call["state"], call["end_reason"], len(stream["pauses"])) == ("complete", "bye", 2)
    assert (stream["packets"], stream["lost"], stream["rejected"]) == (2 * SPOKEN, 0, 0)
    return client.deaths > 0


def ended(client: Client) -> list[dict[str, Any]]:
    client.revive_if_dead()
    return [call for call in client.mine() if call["state"] != "recording"]


@contextmanager
def begun(folder: Path) -> Iterator[Api]:
    more = "late_offer = true\npause_by_reinvite = true"
    with running(folder, calls=8, kept=True, srtp="required", more=more) as it:
        yield it
        in_order(it)


def test_wherever_it_is_killed_offers_come_to_their_answers(tmp_path: Path) -> None:
    """A few places; the torture below tries them all."""
    with begun(tmp_path) as it:
        killed = [one_round(it, transport, number) for transport, number in (("udp", 8), ("tls", 9), ("tls", 35))]
        assert any(killed)


@pytest.mark.torture
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_torture_by_kills_while_offers_go_both_ways(tmp_path: Path, transport: str) -> None:
    last = int(os.environ.get("KILL_LAST", "45"))
    with begun(tmp_path) as it:
        killed = [number for number in range(1, last + 1) if one_round(it, transport, number)]
        assert len(killed) > last // 4
