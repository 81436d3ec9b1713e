"""Every refusal of an INVITE there is stands in the incidents with its reason, also after a restart.

The table below provokes each of them at a whole node. `test_no_refusal_is_forgotten` holds it against the reasons that
stand in the source, so a new one needs a line here.
"""

from __future__ import annotations

import ast
import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from recorder.observe.incidents import Incidents
from recorder.observe.rejections import ANSWER_SECONDS
from sip.message import grammar
from sip.message.header_values import Flow
from sip.message.message import Response, parse
from sip.sdp import answer
from tests.in_process.offers import beyond_a_message, sdp
from tests.in_process.recorder_node import CONFIG, FLOW, Stage, sip_request, stage, standing
from tests.recorder.calls.client import signed

OFFER = sdp("sendonly", "sendonly")
ROOT = Path(__file__).parents[3]
TCP = Flow("tcp", ("127.0.0.1", 5060), ("127.0.0.1", 5071), 77, 1, ())

Story = Callable[[Stage, bytes], None]


@dataclass(frozen=True)
class Case:
    """One way to be refused."""

    reason: str
    status: int
    story: Story
    more: str = ""  # configuration of the customer
    change: tuple[str, str] = ("", "")  # of the rest of the configuration
    kind: str = "call-refused"
    give_up_seconds: float = 10.0  # seconds after which a disk is taken for away


def changed(*pairs: tuple[bytes, bytes], body: bytes = OFFER) -> Story:
    """Send an INVITE in which something is replaced."""

    def story(one: Stage, name: bytes) -> None:
        data = sip_request("INVITE", name.decode(), 1, body)
        for old, new in pairs:
            assert old in data
            data = data.replace(old, new, 1)
        one.hear(data)

    return story


def line(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    """Put a header field in front of the others."""
    return b"Max-Forwards:", name + b": " + value + b"\r\nMax-Forwards:"


def insisting(value: bytes) -> tuple[bytes, bytes]:
    return b"Require: siprec", b"Require: siprec, replaces\r\nReplaces: " + value  # a dialog, or be refused


def without(name: bytes) -> Story:
    """Send an INVITE that lacks a header field."""

    def story(one: Stage, call: bytes) -> None:
        lines = sip_request("INVITE", call.decode(), 1, OFFER).split(b"\r\n")
        one.hear(b"\r\n".join(each for each in lines if not each.startswith(name)))

    return story


def offer(*pairs: tuple[str, str], base: bytes = OFFER) -> Story:
    """Send an INVITE whose SDP is changed everywhere."""
    text = base.decode()
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return changed(body=text.encode())


def stream(data: Callable[[bytes], bytes]) -> Story:
    """Send bytes over a connection."""

    def story(one: Stage, name: bytes) -> None:
        now = time.monotonic()
        one.resources.endpoint.connection_made(TCP, now)
        one.resources.endpoint.receive_stream(data(name), TCP, now)
        one.flush()
        one.resources.endpoint.connection_lost(TCP, now)

    return story


def invite_of(name: bytes) -> bytes:
    return sip_request("INVITE", name.decode(), 1, OFFER)


def running(then: Callable[[Stage, str, str], None]) -> Story:
    """Do something in a call that runs."""

    def story(one: Stage, name: bytes) -> None:
        one.invite(name.decode())
        then(one, name.decode(), one.tag())

    return story


def twice(one: Stage, name: bytes) -> None:
    one.hear(invite_of(name))
    one.hear(sip_request("INVITE", name.decode(), 1, OFFER, branch="other"))


def refuse_all(one: Stage, name: bytes) -> None:
    one.resources.endpoint.set_accepting(False, 30)
    one.hear(invite_of(name))
    one.resources.endpoint.set_accepting(True)


def no_storage(one: Stage, name: bytes) -> None:
    one.resources.storage.well = False
    one.hear(invite_of(name))
    one.resources.storage.well = True


def disk_away(one: Stage, name: bytes) -> None:
    """Let the disk stand still, which somebody else found out."""
    go = threading.Event()
    one.resources.disk.begin(lambda: go.wait(30))
    one.hear(invite_of(name))
    go.set()
    while one.resources.disk.away:
        time.sleep(0.001)


def bug(one: Stage, name: bytes) -> None:
    """Let the recorder itself fail."""

    def broken(*_: object) -> None:
        raise LookupError

    mine, one.executor.specs = one.executor.specs, broken  # type: ignore[method-assign, assignment]  # planted
    one.hear(invite_of(name))
    one.executor.specs = mine  # type: ignore[method-assign]  # taken out again


def glare(one: Stage, name: str, tag: str) -> None:
    call = next(each for each in one.live if each.recording.call_id == name)
    one.resources.endpoint.reoffer(call.session, OFFER, time.monotonic())
    one.flush()
    one.hear(sip_request("INVITE", name, 2, OFFER, to=tag))


def busy(one: Stage, name: str, tag: str) -> None:
    """Ask twice before the first is answered."""
    now = time.monotonic()
    for number in (2, 3):
        one.resources.endpoint.receive_datagram(sip_request("INVITE", name, number, OFFER, to=tag), FLOW, now)
    one.flush()


def ended(one: Stage, name: str, tag: str) -> None:
    """Come with an offer behind one's own BYE."""
    one.hear(sip_request("BYE", name, 5, to=tag), sip_request("INVITE", name, 6, OFFER, to=tag))


def replace_early(one: Stage, name: str, tag: str, more: str = ";early-only") -> None:
    """Name a call in a new INVITE, which may replace it only before it is answered."""
    named = insisting(f"{name};to-{tag[1:]};from-tag=t{name}{more}".encode())
    one.hear(invite_of(b"new" + name.encode()).replace(*named))


def replace_late(one: Stage, name: str, tag: str) -> None:
    one.hear(sip_request("BYE", name, 5, to=tag))
    replace_early(one, name, tag, "")


def challenged(one: Stage, name: bytes) -> None:
    one.hear(invite_of(name))
    with standing(one, time.monotonic() + ANSWER_SECONDS + 1):
        one.signalling.overdue()


def wrong_password(one: Stage, name: bytes) -> None:
    one.hear(invite_of(name))
    one.hear(signed(one, sip_request("INVITE", name.decode(), 2, OFFER), "0" * 64))


def again(story: Story, times: int) -> Story:
    """Do something several times within a moment, the last of which is refused."""

    def repeated(one: Stage, name: bytes) -> None:
        with standing(one, time.monotonic()):
            for number in range(times):
                story(one, name + str(number).encode())

    return repeated


def many_streams(one: Stage, name: str, tag: str) -> None:
    """Let every re-offer bring other media, until their numbers are used up."""
    for number in range(2, 300):
        kind = "video" if number % 2 else "audio"
        one.hear(sip_request("INVITE", name, number, sdp("sendonly", "sendonly", media=kind), to=tag))
        one.hear(sip_request("ACK", name, number, to=tag))
        if one.statuses("INVITE")[-1] != 200:
            return


def weaker(one: Stage, name: str, tag: str) -> None:
    """Offer plain RTP where there was SRTP."""
    plain = OFFER.replace(b"RTP/SAVP", b"RTP/AVP").replace(b"a=crypto", b"a=x-crypto")
    one.hear(sip_request("INVITE", name, 2, plain, to=tag))


CRYPTO = "1 AES_CM_128_HMAC_SHA1_80 inline:"
KEYS = ("inline:", "inline:!")
USERS = 'digest = "{folder}/users"\n'
FINGERPRINT = "a=fingerprint:sha-256 " + ":".join(["AB"] * 32)
DTLS_OFFER = f"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 UDP/TLS/RTP/SAVP 8\r\na=setup:actpass\r\n{FINGERPRINT}\r\n"
PLAIN_OFFER = b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 8\r\n"

CASES = (
    # what cannot be read
    Case("start-line", 400, changed((b"INVITE sip:rec@127.0.0.1 SIP", b"INVITE sip:rec@127.0.0.1  SIP"))),
    Case("no-end-of-head", 400, lambda one, name: one.hear(invite_of(name).partition(b"\r\n\r\n")[0])),
    Case("body-cut", 400, lambda one, name: one.hear(invite_of(name)[:-9])),
    Case("content-length", 400, changed((b"Content-Length: ", b"Content-Length: -"))),
    Case("body-size", 400, changed((b"Content-Length: ", b"Content-Length: 99999"))),
    Case("head-size", 513, changed(line(b"X-Long", b"x" * grammar.MAX_HEAD))),
    Case("too-many-fields", 400, changed((b"Max-Forwards:", b"X: y\r\n" * grammar.MAX_FIELDS + b"Max-Forwards:"))),
    Case("start-line-size", 400, changed((b"INVITE sip:rec", b"INVITE sip:" + b"r" * grammar.MAX_START_LINE))),
    Case("version", 505, changed((b" SIP/2.0\r\nVia", b" SIP/7.0\r\nVia"))),
    Case("uri-scheme", 416, changed((b"INVITE sip:", b"INVITE nobody:"))),
    Case("field-missing", 400, without(b"Call-ID")),
    Case("field-twice", 400, changed(line(b"Call-ID", b"other"))),
    Case("uri", 400, changed((b"INVITE sip:rec@127.0.0.1", b"INVITE <sip:rec@127.0.0.1>"))),
    Case("uri-empty", 400, changed((b"INVITE sip:rec@127.0.0.1", b"INVITE sip:"))),
    Case("uri-headers", 400, changed((b"INVITE sip:rec@127.0.0.1", b"INVITE sip:rec@127.0.0.1?Route=x"))),
    Case("host", 400, changed((b"INVITE sip:rec@127.0.0.1", b"INVITE sip:rec@[::1"))),
    Case("port", 400, changed((b"INVITE sip:rec@127.0.0.1", b"INVITE sip:rec@127.0.0.1:99999"))),
    Case("via", 400, changed((b"\r\nMax-Forwards:", b",\r\nMax-Forwards:"))),
    Case("via-version", 400, changed((b"Via: SIP/2.0/", b"Via: SIP/7.0/"))),
    Case("cseq", 400, changed((b"CSeq: 1 INVITE", b"CSeq: one INVITE"))),
    Case("cseq-method", 400, changed((b"CSeq: 1 INVITE", b"CSeq: 1 BYE"))),
    Case("max-forwards", 400, changed((b"Max-Forwards: 70", b"Max-Forwards: 7000"))),
    Case("call-id", 400, changed((b"Call-ID: ", b"Call-ID: a b"))),
    Case("tag", 400, changed((b"From: <sip:sbc@127.0.0.1>;tag=", b"From: <sip:sbc@127.0.0.1>;tag=a;tag="))),
    Case("quote", 400, changed((b"Contact: <", b'Contact: "unclosed <'))),
    Case("contact", 400, changed((b"Contact: <sip:sbc@127.0.0.1:5070>;", b"Contact: sip:sbc@127.0.0.1?a=b;"))),
    Case("addr-spec", 400, changed((b"To: <sip:rec@", b"To: <sip:rec @"))),
    Case("replaces", 400, changed(insisting(b"c1"))),
    Case("content-length-missing", 400, stream(lambda name: invite_of(name).replace(b"Content-Length", b"X-Length"))),
    # what is not served
    Case("require", 420, changed((b"Require: siprec", b"Require: siprec, 100rel, nonsense"))),
    Case("content-encoding", 415, changed(line(b"Content-Encoding", b"gzip"))),
    Case("body-type", 415, changed((b"application/sdp", b"application/nonsense"))),
    Case("accept", 406, changed(line(b"Accept", b"text/plain"))),
    Case("not-siprec", 421, changed((b"Require: siprec\r\n", b""), (b";+sip.src", b""))),
    Case("not-siprec", 421, changed((b";+sip.src", b"")), 'siprec = "strict"\n'),
    Case("session-interval", 422, changed(line(b"Supported", b"timer"), line(b"Session-Expires", b"30"))),
    Case("dialog", 481, lambda one, name: one.hear(sip_request("INVITE", name.decode(), 1, OFFER, to=";tag=x"))),
    Case("merged", 482, twice),
    Case("replaces-unknown", 481, changed(insisting(b"c1;to-tag=1;from-tag=2"))),
    Case("replaces-early-only", 486, running(replace_early)),
    Case("replaces-ended", 603, running(replace_late)),
    Case("unavailable", 503, refuse_all),
    # who may not
    Case("no-customer", 403, changed(), change=("127.0.0.0/8", "192.0.2.0/24")),
    Case("customer-closed", 403, changed(), 'state = "closed"\n'),
    Case("digest-missing", 401, challenged, USERS),
    Case("digest", 401, wrong_password, USERS),
    Case("source-rate", 503, again(changed(), 3), change=("[sip]", "[sip]\nsource_invites = 1")),
    Case("customer-rate", 503, again(changed(), 3), "max_invites = 1\n"),
    Case("source-full", 503, again(changed(), 2), change=("[sip]", "[sip]\nsource_calls = 1")),
    Case("customer-full", 503, again(changed(), 2), "max_calls = 1\n"),
    Case("full", 503, again(changed(), 2), change=("max_calls = 5", "max_calls = 1")),
    # what cannot be recorded
    Case("no-offer", 488, changed(body=b"")),
    Case("sdp", 488, offer(base=b"nonsense")),
    Case("kind", 488, offer(("m=audio", "m=nonsense"))),
    Case("profile", 488, offer(("RTP/SAVP", "TCP/MRCP"))),
    Case("formats", 488, offer((" RTP/SAVP 8", " RTP/SAVP x"))),
    Case("port-zero", 488, offer(base=sdp("gone"))),
    Case("too-many-lines", 488, offer(base=OFFER.replace(b"m=audio", b"m=audio 0 RTP/AVP 8\r\n" * 99 + b"m=audio", 1))),
    Case("crypto", 488, offer((CRYPTO, "1 NONSENSE inline:"))),
    Case("crypto-syntax", 488, offer((CRYPTO, "one "))),
    Case("crypto-key", 488, offer(KEYS)),
    Case("crypto-key-length", 488, offer(("AES_CM_128_HMAC_SHA1_80", "AEAD_AES_256_GCM"))),
    Case("crypto-mki", 488, offer(("\r\na=sendonly", "|1:999\r\na=sendonly"))),
    Case("crypto-parameter", 488, offer(("\r\na=sendonly", " UNENCRYPTED_SRTP\r\na=sendonly"))),
    Case("target", 488, offer(("c=IN IP4 192.0.2.1", "c=IN IP4 224.0.0.1"))),
    Case("srtp-required", 488, offer(base=PLAIN_OFFER)),
    Case("sdes-without-tls", 488, changed(), "sdes_without_tls = false\n"),
    Case("dtls", 488, offer(base=DTLS_OFFER.encode()), "dtls = false\n"),
    Case("dtls-fingerprint", 488, offer(("sha-256", "md5"), base=DTLS_OFFER.encode())),
    # what cannot be done now
    Case("storage", 503, no_storage),
    Case("disk", 503, disk_away, give_up_seconds=0.5),
    Case("no-port", 503, changed(body=sdp(*["sendonly"] * 3)), change=("{first}-{last}", "19000-19003")),
    Case("internal", 500, bug),
    # in a call that runs
    Case(
        "cseq", 500, running(lambda one, n, t: one.hear(sip_request("INVITE", n, 0, OFFER, to=t))), kind="offer-refused"
    ),
    Case("busy", 500, running(busy), kind="offer-refused"),
    Case("glare", 491, running(glare), kind="offer-refused"),
    Case("ended", 481, running(ended), kind="offer-refused"),
    Case("sdp", 488, running(lambda o, n, t: o.hear(sip_request("INVITE", n, 2, b"x", to=t))), kind="offer-refused"),
    Case(
        "srtp-downgrade", 488, running(weaker), change=("[media]", '[media]\nsrtp = "preferred"'), kind="offer-refused"
    ),
    Case("too-long", 488, changed(body=beyond_a_message())),
    Case("too-many-streams", 488, running(many_streams), kind="offer-refused"),
)

ELSEWHERE = {
    "method": "another method than INVITE",
    "transaction": "a CANCEL of nothing",
    "prack": "a PRACK, which no answer of ours asks for",
    "info-package": "an INFO, which changes nothing; tests/sip/test_within has it",
    "not-sip": "bytes that are no message: a connection that is closed, counted as dropped",
    "via": "twice in the source",
    "crypto-suite": "gives way to crypto, since another line may have a suite we know",
    "sdp-size": "shown as sdp",
    "media-type": "a Content-Type that cannot be read is taken for an unknown one",
    "status-line": "a response",
    "no-route": "needs a machine without routes; test_signalling has it",
    "removed": "a line that went, which is no refusal",
    "ending": "the recorder ends the call at this moment; test_recording has it",
    "storage": "in several places",
    "not-registered": "needs several nodes; tests/recorder/calls/test_membership has it",
    "start-line-size": "the same over a connection",
    "digest-in-dialog": "a challenge, which is no refusal yet; test_signalling has it",
    "customer-away": "needs a customer whose keys are broken; journeys/trouble/test_customer_away has it",
    "re-offer": "no reason: what an offer in a dialog is called",
}


def groups() -> Iterator[tuple[str, float, list[Case]]]:
    """Share the cases out to nodes of one configuration."""
    found: dict[tuple[str, float], list[Case]] = {}
    for case in CASES:
        text = CONFIG if case.change == ("", "") else CONFIG.replace(*case.change)
        found.setdefault((text + case.more, case.give_up_seconds), []).append(case)
    yield from ((text, give_up_seconds, cases) for (text, give_up_seconds), cases in found.items())


@pytest.mark.parametrize(
    ("text", "give_up_seconds", "cases"), [pytest.param(*group, id=group[2][0].reason) for group in groups()]
)
def test_every_refusal_is_listed_with_its_reason(
    tmp_path: Path, text: str, give_up_seconds: float, cases: list[Case]
) -> None:
    """Duties S29 and 8.11."""
    (tmp_path / "users").write_text("sbc:rec:" + "0" * 64 + "\n")
    text = text.replace("{folder}/users", f"{tmp_path}/users").replace("max_calls = 5", "max_calls = 500")
    text = text.replace('ports = "{first}-{last}"', 'ports = "20000-30999"')

    async def story() -> None:
        async with stage(tmp_path, text, give_up_seconds) as one:
            wrong: list[tuple[object, ...]] = []
            for number, case in enumerate(cases):
                before = one.node.incidents.of("acme")
                one.said.clear()
                case.story(one, f"call{number}".encode())
                fresh = [each for each in one.node.incidents.of("acme") if each not in before]
                statuses = [a.status for a in map(parse, one.said) if isinstance(a, Response)]
                listed = [(each["kind"], each["reason"], each["status"]) for each in fresh]
                if listed != [(case.kind, case.reason, case.status)] or case.status not in statuses:
                    wrong.append((case.reason, listed, statuses))
            assert wrong == []
            one.node.incidents.save()
            after_restart = Incidents(lambda: datetime.now(UTC), tmp_path / "data")
            assert after_restart.of("acme") == one.node.incidents.of("acme")

    asyncio.run(story())


REFUSING = frozenset(
    "RemoteError MalformedMessage MalformedValue MalformedBody FramingError NotAcceptable UnusableCrypto _refuse "
    "_answer _stateless refused Refuse OpenFailed".split()
)
LINE_BY_LINE = ("_unfit", "_protection", "_association", "_best")
SOURCES = (*(ROOT / "sip").rglob("*.py"), *(ROOT / "recorder").rglob("*.py"))


def reasons_in(tree: ast.AST) -> Iterator[str]:
    """Give the code words that are handed to whatever refuses."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in REFUSING:
                words = [part for arg in node.args for part in ast.walk(arg)]
                yield from (w.value for w in words if isinstance(w, ast.Constant) and isinstance(w.value, str))


def test_no_refusal_is_forgotten() -> None:
    """The reasons are those that stand in the source, and those that a line of an offer is turned down for."""
    found = {word for path in SOURCES for word in reasons_in(ast.parse(path.read_text()))}
    found = {word for word in found if word and word.replace("-", "").isalpha() and word.islower()}
    for function in ast.walk(ast.parse(Path(answer.__file__).read_text())):
        if isinstance(function, ast.FunctionDef) and function.name in LINE_BY_LINE:
            found |= {
                word.value
                for node in ast.walk(function)
                if isinstance(node, ast.Return | ast.Assign)
                for word in ast.walk(node)
                if isinstance(word, ast.Constant) and isinstance(word.value, str) and word.value.islower()
            } - {"active", "passive", "actpass", "required", "off", "crypto"}
    provoked = {case.reason for case in CASES}
    assert found - provoked - ELSEWHERE.keys() == set()
    assert len(found) > 50
