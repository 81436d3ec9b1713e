"""After a restart the dialogs are there: re-INVITE, UPDATE, BYE, over UDP and new connections; tags, CSeqs, timers."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from threading import Event

import pytest

from sip.message.message import Request
from sip.sdp.description import SessionDescription
from tests.daemon.api import Api, running, until
from tests.daemon.coded_calls import verified
from tests.daemon.kills import kill_and_start
from tests.daemon.sbc import ABLE, Sbc
from tests.in_process.offers import KEYS, sdp
from tests.in_process.worker_call import Sender

TRANSPORTS = ("udp", "tcp", "tls")
DAMAGED = b"no document"
METADATA = "application/rs-metadata+xml"


@contextmanager
def served(folder: Path, more: str = "") -> Iterator[Api]:
    """Serve in the care of a descriptor store; in the end everything is in order."""
    with running(folder, calls=8, kept=True, srtp="required", more=more) as it:
        yield it
        assert it.one.stop() == 0
        assert verified(it.one) == []


def damaged(one: Sbc) -> Request:
    """Send metadata that cannot be read; returns the request with which the recorder asks for them anew."""
    assert one.ask("UPDATE", DAMAGED, kind=METADATA).status == 200
    return one.asked("UPDATE")


def origin(body: bytes) -> tuple[str, int]:
    """The number and the version of an SDP session (RFC 4566 section 5.2)."""
    _, name, version, *_ = body.partition(b"o=")[2].split(b" ")
    return name.decode(), int(version)


def tag(value: str | None) -> str:
    found = re.search(";tag=([^;]+)", value or "")
    assert found
    return found[1]


def whole(it: Api, *names: str) -> None:
    """Every dialog is the session of one recording, and has ended with its BYE."""
    ended = {(call["session_id"], call["state"], call["end_reason"]) for call in it.ended(len(names))}
    assert ended == {(name, "complete", "bye") for name in names}


def test_dialogs_go_on_over_every_transport(tmp_path: Path) -> None:
    with served(tmp_path) as it, ExitStack() as opened:
        begun = []
        for transport in TRANSPORTS:
            one = opened.enter_context(it.one.sbc(transport, transport))
            invited = one.ask("INVITE", sdp("sendonly", "sendonly"))
            assert invited.status == 200
            begun.append((one, invited, damaged(one)))
        kill_and_start(it.one)
        for one, invited, before in begun:
            one.connect()
            again = one.ask("INVITE", sdp("sendonly", "inactive", version=2))
            assert again.status == 200
            assert tag(again.headers.get("To")) == tag(invited.headers.get("To"))
            assert ports(again.body) == ports(invited.body)
            (name, version), (same, higher) = (origin(answer.body) for answer in (invited, again))
            assert same == name and higher > version
            asked = damaged(one)
            assert asked.cseq.number == before.cseq.number + 1
            assert tag(asked.headers.get("From")) == tag(before.headers.get("From")) == tag(invited.headers.get("To"))
            assert [one.ask(method).status for method in ("UPDATE", "BYE", "BYE")] == [200, 200, 481]
        whole(it, *TRANSPORTS)


@pytest.mark.parametrize("transport", ["udp", "tls"])
def test_a_standby_replaces_a_dialog_after_a_restart(tmp_path: Path, transport: str) -> None:
    """RFC 3891: the standby comes over a way of its own and names what the one before it told it of the dialog."""
    offer = sdp("sendonly", "sendonly")
    with served(tmp_path) as it, it.one.sbc(transport, "old") as one, it.one.sbc(transport, "new") as standby:
        assert one.ask("INVITE", offer).status == 200
        kill_and_start(it.one)
        one.connect()
        names = f"Require: replaces\r\nReplaces: old;to-tag={tag(one.tag)};from-tag="
        assert one.ask("UPDATE").status == 200  # so that our BYE finds the new connection
        standby.connect()
        assert standby.ask("INVITE", offer, f"{ABLE}{names}stranger\r\n").status == 481
        assert standby.ask("INVITE", offer, f"{ABLE}{names}told\r\n").status == 200
        assert 'text="replaced"' in (one.asked("BYE").headers.get("Reason") or "")
        assert standby.ask("BYE").status == 200
        new, old = it.ended(2)
        assert (old["state"], old["end_reason"], old["session_id"]) == ("complete", "replaced", "old")
        assert (new["state"], new["end_reason"], new["session_id"]) == ("complete", "bye", "new")
        shown = {call["id"]: it.get(f"/calls/{call['id']}").json()["notes"] for call in (old, new)}
        assert [(note["kind"], note["call"]) for note in shown[old["id"]]] == [("replaced-by", new["id"])]
        assert [(note["kind"], note["call"]) for note in shown[new["id"]]] == [("replaces", old["id"])]


SOON = 10.0
"""Seconds in which a successor has to have made up for it; an ACK is missed after 32."""
SPOKEN = 30
OFFER, HELD = sdp("sendonly"), sdp("inactive", version=2)


def doubtful(one: Sbc) -> Sbc:
    """Hold a call by an INVITE without SDP, the ACK of which is lost with the process that waits for it."""
    one.patience = SOON
    assert one.ask("INVITE", OFFER).status == 200
    one.acknowledges, one.agreed = False, HELD
    assert one.ask("INVITE").body.count(b"m=audio") == 1
    one.acknowledges = True
    return one


def held(it: Api, one: Sbc) -> bool:
    """Tell whether it is known that a client sends nothing."""
    found = [call["id"] for call in it.calls() if call["session_id"] == one.call]
    return [bool(s["pauses"]) for id in found for s in it.get(f"/calls/{id}").json()["streams"]] == [True]


def test_a_client_that_listens_is_given_the_200_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "tls.crt"))  # the client shows the recorder's own
    with served(tmp_path) as it, it.one.sbc("tls", "listens") as one, ThreadPoolExecutor(1) as pool:
        one.listen(tmp_path / "tls.crt")
        doubtful(one)
        known = Event()

        def listening() -> list[str]:
            one.called()
            return one.attend(known.is_set, 60)

        asked = pool.submit(listening)
        kill_and_start(it.one)
        until(lambda: held(it, one))
        known.set()
        assert asked.result() == []
        assert one.ask("BYE").status == 200
        whole(it, "listens")


def test_a_new_invite_acknowledges_the_one_before(tmp_path: Path) -> None:
    bodies = {"offers": sdp("inactive", version=3), "asks-again": b""}
    with served(tmp_path) as it, ExitStack() as opened:
        asking = [opened.enter_context(it.one.sbc("tls", name)) for name in bodies]
        for one in asking:
            doubtful(one)
        kill_and_start(it.one)
        for one in asking:
            one.connect()
            assert one.ask("INVITE", bodies[one.call]).status == 200
            one.attend(partial(held, it, one), SOON)
            assert one.ask("BYE").status == 200
        whole(it, *bodies)


def test_a_200_may_reach_its_client_by_another_dialog(tmp_path: Path) -> None:
    with served(tmp_path) as it, it.one.sbc("tls", "held") as one, it.one.sbc("tls", "other") as other:
        other.share(one)
        one.agreed = HELD
        assert [each.ask("INVITE", OFFER).status for each in (one, other)] == [200, 200]
        one.acknowledges = False
        assert one.ask("INVITE").status == 200
        kill_and_start(it.one)
        one.acknowledges = True
        one.connect()
        other.share(one)
        assert other.ask("UPDATE").status == 200
        one.attend(lambda: held(it, one), SOON)
        assert [each.ask("BYE").status for each in (one, other)] == [200, 200]
        whole(it, "held", "other")


@pytest.mark.torture
def test_torture_by_a_client_silent_beyond_the_ack_timeout(tmp_path: Path) -> None:
    with served(tmp_path) as it, it.one.sbc("tls", "held") as one:
        doubtful(one)
        kill_and_start(it.one)
        time.sleep(45)
        assert [call["state"] for call in it.calls()] == ["recording"]
        one.connect()
        assert one.ask("UPDATE").status == 200
        assert one.attend(lambda: held(it, one), SOON) == ["INVITE"]
        assert one.ask("BYE").status == 200
        whole(it, "held")


def ports(body: bytes) -> list[int]:
    return [line.port for line in SessionDescription.parse(body).media]


def stored(it: Api, packets: int) -> bool:
    return it.figure('recorder_rtp_packets_total{result="stored"}') >= packets


def test_a_call_that_we_offered_is_recorded_from_the_start(tmp_path: Path) -> None:
    """It begins with an INVITE without SDP; the ACK with all there is to know is lost with the process."""
    with served(tmp_path, "late_offer = true") as it, ExitStack() as opened:
        late = []
        for number, transport in enumerate(TRANSPORTS):
            one = opened.enter_context(it.one.sbc(transport, transport))
            one.patience, one.acknowledges, one.agreed = SOON, False, sdp("sendonly")
            sender = Sender(KEYS[0], 0x7000 + number)
            opened.enter_context(sender.socket)
            late.append((one, sender, ports(one.ask("INVITE").body)[0]))
        kill_and_start(it.one)
        for number, (one, sender, port) in enumerate(late, 1):
            one.acknowledges = True
            for _ in range(SPOKEN):
                sender.socket.sendto(sender.packet(), (it.one.host, port))
            one.connect()
            assert one.ask("UPDATE").status == 200
            one.attend(partial(stored, it, number * SPOKEN), SOON)
        assert [one.ask("BYE").status for one, _, _ in late] == [200] * 3
        whole(it, *TRANSPORTS)
        figures = [(s["packets"], s["lost"], s["rejected"]) for call in it.calls() for s in call["streams"]]
        assert figures == [(SPOKEN, 0, 0)] * 3


def test_a_paused_client_heard_again_is_informed_at_once(tmp_path: Path) -> None:
    with served(tmp_path, "pause_by_reinvite = true") as it, it.one.sbc("tls", "paused") as one:
        one.patience, one.agreed = SOON, HELD
        assert one.ask("INVITE", OFFER).status == 200
        one.attend(it.calls, SOON)
        assert it.ask("POST", f"/calls/{it.calls()[0]['id']}/pause").status_code == 200
        kill_and_start(it.one)
        time.sleep(5)  # nobody listens where it is told first
        one.connect()
        assert one.ask("UPDATE").status == 200
        assert b"a=inactive" in one.asked("INVITE", 3).body
        assert one.ask("BYE").status == 200
        whole(it, "paused")


@pytest.mark.torture
@pytest.mark.parametrize("refresh", [True, False], ids=["refreshed", "not refreshed"])
def test_torture_kills_do_not_move_a_session_timers_deadline(tmp_path: Path, refresh: bool) -> None:
    """90 s are agreed, so the recorder ends the call 60 s after the last refresh (RFC 4028 section 10)."""
    timed = ABLE + "Session-Expires: 90;refresher=uac\r\n"
    with served(tmp_path) as it, it.one.sbc("udp", "timed") as one:
        assert one.ask("INVITE", sdp("sendonly", "sendonly"), timed).status == 200
        due = time.monotonic() + 60
        for _ in range(3):
            time.sleep(5)
            kill_and_start(it.one)
        if refresh:
            assert one.ask("UPDATE", fields=timed).status == 200
            due = time.monotonic() + 60
            kill_and_start(it.one)
        one.asked("BYE", 90)
        assert abs(time.monotonic() - due) < 2
        (call,) = it.ended()
        assert call["end_reason"] == "timer"
