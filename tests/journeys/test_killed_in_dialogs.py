"""Main is killed in a dialog, its connection with it: the call goes on, and what was under way is caught up.

The one who is killed has sent 200 to an INVITE without SDP, or an offer of its own; the answer never reaches it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from sip.sdp.description import SessionDescription
from tests.daemon.coded_calls import Watched, verified
from tests.daemon.sbc import Sbc
from tests.in_process.offers import KEYS, sdp
from tests.in_process.worker_call import Sender
from tests.journeys.test_dialogs_go_on import kill_and_start, over, sbc, served

SOON = 10.0
"""Seconds in which a successor has to have made up for it; an ACK is missed after 32."""

STREAMS = ("tcp", "tls")
SPOKEN = 30
OFFER, HELD = sdp("sendonly"), sdp("inactive", version=2)


@contextmanager
def doubtful(folder: Path, transport: str, *, listens: bool = False) -> Iterator[tuple[Watched, Sbc]]:
    """A call whose client holds by an INVITE without SDP; its ACK is lost with the process that waited for it."""
    with served(folder) as it, sbc(it.one, transport, "held") as one:
        one.patience = SOON
        if listens:
            one.listen(folder / "tls.crt")
        assert one.ask("INVITE", OFFER).status == 200
        one.acknowledges, one.agreed = False, HELD
        assert one.ask("INVITE").body.count(b"m=audio") == 1
        kill_and_start(it.one)
        one.acknowledges = True
        yield it, one
        assert it.one.stop() == 0
        assert verified(it.one) == []


def held(it: Watched) -> bool:
    """Tell whether it is known of the oldest call that its client sends nothing."""
    calls = it.calls()
    streams = it.ask(f"/calls/{calls[-1]['id']}").json()["streams"] if calls else []
    return [bool(stream["pauses"]) for stream in streams] == [True]


def ended(it: Watched, one: Sbc) -> None:
    """Hang up, as a client does whose call has gone on."""
    assert one.ask("BYE").status == 200
    (call,) = over(it)
    assert (call["state"], call["end_reason"], call["session_id"]) == ("complete", "bye", one.call)


@pytest.mark.parametrize("transport", STREAMS)
def test_a_client_that_listens_is_given_the_200_again(
    tmp_path: Path, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "tls.crt"))  # the client shows the recorder's own
    with doubtful(tmp_path, transport, listens=True) as (it, one):
        one.called()
        assert one.attend(lambda: held(it), SOON) == []
        ended(it, one)


def test_a_200_may_reach_its_client_by_another_dialog(tmp_path: Path) -> None:
    with served(tmp_path) as it, sbc(it.one, "tls", "held") as one, sbc(it.one, "tls", "other") as other:
        other.share(one)
        one.agreed = HELD
        assert one.ask("INVITE", OFFER).status == 200
        assert other.ask("INVITE", OFFER).status == 200
        one.acknowledges = False
        assert one.ask("INVITE").status == 200
        kill_and_start(it.one)
        one.acknowledges = True
        one.connect()
        other.share(one)
        assert other.ask("UPDATE").status == 200
        one.attend(lambda: held(it), SOON)
        ended(it, one)
        assert other.ask("BYE").status == 200


@pytest.mark.parametrize("body", [sdp("inactive", version=3), b""], ids=["offers", "asks again"])
def test_a_new_invite_acknowledges_the_one_before(tmp_path: Path, body: bytes) -> None:
    with doubtful(tmp_path, "tls") as (it, one):
        one.connect()
        assert one.ask("INVITE", body).status == 200
        one.attend(lambda: held(it), SOON)
        ended(it, one)


@pytest.mark.torture
def test_torture_by_a_client_silent_beyond_the_ack_timeout(tmp_path: Path) -> None:
    with doubtful(tmp_path, "tls") as (it, one):
        time.sleep(45)
        assert [call["state"] for call in it.calls()] == ["recording"]
        one.connect()
        assert one.ask("UPDATE").status == 200
        assert one.attend(lambda: held(it), SOON) == ["INVITE"]
        ended(it, one)


def ports(body: bytes) -> list[int]:
    return [line.port for line in SessionDescription.parse(body).media]


@contextmanager
def invited_late(folder: Path, transport: str) -> Iterator[tuple[Watched, Sbc, Sender, int]]:
    """A call that begins with an INVITE without SDP; the ACK with all there is to know is lost as well."""
    with served(folder, "late_offer = true") as it, sbc(it.one, transport, "late") as one:
        one.patience, one.acknowledges, one.agreed = SOON, False, sdp("sendonly")
        found = one.ask("INVITE")
        assert found.status == 200
        kill_and_start(it.one)
        one.acknowledges = True
        sender = Sender(KEYS[0], 0x7000)
        yield it, one, sender, ports(found.body)[0]
        sender.socket.close()
        ended(it, one)
        (stream,) = it.calls()[0]["streams"]
        assert (stream["packets"], stream["lost"], stream["rejected"]) == (sender.sent, 0, 0)
        assert it.one.stop() == 0
        assert verified(it.one) == []


@pytest.mark.parametrize("transport", ["udp", *STREAMS])
def test_a_call_that_we_offered_is_recorded_from_the_start(tmp_path: Path, transport: str) -> None:
    with invited_late(tmp_path, transport) as (it, one, sender, port):
        for _ in range(SPOKEN):
            sender.socket.sendto(sender.packet(), (it.one.host, port))
        one.connect()
        assert one.ask("UPDATE").status == 200
        one.attend(lambda: it.figure('recorder_rtp_packets_total{result="stored"}') >= SPOKEN, SOON)


PAUSING = "pause_by_reinvite = true"


def test_a_paused_client_heard_again_is_informed_at_once(tmp_path: Path) -> None:
    with served(tmp_path, PAUSING) as it, sbc(it.one, "tls", "paused") as one:
        one.patience, one.agreed = SOON, HELD
        assert one.ask("INVITE", OFFER).status == 200
        one.attend(it.calls, SOON)
        paused(it, it.calls()[0]["id"])
        kill_and_start(it.one)
        time.sleep(5)  # nobody listens where it is told first
        one.connect()
        assert one.ask("UPDATE").status == 200
        assert b"a=inactive" in one.asked("INVITE", 3).body
        ended(it, one)


def paused(it: Watched, call: str) -> None:
    base = f"http://{it.one.api_host}:{it.one.api}/api/v1/customers/acme/calls/{call}/pause"
    assert httpx2.post(base, headers={"Authorization": f"Bearer {it.token}"}).status_code == 200
