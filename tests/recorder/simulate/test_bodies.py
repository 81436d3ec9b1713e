import base64

import pytest

from recorder.simulate.bodies import Line, Picture, offer, read_answer
from recorder.simulate.plan import Party
from sip.sdp.description import SessionDescription
from sip.siprec import document as metadata

SUITE = "AEAD_AES_128_GCM"
LINES = [Line("1", "PCMA", 40000, SUITE, bytes(28)), Line("2", "opus", 40002, None)]
PARTIES = (Party('Anna "<&> Berg', "sip:anna@x.example?a=1&b=2"), Party("", "tel:+4930123"))
KEY = base64.b64encode(bytes(range(28))).decode()
ANSWER = (
    "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
    f"m=audio 20000 RTP/SAVP 8\r\na=recvonly\r\na=label:1\r\na=crypto:1 {SUITE} inline:{KEY}\r\n"
    "m=audio 20002 RTP/AVP 96\r\na=recvonly\r\na=label:2\r\na=rtcp-mux\r\n"
)


def test_the_offer_describes_each_line() -> None:
    made = SessionDescription.parse(offer(LINES, "192.0.2.9", 5, 2, "sendonly", mux=True))
    first, second = made.media
    assert (first.profile, first.label, first.direction, first.port) == ("RTP/SAVP", "1", "sendonly", 40000)
    assert (first.attribute("crypto") or "").startswith(f"1 {SUITE} inline:")
    assert [f.encoding for f in second.formats] == ["opus"] and second.attribute("crypto") is None
    assert made.version == "2" and first.attribute("rtcp-mux") == ""
    assert b"c=IN IP6 2001:db8::1\r\n" in offer(LINES, "2001:db8::1", 5, 1, "inactive", mux=False)


def test_dtls_lines_need_fingerprints_and_no_crypto_line_d1() -> None:
    lines = [Line("1", "PCMA", 40000, "DTLS-SRTP", fingerprint="sha-256 AA")]
    (media,) = SessionDescription.parse(offer(lines, "192.0.2.9", 5, 1, "sendonly", mux=True)).media
    assert (media.profile, media.setup, media.fingerprints) == ("UDP/TLS/RTP/SAVPF", "actpass", ("sha-256 AA",))
    good = (
        "v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 20000 UDP/TLS/RTP/SAVPF 8\r\na=recvonly\r\na=label:1\r\n"
        "a=setup:active\r\na=fingerprint:sha-256 BB\r\n"
    )
    (target,), faults = read_answer(good.encode(), lines, "sendonly")
    assert target is not None
    assert (target.fingerprints, target.setup, faults) == (("sha-256 BB",), "active", [])
    assert read_answer(good.replace("setup:active", "setup:actpass").encode(), lines, "sendonly", mux=True)[1]
    assert read_answer(good.replace("a=fingerprint", "a=x").encode(), lines, "sendonly", mux=True)[1]


def test_a_good_answer_tells_where_everything_goes() -> None:
    (first, second), faults = read_answer(ANSWER.encode(), LINES, "sendonly", mux=True)
    assert first and second and not faults
    assert (first.host, first.port, first.rtcp_port, first.key) == ("192.0.2.1", 20000, 20001, bytes(range(28)))
    assert second.rtcp_port == 20002


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("a=recvonly", "a=sendrecv", "sendrecv"),
        ("a=crypto:1", "a=crypto:2", "crypto"),
        (SUITE, "AEAD_AES_256_GCM", "crypto"),
        (KEY, KEY[:8], "length"),
        ("a=label:1", "a=label:9", "label"),
        ("RTP/SAVP 8", "RTP/SAVP 0", "payload"),
        ("m=audio 20002", "x=", "m-lines"),
        ("m=audio 20002", "m=audio 0", "refuses the audio of stream 2"),
        ("m=audio 20002", "m=audio 20000", "same port"),
        ("m=audio 20002", "m=video 20002", "video RTP/AVP for audio"),
        ("20000 RTP/SAVP", "20000 RTP/AVP", "audio RTP/AVP for"),
        ("a=label:2", "a=label:2\r\na=rtpmap:96 VP8/90000", "another codec"),
        ("a=label:2", f"a=label:2\r\na=crypto:1 {SUITE} inline:{KEY}", "not offered"),
    ],
)
def test_faults_of_an_answer_are_named(old: str, new: str, fault: str) -> None:
    _, faults = read_answer(ANSWER.replace(old, new, 1).encode(), LINES, "sendonly", mux=True)
    assert any(fault in sentence for sentence in faults)


def test_a_hold_wants_inactive_and_a_refused_line_has_no_target() -> None:
    assert len(read_answer(ANSWER.encode(), LINES, "inactive", mux=True)[1]) == 2
    targets, _ = read_answer(ANSWER.replace("20002", "0").encode(), LINES, "sendonly", mux=True)
    assert targets[0] and targets[1] is None
    assert read_answer(b"", LINES, "sendonly", mux=True)[0] == [None, None]


def test_metadata_tell_who_speaks_on_which_stream() -> None:
    picture = Picture(PARTIES, ["1", "2"], "2026-01-01T00:00:00+00:00")
    text, held = picture.document().decode(), picture.document(held=True).decode()
    assert not metadata.parse(picture.document()).damaged
    assert f"<send>{picture.tracks[0]}</send>" in text and "&lt;&amp;&gt;" in text
    assert "<datamode>partial</datamode>" in held and "<send>" not in held


def test_video_has_its_own_lines_and_parties_can_swap() -> None:
    lines = [*LINES, Line("3", "VP8", 40004, None), Line("4", "VP8", 40006, None)]
    made = SessionDescription.parse(offer(lines, "192.0.2.9", 5, 1, "sendonly", mux=False))
    assert [line.kind for line in made.media] == ["audio", "audio", "video", "video"]
    assert [f.encoding for f in made.media[2].formats] == ["VP8"] and made.media[2].attribute("ptime") is None
    picture = Picture(PARTIES, ["1", "2", "3", "4"], "2026-01-01T00:00:00+00:00")
    sent = []
    for _ in range(2):
        links = metadata.parse(picture.document()).stream_links
        sent.append([[picture.tracks.index(track) for track in link.send] for link in links])
        picture.swap()
    assert sent == [[[0, 2], [1, 3]], [[1, 3], [0, 2]]]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("c=IN IP4 192.0.2.1", "c=IN IP4 recorder.example"),
        ("c=IN IP4 192.0.2.1", "c=IN IP4"),
        ("m=audio 20000", "m=audio 99999"),
        ("m=audio 20000", f"m=audio {'9' * 5000}"),
        ("m=audio 20000", "m=audio"),
    ],
)
def test_a_line_that_names_no_place_is_refused(old: str, new: str) -> None:
    targets, faults = read_answer(ANSWER.replace(old, new).encode(), LINES, "sendonly", mux=True)
    assert targets[0] is None and "The recorder refuses the audio of stream 1." in faults


def test_reports_on_the_same_port_must_have_been_offered() -> None:
    _, faults = read_answer(ANSWER.encode(), LINES, "sendonly")
    assert faults == ["An answer line has a=rtcp-mux, which was not offered (RFC 5761 section 5.1.1)."]


def test_no_answer_however_damaged_ends_the_client() -> None:
    for cut in range(len(ANSWER)):
        for body in (ANSWER[:cut], ANSWER[:cut] + "\x00" + ANSWER[cut + 1 :]):
            targets, _ = read_answer(body.encode(), LINES, "sendonly")
            assert len(targets) == len(LINES)
