"""The worst that 64 KiB of input can cost: 50 ms of this process and 64 MiB, whatever a stranger writes.

Each entry repeats what a careless parser handles in quadratic time. The limits are for a quiet machine of today; the
least of three runs counts, since others work beside the tests.
"""

import tracemalloc
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sip.message.multipart import split
from sip.siprec.call_model import CallModel
from sip.siprec.document import parse as read_metadata
from tests.sip import fuzz_targets
from tests.sip.cpu_cost import cost
from tests.sip.memory_client import Story
from tests.sip.metadata_documents import T0
from tests.sip.test_fuzz_targets import JUNK

SIZE = 65_536
LARGEST_DATAGRAM = 65_507
SECONDS, BYTES = 0.050, 64 << 20
RECORDING = b"<recording xmlns='urn:ietf:params:xml:ns:recording:1'>"
FRESH = count(1)
KEY = b"MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1ub3BxcnN0"


def filled(piece: bytes, before: bytes = b"", after: bytes = b"", size: int = SIZE) -> bytes:
    """Repeat a piece until the whole is as long as it may be."""
    return before + piece * ((size - len(before) - len(after)) // len(piece)) + after


def numbered(write: Callable[[int], bytes], before: bytes = b"", after: bytes = b"", size: int = SIZE) -> bytes:
    """The same with pieces that differ."""
    out, length, n = [before], len(before) + len(after), 0
    while length + len(piece := write(n)) <= size:
        out.append(piece)
        length, n = length + len(piece), n + 1
    return b"".join([*out, after])


def heads() -> dict[str, bytes]:
    """INVITEs of one datagram, large in one respect each."""
    plain = Story().invite()
    start, rest = plain.split(b"\r\n", 1)
    room = LARGEST_DATAGRAM - len(plain) - 200
    lines = {
        "header fields": filled(b"X: y\r\n", size=room),
        "vias": filled(b"Via: SIP/2.0/UDP h;branch=z9hG4bK1\r\n", size=room),
        "a list of vias": filled(b"SIP/2.0/UDP h,", b"Via: ", b"SIP/2.0/UDP h\r\n", size=room),
        "routes": filled(b"<sip:p;lr>,", b"Record-Route: ", b"<sip:p;lr>\r\n", size=room),
        "option tags": filled(b"a,", b"Require: ", b"siprec\r\n", size=room),
        "folded line": filled(b"\t \t\r\n", b"X: y\r\n", size=room),
        "open quotes": filled(b'"', b"Diversion: ", b"\r\n", size=room),
        "backslashes in quotes": filled(b"\\", b'Diversion: "', b"\r\n", size=room),
        "open angles": filled(b"<", b"Diversion: ", b"\r\n", size=room),
        "quotes in angles": filled(b'<">', b"History-Info: ", b"\r\n", size=room),
        "redirections": numbered(lambda n: b"<sip:+49301%d@a>;index=1.%d," % (n, n), b"History-Info: ", b"\r\n", room),
        "identities": numbered(lambda n: b"<tel:+49301%d>," % n, b"P-Asserted-Identity: ", b"\r\n", room),
        "session interval": filled(b"9", b"Session-Expires: ", b"\r\n", size=room),
        "parameters": filled(b";a=b", b"Contact: <sip:a@b>", b"\r\n", size=room),
        "user to user": filled(b"FA08", b"User-to-User: ", b"\r\n", size=room),
        "session ids": filled(b"a;remote=b,", b"Session-ID: ", b"\r\n", size=room),
        "broken bytes": filled(b"\xff", b"Diversion: ", b"\r\n", size=room),
    }
    found = {name: start + b"\r\n" + line + rest for name, line in lines.items()}
    for field, pieces in {
        b"From: ": (b"<", b'"', b"\\", b"%41", b"\xc3\xa9"),
        b"CSeq: ": (b"9",),
        b"Via: ": (b",", b";a=b"),
    }.items():
        for piece in pieces:
            whole = b"\r\n" + field + filled(piece, size=room)
            found[f"{field.decode()}{piece!r}"] = plain.replace(b"\r\n" + field, whole, 1)
    for piece in (b";a=b", b"%41", b"@", b"?a=b&", b"["):
        found[f"request-uri {piece!r}"] = filled(piece, b"INVITE sip:a", b"@b SIP/2.0\r\n" + rest, LARGEST_DATAGRAM)
    return found


def descriptions() -> dict[str, bytes]:
    """Offers."""
    head = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
    line = head + b"m=audio 4000 RTP/AVP 0\r\n"
    secure = head + b"m=audio 4000 RTP/SAVP 0\n"
    crypto = b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:"
    maps = b"".join(b"a=rtpmap:%d opus/48000/2\na=fmtp:%d a=b\n" % (n, n) for n in range(128))
    numbers = b" ".join(b"%d" % n for n in range(128))
    dtls = b"a=fingerprint:sha-256 AA:BB\na=setup:actpass\n"
    return {
        "lines": filled(b"a=\n", line),
        "m-lines": filled(b"m=audio 1 RTP/AVP 0\n", head),
        "m-lines of DTLS": filled(b"m=audio 1 UDP/TLS/RTP/SAVP 0\n", head + dtls),
        "formats": filled(b"0 ", head + b"m=audio 4000 RTP/AVP ", b"\r\n"),
        "formats by line": filled(b"m=audio 1 RTP/AVP " + b"96 " * 90 + b"\n", head),
        "rtpmaps": filled(maps, head + b"m=audio 4000 RTP/AVP " + numbers + b"\n"),
        "rtpmaps by line": filled(b"m=audio 1 RTP/AVP " + numbers + b"\n" + maps[:1500], head),
        "crypto lines": numbered(lambda n: crypto.replace(b"1", b"%d" % n, 1) + KEY + b"\n", secure),
        "keys of a line": filled(b"inline:" + KEY + b"|1:4;", secure + crypto[:-7], b"\n"),
        "long key": filled(b"A", secure + crypto, b"\n"),
        "padding": filled(b"=", secure + crypto + KEY, b"\n"),
        "bars": filled(b"|", secure + crypto + KEY, b"\n"),
        "parameters": filled(b" -KDR=1", secure + crypto + KEY, b"\n"),
        "numbers": filled(b"9", head + b"m=audio ", b" RTP/AVP 0\n"),
        "blanks of a map": filled(b" ", line + b"a=rtpmap:0 PCMU", b"x\n"),
        "feedback": filled(b"a=rtcp-fb:* nack pli\n", head + b"m=video 1 RTP/AVPF 96\n"),
        "fingerprints": filled(dtls, head + b"m=audio 1 UDP/TLS/RTP/SAVP 0\n"),
        "carriage returns": filled(b"\r", line),
    }


def bodies() -> dict[str, bytes]:
    """Multiparts with the boundary b."""
    nested = b"--b%s\nContent-Type: multipart/mixed;boundary=b%d\n\n"
    return {
        "parts": filled(b"--b\r\n\r\n\r\n", after=b"--b--"),
        "delimiters": filled(b"--b\n"),
        "almost delimiters": filled(b"\n--bb"),
        "long delimiter lines": filled(b"\n--b" + b" " * 500),
        "blanks behind a delimiter": filled(b" ", b"--b\n\n--b", b"x"),
        "nested": filled(b"--b\nContent-Type: multipart/mixed;boundary=b\n\n"),
        "nested anew": numbered(lambda n: nested % (b"%d" % (n - 1) if n else b"", n)),
        "fields of a part": filled(b"X: y\n", b"--b\n"),
        "folded fields": filled(b" y\n", b"--b\nX: y\n"),
        "base64 lines": filled(b"A\n", b"--b\nContent-Transfer-Encoding: base64\n\n"),
        "quoted-printable": filled(b"=4", b"--b\nContent-Transfer-Encoding: quoted-printable\n\n"),
        "no delimiter": filled(b"-"),
        "lines of dashes": filled(b"--\n"),
    }


def documents() -> dict[str, bytes]:
    """Metadata."""
    end = b"</recording>"
    person = b"<participant participant_id='%d'><nameID aor='sip:%d@a'><name>%d</name></nameID></participant>"
    sends = b"<participantstreamassoc participant_id='%d'><send>s%d</send></participantstreamassoc>"
    of_one = RECORDING + b"<participantstreamassoc participant_id='a'>"
    return {
        "depth": filled(b"<a>", RECORDING),
        "depth of participants": filled(b"<participant participant_id='a'>", RECORDING),
        "elements": filled(b"<a/>", RECORDING, end),
        "attributes": numbered(lambda n: b" a%d=''" % n, b"<recording", b"/>"),
        "bare attributes": numbered(lambda n: b" a%d=b" % n, b"<recording", b"/>"),
        "the same attribute": filled(b" a=''", b"<recording", b"/>"),
        "equals": filled(b"=", b"<recording a="),
        "namespaces": numbered(lambda n: b"<x:a xmlns:x='u%d'/>" % n, RECORDING, end),
        "namespaces inside each other": numbered(lambda n: b"<a xmlns:p%d='u'>" % n, RECORDING),
        "participants": numbered(lambda n: person % (n, n, n), RECORDING, end),
        "one participant": filled(person % (1, 1, 1), RECORDING, end),
        "names of one": numbered(
            lambda n: b"<nameID aor='%d'/>" % n, RECORDING + person[:34] % 1, b"</participant>" + end
        ),
        "streams": numbered(lambda n: b"<stream stream_id='%d'><label>%d</label></stream>" % (n, n), RECORDING, end),
        "sends": numbered(lambda n: b"<send>%d</send>" % n, of_one, b"</participantstreamassoc>" + end),
        "associations": numbered(lambda n: sends % (n, n), RECORDING, end),
        "sessions": numbered(lambda n: b"<session session_id='%d'/>" % n, RECORDING, end),
        "groups": numbered(lambda n: b"<group group_id='%d'/>" % n, RECORDING, end),
        "extensions": numbered(
            lambda n: b"<x:e%d xmlns:x='u'>v</x:e%d>" % (n, n), RECORDING + b"<session session_id='s'>", end
        ),
        "addresses in text": filled(b"<sip:a@b>", RECORDING, end),
        "ampersands": filled(b"&", RECORDING, end),
        "entities": filled(b"&amp;", RECORDING, end),
        "open comments": filled(b"<!--", RECORDING),
        "open sections": filled(b"<![CDATA[", RECORDING),
        "open instructions": filled(b"<?", RECORDING),
        "angles": filled(b"<", RECORDING),
        "closing tags": filled(b"</a>", RECORDING),
        "slashes of a namespace": filled(
            b"//x", b"<recording><extensiondata xmlns='", b"'><a>b</a></extensiondata>" + end
        ),
        "half a tag": filled(b"<na", RECORDING),
        "similar ends": b"<participant><participand>" * 15 + b"</participont>" * 4_500,
        "long misspelt ends": filled(b"<" + b"ab" * 200 + b"></" + b"ba" * 200 + b">", RECORDING),
        "two long names": b"<" + b"ab" * 16_000 + b"></" + b"ba" * 16_000 + b">",
        "open value": filled(b" a='", b"<recording", b""),
        "open quotes": filled(b'<r a="'),
        "blanks in a tag": filled(b" ", b"<recording", b"x"),
        "zeros": bytes(SIZE),
        "bad bytes": filled(b"\xff\xfe\x80", RECORDING),
        "declared encoding": filled(b"\xe4", b"<?xml version='1.0' encoding='latin-1'?>" + RECORDING),
        "two bytes a letter": ("<recording>" + "<a>" * 10_000).encode("utf-16")[:SIZE],
        "a growing entity": b"<!DOCTYPE a [<!ENTITY a 'aa'>" + b"<!ENTITY b '&a;&a;&a;'>" * 2_000 + b"]>" + RECORDING,
    }


def ask(data: bytes) -> None:
    """Let an endpoint take a datagram and the user read all of it."""
    story = Story()
    story.endpoint.receive_datagram(data, story.flow, story.now)
    story.endpoint.data_to_send()
    picture = CallModel()
    for event in story.events():
        if hasattr(event, "request"):
            picture.apply_request(event.request, T0)


def understand(data: bytes) -> None:
    """Read metadata twice, as a snapshot and as the change of one; the namespace is one that was never read before."""
    data = data.replace(b"xmlns='//", b"xmlns='/%d/" % next(FRESH))
    found = read_metadata(data)
    picture = CallModel()
    picture.apply(found, T0)
    picture.owners(["1", "2"])


def part(data: bytes) -> None:
    """Cut a body."""
    split("multipart/mixed;boundary=b", data)


def offer(data: bytes) -> None:
    """Answer an offer under one policy, as the daemon does."""
    fuzz_targets.answered(data, fuzz_targets.EVERYTHING)


CASES = [
    pytest.param(take, data, id=f"{take.__name__}: {name}")
    for take, cases in ((ask, heads()), (offer, descriptions()), (part, bodies()), (understand, documents()))
    for name, data in cases.items()
]


@pytest.mark.parametrize(("take", "data"), CASES)
def test_64_kib_cost_at_most_50_ms_and_64_mib(take: Callable[[bytes], None], data: bytes) -> None:
    """Duty S36."""
    assert len(data) <= SIZE
    assert cost(lambda: take(data), SECONDS) < SECONDS
    tracemalloc.start()
    try:
        take(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < BYTES


@pytest.mark.parametrize("step", [1, 1_000])
@pytest.mark.parametrize(
    "data",
    [
        filled(b"X: y\r\n", b"BYE sip:h SIP/2.0\r\n"), filled(b"\r\n"),
        filled(b"\r\n ", b"BYE sip:h SIP/2.0\r\n"), filled(b"BYE sip:h SIP/2.0\r\nl: 0\r\n\r\n"),
        filled(b"a", b"BYE sip:h SIP/2.0\r\nl: 60000\r\n\r\n"),
    ],
    ids=["fields", "line ends", "folded", "messages", "body"],
)  # fmt: skip
def test_a_stream_costs_the_same_however_it_is_cut(data: bytes, step: int) -> None:
    limit = SECONDS if step > 1 else 10 * SECONDS  # 65,536 reads cost something by themselves
    assert cost(lambda: fuzz_targets.cut(data, step), limit) < limit


@pytest.mark.parametrize(
    ("take", "name"), [(ask, "endpoint"), (understand, "metadata"), (part, "body"), (offer, "description")]
)
@settings(
    max_examples=settings.default.max_examples // 3,  # each takes as long as ten others
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(data=st.data())
def test_fuzz_repeated_pieces_cost_only_linear_time(take: Callable[[bytes], None], name: str, data: Any) -> None:
    seed = data.draw(st.sampled_from(fuzz_targets.SEEDS[name]))
    at = data.draw(st.integers(0, len(seed) - 1))
    own = st.integers(1, 120).map(lambda length: seed[at : at + length])
    piece = data.draw(st.one_of(st.lists(st.sampled_from(JUNK), min_size=1, max_size=3).map(b"".join), own))
    datagram = filled(piece or b"a", seed[:at], seed[at:], LARGEST_DATAGRAM)
    assert cost(lambda: take(datagram), SECONDS) < 2 * SECONDS  # quadratic ones cost a second and more
