"""After a restart the dialogs are there: re-INVITE, UPDATE, BYE, over UDP and new connections; tags, CSeqs, timers."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from sip.message.message import Request
from sip.sdp.description import SessionDescription
from tests.daemon.coded_calls import Watched, own_place, verified
from tests.daemon.descriptor_store import descriptor_store
from tests.daemon.sbc import ABLE, Sbc
from tests.daemon.server import Server, server
from tests.in_process.offers import sdp

TRANSPORTS = ("udp", "tcp", "tls")
DAMAGED = b"no document"
METADATA = "application/rs-metadata+xml"
RESTART = 0.2


@contextmanager
def served(folder: Path, more: str = "") -> Iterator[Watched]:
    place: dict[str, Any] = {**own_place(8), "srtp": "required", "more": more}
    with descriptor_store(folder) as store, server(folder, store=store, **place) as one:
        token = one.init()
        one.start()
        yield Watched(one, token)


def sbc(one: Server, transport: str, call: str) -> closing[Sbc]:
    return closing(Sbc(transport, one.host, one.tls if transport == "tls" else one.udp, call))


def kill_and_start(one: Server) -> float:
    """Kill the daemon; returns how long it took until it served again."""
    assert one.process
    began = time.monotonic()
    one.process.kill()
    one.process.wait()
    time.sleep(RESTART)
    one.start()
    return time.monotonic() - began


def damaged(one: Sbc) -> Request:
    """Send metadata that cannot be read; returns the request with which the recorder asks for them anew."""
    assert one.ask("UPDATE", DAMAGED, kind=METADATA).status == 200
    return one.asked("UPDATE")


def over(it: Watched, calls: int = 1) -> list[dict[str, Any]]:
    """So many calls, once they have ended, the newest first."""
    end = time.monotonic() + 30
    while True:
        ended = [call for call in it.calls() if call["state"] != "recording"]
        if len(ended) == calls:
            return ended
        assert time.monotonic() < end
        time.sleep(0.1)


def origin(body: bytes) -> tuple[str, int]:
    """The number and the version of an SDP session (RFC 4566 section 5.2)."""
    _, name, version, *_ = body.partition(b"o=")[2].split(b" ")
    return name.decode(), int(version)


def tag(value: str | None) -> str:
    found = re.search(";tag=([^;]+)", value or "")
    assert found
    return found[1]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_dialog_goes_on(tmp_path: Path, transport: str) -> None:
    offer = sdp("sendonly", "sendonly")
    with served(tmp_path) as it, sbc(it.one, transport, "long") as one:
        invited = one.ask("INVITE", offer)
        assert invited.status == 200
        before = damaged(one)
        kill_and_start(it.one)
        one.connect()
        again = one.ask("INVITE", sdp("sendonly", "inactive", version=2))
        assert again.status == 200
        assert tag(again.headers.get("To")) == tag(invited.headers.get("To"))
        old, new = (SessionDescription.parse(answer.body) for answer in (invited, again))
        assert [media.port for media in new.media] == [media.port for media in old.media]
        (name, version), (same, higher) = (origin(answer.body) for answer in (invited, again))
        assert same == name
        assert higher > version
        asked = damaged(one)
        assert asked.cseq.number == before.cseq.number + 1
        assert tag(asked.headers.get("From")) == tag(before.headers.get("From")) == tag(invited.headers.get("To"))
        assert one.ask("UPDATE").status == 200
        assert one.ask("BYE").status == 200
        assert one.ask("BYE").status == 481
        (call,) = over(it)
        assert (call["state"], call["end_reason"], call["session_id"]) == ("complete", "bye", "long")
        assert it.one.stop() == 0
        assert verified(it.one) == []


@pytest.mark.parametrize("transport", ["udp", "tls"])
def test_a_standby_replaces_a_dialog_after_a_restart(tmp_path: Path, transport: str) -> None:
    """RFC 3891: the standby comes over a way of its own and names what the one before it told it of the dialog."""
    offer = sdp("sendonly", "sendonly")
    with served(tmp_path) as it, sbc(it.one, transport, "old") as one, sbc(it.one, transport, "new") as standby:
        assert one.ask("INVITE", offer).status == 200
        kill_and_start(it.one)
        one.connect()
        names = f"Require: replaces\r\nReplaces: old;to-tag={tag(one.tag)};from-tag="
        assert one.ask("UPDATE").status == 200  # so that our BYE finds the new connection
        standby.connect()
        assert standby.ask("INVITE", offer, f"{ABLE}{names}stranger\r\n").status == 481
        standby.tag = ""
        assert standby.ask("INVITE", offer, f"{ABLE}{names}told\r\n").status == 200
        assert 'text="replaced"' in (one.asked("BYE").headers.get("Reason") or "")
        (old,) = over(it)
        assert (old["state"], old["end_reason"], old["session_id"]) == ("complete", "replaced", "old")
        assert standby.ask("BYE").status == 200
        new, _ = over(it, 2)
        assert (new["state"], new["end_reason"], new["session_id"]) == ("complete", "bye", "new")
        shown = {call["id"]: it.ask(f"/calls/{call['id']}").json()["notes"] for call in (old, new)}
        assert [(note["kind"], note["call"]) for note in shown[old["id"]]] == [("replaced-by", new["id"])]
        assert [(note["kind"], note["call"]) for note in shown[new["id"]]] == [("replaces", old["id"])]
        assert it.one.stop() == 0
        assert verified(it.one) == []


@pytest.mark.torture
@pytest.mark.parametrize("refresh", [True, False], ids=["refreshed", "not refreshed"])
def test_torture_kills_do_not_move_a_session_timers_deadline(tmp_path: Path, refresh: bool) -> None:
    """90 s are agreed, so the recorder ends the call 60 s after the last refresh (RFC 4028 section 10)."""
    timed = ABLE + "Session-Expires: 90;refresher=uac\r\n"
    with served(tmp_path) as it, sbc(it.one, "udp", "timed") as one:
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
        (call,) = over(it)
        assert call["end_reason"] == "timer"
