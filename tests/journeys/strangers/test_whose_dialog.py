"""Another customer's address that knows everything of a dialog, and an INVITE that points at somebody else."""

from __future__ import annotations

import base64
import json
import signal
import socket
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from media.srtp.dtls import Identity
from tests.daemon.api import running, until
from tests.daemon.sbc import Sbc, client
from tests.daemon.server import Server, free_span, server
from tests.in_process.certificates import Authority
from tests.in_process.dtls_peer import NOW

OWNER, OTHER = "127.0.0.2", "127.0.0.3"
GLOBEX = f"""
[[customer]]
name = "globex"
sources = ["{OTHER}"]
"""
KEY = base64.b64encode(bytes(range(30))).decode()
SECURE = (
    b"v=0\r\no=- 1 1 IN IP4 127.0.0.2\r\ns=-\r\nc=IN IP4 127.0.0.2\r\nt=0 0\r\nm=audio 40000 RTP/SAVP 8\r\n"
    b"a=label:1\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + KEY.encode() + b"\r\na=sendonly\r\n"
)
PLAIN = (
    b"v=0\r\no=- 1 2 IN IP4 127.0.0.3\r\ns=-\r\nc=IN IP4 127.0.0.3\r\nt=0 0\r\nm=audio 41000 RTP/AVP 8\r\n"
    b"a=label:1\r\na=sendonly\r\n"
)
QUIET = 0.7  # seconds in which a 200 without its ACK is repeated at least once


def thief_of(victim: Sbc, thief: Sbc) -> Sbc:
    """Let a client speak in the dialog of another, of which it knows everything."""
    thief.call, thief.tag, thief.cseq = victim.call, victim.tag, 900
    return thief


def calls(one: Server, *customers: str) -> list[Any]:
    """The calls of customers as the command lists them."""
    listed = [json.loads(one.run("calls", "--customer", customer, "--json").stdout) for customer in customers]
    return [call for each in listed for call in each["items"]]


CERTIFIED = """
[[customer]]
name = "initech"
certificates = ["a.example", "standby.example"]
[[customer]]
name = "umbrella"
certificates = ["b.example"]
"""
NAT = "127.0.0.9"  # in front of the SBCs of both


def statuses(thief: Sbc) -> list[int]:
    """What somebody gets for everything that can be said in a dialog."""
    bodies = {"UPDATE": PLAIN, "INVITE": PLAIN}
    methods = ("OPTIONS", "INFO", "UPDATE", "INVITE", "PRACK", "BYE")
    with thief:
        return [thief.ask(method, bodies.get(method, b"")).status for method in methods]


def test_a_dialog_stays_with_its_owner_after_a_kill(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ca")
    mine, spare, theirs = (authority.issue(name) for name in ("a.example", "standby.example", "b.example"))
    with server(tmp_path, sources=OWNER, more=GLOBEX + CERTIFIED) as one, ExitStack() as opened:
        one.replace("[media]", f'client_ca = "{authority.file}"\n[media]')
        one.init()
        one.start()

        def secure(certificate: Path, source: str = NAT) -> Sbc:
            return one.sbc("tls", source=source, tls=client(certificate))

        owners = {"tls": secure(mine), "tcp": one.sbc("tcp", source=OWNER), "udp": one.sbc("udp", source=OWNER)}
        for owner in owners.values():
            opened.enter_context(owner)
            assert owner.ask("INVITE", SECURE).status == 200

        def attacked() -> None:
            for name, owner in owners.items():
                for thief in (secure(theirs), secure(theirs, OWNER), one.sbc("tcp", source=OTHER)):
                    assert statuses(thief_of(owner, thief)) == [481] * 6, name
            for thief in (secure(spare), one.sbc("tcp", source=OWNER)):
                assert statuses(thief_of(owners["tls"], thief)) == [481] * 6

        attacked()
        one.stop(signal.SIGKILL)
        one.start()
        attacked()
        for owner in owners.values():
            owner.connect()
            assert owner.ask("BYE").status == 200
        until(lambda: [call["state"] for call in calls(one, "acme", "initech")] == ["complete"] * 3)
        found = calls(one, "acme", "initech")
        assert {s["srtp"] for call in found for s in call["streams"]} == {"AES_CM_128_HMAC_SHA1_80"}
        assert calls(one, "globex", "umbrella") == []
        assert "Traceback" not in one.log.read_text()


def pointing(address: str, first: int, count: int) -> bytes:
    """An offer of DTLS lines whose media are to go to an address, to pairs of ports from the first on."""
    fingerprint = Identity.create(NOW).fingerprint
    lines = ["v=0", f"o=- 1 1 IN IP4 {address}", "s=-", f"c=IN IP4 {address}", "t=0 0", f"a=fingerprint:{fingerprint}"]
    lines += ["a=setup:passive", *(f"m=audio {first + 2 * n} UDP/TLS/RTP/SAVP 0" for n in range(count))]
    return ("\r\n".join(lines) + "\r\n").encode()


def test_an_unacknowledged_invite_sends_nothing_to_its_target(tmp_path: Path) -> None:
    victim, first = "127.77.0.9", free_span(82)
    with running(tmp_path, ports=120) as it, it.one.sbc("udp", source=OWNER) as sbc, ExitStack() as opened:
        ears = [opened.enter_context(socket.socket(type=socket.SOCK_DGRAM)) for _ in range(82)]
        for port, ear in enumerate(ears, first):
            ear.bind((victim, port))
            ear.setblocking(False)
        sbc.acknowledges = False
        answer = sbc.ask("INVITE", offer := pointing(victim, first, 40))
        assert (answer.status, answer.body.count(b"a=fingerprint:")) == (200, 1)
        assert len(answer.body) < 2.5 * len(offer)
        time.sleep(3 * QUIET)

        def heard() -> int:
            found = 0
            for ear in ears:
                with suppress(BlockingIOError):
                    while ear.recv(4096):
                        found += 1
            return found

        assert heard() == 0
        it.one.stop(signal.SIGKILL)
        it.one.start()
        time.sleep(3 * QUIET)
        assert heard() == 0  # a successor does not take it for acknowledged
        sbc.acknowledges = True
        sbc.acknowledge()
        until(heard)  # the client has our answer: the handshakes begin
