"""Another customer's address that knows everything of a dialog, and an INVITE that points at somebody else."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from media.srtp.dtls import Identity
from sip.message.message import Response, parse
from tests.daemon.sbc_link import Authority, Link, client
from tests.daemon.server import Server, server
from tests.in_process.dtls_peer import NOW

OWNER, SECOND, OTHER = "127.0.0.2", "127.0.0.4", "127.0.0.3"
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


class Attacker:
    """A socket at another customer's address, over UDP, that knows Call-ID, tags and branches."""

    def __init__(self, port: int, victim: Link, to: str, source: str = OTHER) -> None:
        self.socket = socket.socket(type=socket.SOCK_DGRAM)
        self.socket.bind((source, 0))
        self.socket.connect(("127.0.0.1", port))
        self.victim, self.to = victim, to

    def request(self, method: str, cseq: int, body: bytes = b"", *, branch: str = "", to: str | None = None) -> bytes:
        """Write a request in the victim's dialog."""
        here = "{}:{}".format(*self.socket.getsockname())
        name = self.victim
        head = [
            f"{method} sip:rec@127.0.0.1 SIP/2.0",
            branch or f"Via: SIP/2.0/UDP {here};branch=z9hG4bK{os.urandom(6).hex()};rport",
            f"From: <sip:sbc@{name.here}>;tag=t{name.cseq}",
            f"To: {self.to if to is None else to}",
            f"Call-ID: {name.cseq}@{name.here}",
            f"CSeq: {cseq} {method}",
            f"Contact: <sip:sbc@{here}>;+sip.src",
            "Max-Forwards: 70",
            "Require: siprec",
            *(["Content-Type: application/sdp"] if body else []),
            f"Content-Length: {len(body)}",
        ]
        return ("\r\n".join(head) + "\r\n\r\n").encode() + body

    def say(self, data: bytes, seconds: float = 5.0) -> Response | None:
        """Send a request; its final answer, None if nothing came."""
        self.socket.settimeout(seconds)
        self.socket.send(data)
        try:
            while True:
                answer = parse(self.socket.recv(65536))
                if isinstance(answer, Response) and answer.status >= 200:
                    return answer
        except TimeoutError:
            return None

    def status(self, data: bytes, seconds: float = 5.0) -> int | None:
        """Send a request; the status of its final answer."""
        answer = self.say(data, seconds)
        return answer.status if answer else None


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Server]:
    """A recorder with two customers."""
    with server(tmp_path, sources=f'{OWNER}", "{SECOND}', more=GLOBEX) as made:
        made.init()
        made.start()
        yield made


def calls(one: Server, customer: str) -> list[dict[str, object]]:
    """The calls of a customer as the command lists them."""
    return list(json.loads(one.run("calls", "--customer", customer, "--json").stdout)["items"])


def placed(link: Link, offer: bytes = SECURE) -> Response:
    """Place a call whose 200 is not acknowledged yet."""
    link.say("INVITE", body=offer)
    answer = link.hear()
    assert answer is not None and answer.status == 200
    return answer


@pytest.mark.parametrize("transport", ["tls", "udp"])
def test_another_customers_address_changes_nothing_in_a_dialog(one: Server, transport: str) -> None:
    tls = client() if transport == "tls" else None
    link = Link(transport, one.tls if tls else one.udp, source=OWNER, tls=tls)
    answer = placed(link)
    to = answer.headers.get("To") or ""
    thief = Attacker(one.udp, link, to)
    branch = f"Via: SIP/2.0/{link.transport} {link.here};branch=z9hG4bK{link.here}-1;rport"
    thief.say(thief.request("ACK", 1), 0.1)
    link.socket.settimeout(10)
    repeated = link.hear()  # the ACK of somebody else has ended nothing
    assert repeated is not None and repeated.status == 200
    link.again("ACK", to)
    bare = to.partition(";")[0]
    again = thief.say(thief.request("INVITE", 1, SECURE, branch=branch, to=bare))
    assert again is not None and (again.status, again.body) == (481, b"")  # a copy of the INVITE gets no keys
    assert thief.status(thief.request("CANCEL", 1, branch=branch, to=bare)) == 481
    requests = [
        thief.request("OPTIONS", 2),
        thief.request("INFO", 3),
        thief.request("UPDATE", 4, PLAIN),
        thief.request("UPDATE", 5),
        thief.request("INVITE", 6, PLAIN),
        thief.request("INVITE", 7),
        thief.request("PRACK", 8),
        thief.request("BYE", 9),
    ]
    for request in requests:
        assert thief.status(request) == 481, request[:7]
    with_replaces = thief.request("INVITE", 1, PLAIN, to="<sip:rec@127.0.0.1>").replace(
        f"Call-ID: {link.cseq}@".encode(), f"Call-ID: x{link.cseq}@".encode()
    )
    ours, theirs = to.partition("tag=")[2], f"t{link.cseq}"
    named = f"Require: siprec, replaces\r\nReplaces: {link.cseq}@{link.here};to-tag={ours};from-tag={theirs}"
    assert thief.status(with_replaces.replace(b"Require: siprec", named.encode())) == 481
    # the dialog is as it was: its CSeq has not moved, nor its way, target and media
    link.again("OPTIONS", to, 2)
    fine = link.hear()
    assert fine is not None and fine.status == 200
    link.again("INVITE", to, 3, body=SECURE.replace(b"- 1 1 IN", b"- 1 2 IN"))
    fine = link.hear()
    assert fine is not None and (fine.status, b"RTP/SAVP" in fine.body) == (200, True)
    link.again("ACK", to, 3)
    if transport == "udp":  # another node of the customer's cluster goes on with it
        beside = Attacker(one.udp, link, to, SECOND)
        assert beside.status(beside.request("OPTIONS", 4)) == 200
    else:  # whoever has the address only does not have the connection
        beside = Attacker(one.udp, link, to, OWNER)
        assert beside.status(beside.request("BYE", 4)) == 481
    link.again("UPDATE", to, 5, body=PLAIN.replace(b"127.0.0.3", b"127.0.0.2"))
    refused = link.hear()
    assert refused is not None and refused.status == 488  # no way from SRTP to RTP for its owner either
    link.again("BYE", to, 6)
    gone = link.hear()
    assert gone is not None and gone.status == 200
    end = time.monotonic() + 20
    while not (found := calls(one, "acme")) and time.monotonic() < end:
        time.sleep(0.2)
    assert [call["state"] for call in found] == ["complete"]
    assert calls(one, "globex") == []
    for each in (link, thief, beside):
        each.socket.close()
    assert "Traceback" not in one.log.read_text()


CERTIFIED = """
[[customer]]
name = "initech"
certificates = ["a.example", "standby.example"]
[[customer]]
name = "umbrella"
certificates = ["b.example"]
"""
NAT = "127.0.0.9"  # in front of the SBCs of both


def said(link: Link, of: Link, to: str, method: str, cseq: int, body: bytes = b"") -> Response | None:
    """Say something in the dialog of a link by another one; its final answer, None if the connection is closed."""
    here, number = link.here, link.cseq
    link.here, link.cseq = of.here, of.cseq
    try:
        link.again(method, to, cseq, body=body)
        return None if method == "ACK" else link.hear()
    finally:
        link.here, link.cseq = here, number


def statuses(link: Link, of: Link, to: str) -> list[int | None]:
    """What somebody gets for everything that can be said in a dialog."""
    bodies = {"UPDATE": PLAIN, "INVITE": PLAIN}
    methods = enumerate(["OPTIONS", "INFO", "UPDATE", "INVITE", "PRACK", "BYE"], 900)
    heard = [said(link, of, to, method, cseq, bodies.get(method, b"")) for cseq, method in methods]
    return [answer and answer.status for answer in heard]


def test_a_dialog_stays_with_its_owner_after_a_kill(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ca")
    mine, spare, theirs = (authority.issue(name) for name in ("a.example", "standby.example", "b.example"))
    with server(tmp_path, sources=f'{OWNER}", "{SECOND}', more=GLOBEX + CERTIFIED) as one:
        text = one.config.read_text()
        one.config.write_text(text.replace("[media]", f'client_ca = "{authority.file}"\n[media]', 1))
        one.init()
        one.start()

        def secure(certificate: Path, source: str = NAT) -> Link:
            return Link("tls", one.tls, source=source, tls=client(certificate))

        links = {
            "tls": secure(mine),
            "tcp": Link("tcp", one.udp, source=OWNER),
            "udp": Link("udp", one.udp, source=OWNER),
        }
        tos: dict[str, str] = {}
        for name, link in links.items():
            tos[name] = placed(link).headers.get("To") or ""
            link.again("ACK", tos[name])

        def attacked() -> None:
            for name, link in links.items():
                for thief in (secure(theirs), secure(theirs, OWNER), Link("tcp", one.udp, source=OTHER)):
                    assert statuses(thief, link, tos[name]) == [481] * 6, name
                    thief.close()
            for thief in (secure(spare), Link("tcp", one.udp, source=OWNER)):
                assert statuses(thief, links["tls"], tos["tls"]) == [481] * 6
                thief.close()

        attacked()
        one.stop(signal.SIGKILL)
        one.start()
        attacked()
        beside = {
            "tls": secure(mine, "127.0.0.10"),  # by certificate from anywhere
            "tcp": Link("tcp", one.udp, source=SECOND),
            "udp": Link("udp", one.udp, source=SECOND),
        }
        more = SECURE[SECURE.index(b"m=audio") :].replace(b"label:1", b"label:2").replace(b"40000", b"40010")
        changes = [
            ("OPTIONS", b"", 200),
            ("UPDATE", b"", 200),  # a refresh
            ("INVITE", SECURE.replace(b"sendonly", b"inactive"), 200),  # hold
            ("INVITE", SECURE.replace(b"- 1 1 IN", b"- 1 2 IN"), 200),  # resume
            ("INVITE", SECURE.replace(b"- 1 1 IN", b"- 1 3 IN") + more, 200),  # one stream more
            ("INVITE", SECURE.replace(b"RTP/SAVP", b"RTP/AVP").replace(b"a=crypto", b"a=x") + more, 488),
            ("UPDATE", PLAIN, 488),
        ]
        for name, link in beside.items():
            owner, to = links[name], tos[name]
            for cseq, (method, body, status) in enumerate(changes, 10):
                answer = said(link, owner, to, method, cseq, body)
                assert answer is not None and answer.status == status, (name, method, cseq)
                if method == "INVITE" and status == 200:
                    said(link, owner, to, "ACK", cseq)
            for cseq in (30, 31):  # who is left to offer and answers with plain RTP changes nothing either
                answer = said(link, owner, to, "INVITE", cseq)
                assert answer is not None and answer.body.count(b"RTP/SAVP") == 2
                said(link, owner, to, "ACK", cseq, PLAIN.replace(b"127.0.0.3", b"127.0.0.2"))
            answer = said(link, owner, to, "BYE", 40)
            assert answer is not None and answer.status == 200
        end = time.monotonic() + 20
        while len(found := calls(one, "acme") + calls(one, "initech")) < 3 and time.monotonic() < end:
            time.sleep(0.2)
        assert [call["state"] for call in found] == ["complete"] * 3
        streams = [stream for call in found for stream in call["streams"]]  # type: ignore[attr-defined]  # JSON
        assert {stream["srtp"] for stream in streams} == {"AES_CM_128_HMAC_SHA1_80"}
        assert calls(one, "globex") + calls(one, "umbrella") == []
        for link in (*links.values(), *beside.values()):
            link.close()
        assert "Traceback" not in one.log.read_text()


def pointing(address: str, count: int) -> bytes:
    """An offer of DTLS lines whose media are to go to an address."""
    fingerprint = Identity.create(NOW).fingerprint
    lines = ["v=0", f"o=- 1 1 IN IP4 {address}", "s=-", f"c=IN IP4 {address}", "t=0 0", f"a=fingerprint:{fingerprint}"]
    lines += ["a=setup:passive", *(f"m=audio {30_000 + 2 * n} UDP/TLS/RTP/SAVP 0" for n in range(count))]
    return ("\r\n".join(lines) + "\r\n").encode()


def test_an_unacknowledged_invite_sends_nothing_to_its_target(tmp_path: Path) -> None:
    with server(tmp_path, sources="127.0.0.0/8", ports=120) as one:
        one.init()
        one.start()
        victim, ears = "127.77.0.9", list[socket.socket]()
        for port in range(30_000, 30_082):
            ears.append(socket.socket(type=socket.SOCK_DGRAM))
            ears[-1].bind((victim, port))
            ears[-1].setblocking(False)
        link = Link("udp", one.udp, source=OWNER)
        link.say("INVITE", body=(offer := pointing(victim, 40)))
        answer = link.hear()
        assert answer is not None and answer.status == 200
        assert answer.body.count(b"a=fingerprint:") == 1
        assert len(answer.body) < 2.5 * len(offer)
        time.sleep(3 * QUIET)

        def heard() -> int:
            found = 0
            for ear in ears:
                try:
                    while ear.recv(4096):
                        found += 1
                except BlockingIOError:
                    continue
            return found

        assert heard() == 0
        one.stop(signal.SIGKILL)
        one.start()
        time.sleep(3 * QUIET)
        assert heard() == 0  # a successor does not take it for acknowledged
        link.again("ACK", answer.headers.get("To") or "")
        end = time.monotonic() + 10
        while not heard():  # the client has our answer: the handshakes begin
            assert time.monotonic() < end
            time.sleep(0.1)
        for ear in ears:
            ear.close()
        link.close()
