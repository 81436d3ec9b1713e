"""What a trace shows of a message: its structure, and nothing that a client wrote freely."""

from __future__ import annotations

import re
import time

import pytest

from recorder.trace.masked_bodies import ELEMENTS
from recorder.trace.masked_message import FIELDS, MAX_LINES, NAMES, shown
from recorder.trace.masks import Masks
from sip.message.framing import Framer
from sip.message.headers import USUAL_NAMES
from tests.sip import metadata_documents as documents

MASKS = Masks(bytes(32), ["rec.acme.example"])
DOCUMENTS = {
    "rfc7865": documents.rfc7865(), "audiocodes": documents.AUDIOCODES, "oracle": documents.ORACLE,
    "oracle-unescaped": documents.ORACLE_UNESCAPED, "broadworks": documents.BROADWORKS, "ribbon": documents.RIBBON,
    "metaswitch": documents.METASWITCH, "netsapiens": documents.NETSAPIENS, "avaya": documents.AVAYA,
    "google": documents.GOOGLE, "cube": documents.CUBE_BYE,
}  # fmt: skip
CANARIES = ("+4930123456789", "4930123456789", "Zaunkoenig", "Zaunkönig Anna", "c2VjcmV0c2VjcmV0", "0301 234 567")
FORMS = (
    "{}", '"{}" <sip:a@192.0.2.9>', "<sip:{}@192.0.2.9>", "<sip:a@{}>", "<sip:{}>", "<tel:{}>", "<urn:{}>", "<{}:x>",
    "<sip:a@192.0.2.9>;tag={}", "<sip:a@192.0.2.9>;{}", "<sip:a@192.0.2.9>;x={}", "<sip:a@192.0.2.9;x={}>",
    "<sip:a@192.0.2.9?x={}>", "1;{}", "1;refresher={}", "1 {}", 'Digest username="{}",algorithm="{}"', "Digest {}",
    "SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK{}", "SIP/2.0/UDP {}", "SIP/2.0/UDP 192.0.2.9;received={};rport={}",
    "application/sdp;x={}", "SIP;cause=200;text={}", "Oracle {}", "SBC/{}", "session;handling={}", "399 x {}",
)  # fmt: skip
LETTERS = "voisuepcbtrzkm"


def message(*lines: str, body: bytes = b"", start: str = "INVITE sip:rec@192.0.2.10 SIP/2.0") -> bytes:
    head = "\r\n".join([start, *lines, f"Content-Length: {len(body)}", "\r\n"])
    return head.encode("utf-8", "surrogateescape") + body


def clean(text: str, canary: str) -> bool:
    """Return whether nothing of a canary is in a text: neither it, nor its digits whatever stands between them."""
    bare = re.sub(r"[^0-9A-Za-z]", "", text).lower()
    return canary.lower() not in text.lower() and re.sub(r"[^0-9A-Za-z]", "", canary).lower() not in bare


@pytest.mark.parametrize("canary", CANARIES)
def test_no_header_field_shows_a_value_that_somebody_wrote(canary: str) -> None:
    names = sorted({*USUAL_NAMES.values(), *FIELDS, *NAMES, "X-Whatever", f"X-{canary.replace(' ', '-')}"})
    for form in FORMS:
        for name in names:
            text = shown(message(f"{name}: {form.replace('{}', canary)}"), MASKS)
            assert clean(text, canary), (name, form, text)


@pytest.mark.parametrize("canary", CANARIES)
def test_no_start_line_shows_a_value_that_somebody_wrote(canary: str) -> None:
    for start in (
        f"INVITE sip:{canary}@192.0.2.10 SIP/2.0", f"INVITE sip:a@{canary} SIP/2.0", f"{canary} sip:a@b SIP/2.0",
        f"INVITE tel:{canary} SIP/2.0", f"INVITE sip:a@192.0.2.10 {canary}", f"SIP/2.0 200 {canary}", canary,
        f"SIP/2.0 {canary} OK", f"SIP/{canary} 200 OK", f"INVITE sip:a@192.0.2.10;{canary}={canary} SIP/2.0",
    ):  # fmt: skip
        assert clean(shown(message(start=start), MASKS), canary), start


@pytest.mark.parametrize("canary", CANARIES)
def test_no_line_of_sdp_shows_a_value_that_somebody_wrote(canary: str) -> None:
    attributes = (
        "rtpmap:8 {}/8000", "rtpmap:{} PCMA/8000", "rtpmap:8 PCMA/{}", "fmtp:101 {}", "fmtp:101 x={}", "fmtp:{} 0-15",
        "fmtp:8 mode={}", "crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{}", "crypto:1 {} inline:x", "crypto:{} x inline:y",
        "crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x|{}|{}:4 {}", "label:{}", "ssrc:1 cname:{}", "ice-pwd:{}", "{}",
        "{}:1", "x-foo:{}", "rtcp:{} IN IP4 {}", "ptime:{}", "fingerprint:sha-256 {}", "setup:{}", "sendrecv:{}",
        "mid:{}",
    )  # fmt: skip
    lines = [f"{letter}={canary}" for letter in LETTERS]
    lines += [f"o={canary} 1 1 IN IP4 192.0.2.5", f"o=- {canary} {canary} IN IP4 {canary}", f"c=IN IP4 {canary}"]
    lines += [f"m={canary} 1 RTP/AVP 8", f"m=audio {canary} RTP/AVP 8", f"m=audio 1 {canary} {canary}", canary]
    lines += [f"b={canary}:1", f"b=AS:{canary}", f"t={canary} {canary}"]
    lines += ["a=" + each.replace("{}", canary) for each in attributes]
    for line in lines:
        body = f"v=0\r\n{line}\r\n".encode()
        text = shown(message("Content-Type: application/sdp", body=body), MASKS)
        assert clean(text, canary), (line, text)


@pytest.mark.parametrize("dialect", sorted(DOCUMENTS))
def test_metadata_of_every_dialect_show_elements_and_no_texts(dialect: str) -> None:
    document = DOCUMENTS[dialect]
    text = shown(message("Content-Type: application/rs-metadata+xml", body=document), MASKS)
    assert "<recording" in text and "<participant" in text, text
    raw = document.decode("utf-8", "replace")
    written = re.findall(r">([^<>]+)<", raw) + re.findall(r"=[\"']([^\"'<>]*)[\"']", raw)
    values = {word for value in written for word in re.split(r"[\s:;@/,]+", value) if len(word) > 3}
    known = re.compile(r"complete|partial|separate|mixed|00\+01|[0-9-]{8,10}T[0-9.+Z]*|[0-9]{1,6}|[0-9.]+Z?|[0-9.]*")
    words = set(re.split(r"[^A-Za-z0-9_.+-]+", text))
    assert not {value for value in values & words if not known.fullmatch(value)} - ELEMENTS.keys(), text


@pytest.mark.parametrize("canary", CANARIES)
def test_no_metadata_show_a_value_that_somebody_wrote(canary: str) -> None:
    for element in ("name", "nameID", "datamode", "label", "send", "aor", "start-time", "mode", "x", "callId", "ucid"):
        for attribute in ("aor", "participant_id", "name", "x", "xmlns"):
            body = f'<recording><{element} {attribute}="{canary}">{canary}</{element}>{canary}</recording>'.encode()
            text = shown(message("Content-Type: application/rs-metadata+xml", body=body), MASKS)
            assert clean(text, canary), (element, attribute, text)
    odd = f"<recording><{canary.strip('+').replace(' ', '')}>x <sip:{canary}> & <name>{canary}".encode()
    assert clean(shown(message("Content-Type: application/rs-metadata+xml", body=odd), MASKS), canary)


def test_what_helps_is_shown() -> None:
    body = (
        b"v=0\r\no=anna 12345678 7 IN IP4 192.0.2.5\r\nc=IN IP4 192.0.2.6\r\nm=audio 4000 RTP/SAVP 8 101\r\n"
        b"a=rtpmap:8 PCMA/8000\r\na=fmtp:101 0-15\r\na=label:1\r\na=sendonly\r\n"
        b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:c2VjcmV0|2^20|1:4 UNENCRYPTED_SRTCP\r\n"
    )
    text = shown(
        message(
            "Via: SIP/2.0/TLS 192.0.2.5:5061;branch=z9hG4bKx;rport=4", 'From: "Anna" <sip:anna@a.example>;tag=1',
            "CSeq: 7 INVITE", "Contact: <sip:c@192.0.2.5:5061;transport=tls>;+sip.src", "Require: siprec",
            "Session-Expires: 1800;refresher=uac", "User-Agent: Oracle SBC/8.4.0", "Content-Type: application/sdp",
            body=body, start="INVITE sip:rec@rec.acme.example;transport=tls SIP/2.0",
        ),
        MASKS,
    )  # fmt: skip
    for line in (
        "@rec.acme.example;transport=tls SIP/2.0", "Via: SIP/2.0/TLS 192.0.2.5:5061;branch=z9hG4bK", ";rport=4",
        "CSeq: 7 INVITE", "@192.0.2.5:5061;transport=tls>;+sip.src", "Require: siprec", "1800;refresher=uac",
        "User-Agent: Oracle SBC / 8.4.0", "c=IN IP4 192.0.2.6", "m=audio 4000 RTP/SAVP 8 101", "a=rtpmap:8 PCMA/8000",
        "a=fmtp:101 0-15", "a=label:1", "a=sendonly",
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:***|2^20|1:4 UNENCRYPTED_SRTCP",
    ):  # fmt: skip
        assert line in text, (line, text)


def test_the_same_value_has_the_same_word_in_one_trace_only() -> None:
    sent = message("From: <sip:anna@a.example>;tag=1", "To: <sip:ben@a.example>", "P-Asserted-Identity: <tel:anna>")
    words = re.findall(r"user-[a-p]{8}", shown(sent, MASKS))
    assert words[1] == words[3] != words[2]
    assert re.findall(r"user-[a-p]{8}", shown(sent, Masks(bytes(31) + b"1")))[1] != words[1]


def test_a_message_of_a_stream_is_shown_as_one_of_a_datagram() -> None:
    sent = message("CSeq: 7 INVITE", body=b"x")
    (framed,) = Framer().feed(sent)
    assert shown(framed, MASKS) == shown(sent, MASKS)


def test_the_largest_messages_are_cut_and_cost_little() -> None:
    people = b"".join(b'<participant participant_id="%d"><name>Anna</name></participant>' % n for n in range(4000))
    sent = message("Content-Type: application/rs-metadata+xml", body=b"<recording>" + people + b"</recording>")
    began = time.process_time()
    assert len(shown(sent, MASKS).splitlines()) <= MAX_LINES + 1
    assert len(shown(message(*["X: 1"] * 390, body=b"v=0\r\n" * 50_000), MASKS).splitlines()) <= MAX_LINES + 1
    assert time.process_time() - began < 1
