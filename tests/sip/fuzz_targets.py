"""One function for each parser that reads what a stranger sends: any bytes give a value or the documented error.

`TARGETS` holds them by name, `SEEDS` well-formed input for each, after what client families really send.
"""

import json
from collections.abc import Callable

from sip.errors import FramingError, MalformedBody, MalformedMessage, NotAcceptable
from sip.message.body import contents, refused_body, takes_sdp
from sip.message.framing import Framer
from sip.message.headers import Headers
from sip.message.message import Framed, Request, check, parse
from sip.message.multipart import MAX_PARTS, parts_of, split
from sip.message.siprec_marks import marks
from sip.sdp.answer import answer, plan
from sip.sdp.description import SessionDescription
from sip.sdp.plan import Policy
from sip.sdp.sdes import SUITES, CryptoOffer, UnusableCrypto, canonical
from sip.siprec.call_model import CallModel
from sip.siprec.call_names import call_names
from sip.siprec.document import parse as read_metadata
from sip.siprec.parties import read_headers
from sip.ua.events import Dropped, Invited, Reoffered
from tests.sip.memory_client import ANSWER, METADATA, TCP, UDP, Story, multipart
from tests.sip.metadata_documents import FAMILIES, T0

EVERYTHING = Policy("preferred", several_keys=True, unencrypted_srtcp=True, dtls=True)
STRICT = Policy("required", secure=False, sdes_without_tls=False)
OFFER = (
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\na=fingerprint:sha-256 AA:BB\r\n"
    b"m=audio 4000 RTP/SAVP 8 0 101\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=label:1\r\n"
    b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1ub3BxcnN0|2^20|1:4 KDR=1\r\n"
    b"a=rtcp:4001 IN IP4 192.0.2.1\r\na=rtcp-mux\r\na=sendonly\r\n"
    b"m=video 4002 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 H264/90000\r\na=setup:actpass\r\na=inactive\r\na=label:2\r\n"
)


def message(data: bytes) -> None:
    """A whole message; what was read is written and read again as the same."""
    try:
        found = parse(data)
    except MalformedMessage as error:
        assert error.status in (400, 416, 505, 513)
        assert error.request is None or error.request.via.host
        return
    contents(found.headers, found.body)
    again = parse(bytes(found))
    again.headers.remove("Content-Length")
    found.headers.remove("Content-Length")
    assert again == found
    if isinstance(found, Request):
        try:
            check(found)
        except MalformedMessage as error:
            assert error.status in (400, 416, 505)
        refused_body(found.headers, contents(found.headers, found.body))
        assert takes_sdp(found.headers) in (True, False)
        assert marks(found.headers, None)
        call_names(read_headers(found).correlations)


def cut(data: bytes, step: int) -> tuple[list[Framed | bytes], str]:
    """Feed a stream in pieces; give its messages and the fault that ended it."""
    framer, found = Framer(), []
    for at in range(0, len(data), step):
        try:
            found += framer.feed(data[at : at + step])
        except FramingError as error:
            assert error.status in (400, 513)
            return [*found, *error.before], error.code
    assert framer.pending <= len(data)
    return found, ""


def framing(data: bytes) -> None:
    """A stream gives the same messages however it is cut."""
    whole = cut(data, max(1, len(data)))
    for step in (1, 7, 64):
        assert cut(data, step) == whole


def description(data: bytes) -> None:
    """An offer is answered line by line or refused, under a kind policy and a strict one."""
    answered(data, EVERYTHING)
    answered(data, STRICT)


def answered(data: bytes, policy: Policy) -> None:
    """Answer an offer; the answer is a description too, and the next offer may be the same."""
    try:
        offer = SessionDescription.parse(data)
        plans = plan(offer, policy)
    except MalformedBody:
        return
    except NotAcceptable as error:
        assert error.status == 488 and 300 <= error.warning < 400
        return
    ports = {line.index: 20_000 + 2 * line.index for line in plans if line.accepted}
    keys = {line.index: b"K" * SUITES[line.suite] for line in plans if line.suite}
    here = {"address": "198.51.100.7", "session_id": 7, "version": 1, "fingerprint": "sha-256 AA"}
    ours = SessionDescription.parse(answer(offer, plans, ports=ports, keys=keys, **here))  # type: ignore[arg-type]  # two types in one dict
    assert len(ours.media) == len(offer.media)
    assert all(mine.kind == theirs.kind for mine, theirs in zip(ours.media, offer.media, strict=True) if theirs.kind)
    assert [media.port for media in ours.media] == [ports.get(media.index, 0) for media in offer.media]
    plan(offer, policy, plans)


def crypto(data: bytes) -> None:
    """A crypto attribute gives a key of its suite's length, or must not be answered."""
    text = data.decode("utf-8", "surrogateescape")
    for unencrypted in (False, True):
        try:
            found = CryptoOffer.parse(text, unencrypted_srtcp=unencrypted)
        except UnusableCrypto:
            continue
        size = SUITES[canonical(found.suite) or ""]
        assert all(len(key) == size for key in (found.key, *(other.key for other in found.others)))


def body(data: bytes) -> None:
    """A body gives its parts; the first line may name the boundary."""
    first = data.split(b"\n", 1)[0].replace(b"\r", b"").strip(b"- ").decode("latin-1")
    for kind in (f'multipart/mixed;boundary="{first}"', "multipart/mixed", f"multipart/mixed; boundary={first}", ""):
        found = split(kind, data)
        assert len(found) <= MAX_PARTS
        assert sum(len(part.body) for part in found) <= len(data)
        for part in found:
            assert part.is_sdp + part.is_metadata < 2
        parts_of(Headers([("Content-Type", kind)]), data)


def metadata(data: bytes) -> None:
    """Metadata is read as far as it goes, and changes a picture that held something."""
    found = read_metadata(data)
    picture = CallModel()
    picture.apply(read_metadata(METADATA), T0)
    picture.apply(found, T0)
    picture.apply(found, T0, final=True)
    assert picture.owners(["1", "2", None])
    kept = json.loads(json.dumps(picture.to_state().reveal()))
    assert CallModel.from_state(kept).parties() == picture.parties()


def endpoint(data: bytes) -> None:
    """Whatever comes, no bug shows; a call that runs is not touched by a stranger."""
    for flow in (UDP, TCP):
        story = Story(flow)
        running = story.established()
        story.say(data)
        for event in story.events():
            assert not (isinstance(event, Dropped) and event.reason == "internal")
            if isinstance(event, Invited | Reoffered):
                story.endpoint.accept(event.token, ANSWER, story.now)
        story.hear()
        assert running in story.endpoint.sessions()


def invitation() -> bytes:
    """Write an INVITE with everything a client may put into it."""
    parts, kind = multipart(offer=OFFER, metadata=FAMILIES["oracle"])
    lines = (
        "Record-Route: <sip:p1.example;lr>, <sip:p2.example;lr>", "Supported: timer",
        "Session-Expires: 1800;refresher=uac",
        'Diversion: "Anna" <sip:+4930100@pbx.example>;reason=unconditional', "P-Asserted-Identity: <tel:+4930100>",
        "History-Info: <sip:a@pbx.example>;index=1", "User-to-User: 00FA080012345612345678;encoding=hex",
        "Cisco-Guid: 1-2-3-4", "Session-ID: aa;remote=bb", "v: SIP/2.0/TCP b.example;branch=z9hG4bKb",
        "Replaces: call-0@client.example;to-tag=a5;from-tag=0;early-only",
    )  # fmt: skip
    return Story().invite(*lines, body=parts, kind=kind)


PARTS = multipart(offer=OFFER, metadata=METADATA)[0]
TARGETS: dict[str, Callable[[bytes], None]] = {
    "message": message,
    "framing": framing,
    "description": description,
    "crypto": crypto,
    "body": body,
    "metadata": metadata,
    "endpoint": endpoint,
}
SEEDS: dict[str, list[bytes]] = {
    "message": [invitation(), Story().reply(parse(invitation()), 200, body=OFFER)],  # type: ignore[arg-type]  # it is a request
    "framing": [invitation() + b"\r\n\r\n" + Story().request("BYE"), b"\r\n\r\n" + Story().request("OPTIONS") * 2],
    "description": [OFFER, ANSWER],
    "crypto": [
        b"1 AES_CM_128_HMAC_SHA1_80 inline:MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1ub3BxcnN0|2^20|1:4 -KDR=1 WSH=64",
        b"2 AEAD_AES_128_GCM inline:MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG0=|1:4;inline:MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG0=|2:4",
    ],
    "body": [
        PARTS,
        PARTS.replace(b"\r\n", b"\n"),
        b"--a\r\nContent-Type: multipart/mixed;boundary=b\r\n\r\n" + PARTS + b"--a--",
    ],
    "metadata": list(FAMILIES.values()),
    "endpoint": [invitation(), Story().request("CANCEL"), Story().request("OPTIONS", to="<sip:a@b>;tag=x")],
}
