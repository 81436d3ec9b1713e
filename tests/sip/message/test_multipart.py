"""Bodies as clients really build them; nothing in a body raises."""

import base64

import pytest

from sip.message.grammar import MAX_FIELDS
from sip.message.headers import Headers
from sip.message.multipart import MAX_DELIMITERS, MAX_PARTS, METADATA, SDP, compose, parts_of, split

OFFER = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\n"
XML = b'<?xml version="1.0"?><recording xmlns="urn:ietf:params:xml:ns:recording:1"/>'


def mixed(boundary: str = "b", end: str = "\r\n", close: str = "--b--\r\n") -> bytes:
    """Offer and metadata as two parts."""
    return (
        f"--{boundary}{end}Content-Type: application/sdp{end}{end}".encode()
        + OFFER
        + f"{end}--{boundary}{end}Content-Type:application/rs-metadata+xml{end}".encode()
        + f"Content-Disposition: Recording-Session;handling=optional{end}{end}".encode()
        + XML
        + f"{end}{close}".encode()
    )


@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_offer_and_metadata_parts_are_distinguished(end: str) -> None:
    offer, metadata = split("multipart/mixed;boundary=b", mixed(end=end))
    assert (offer.is_sdp, offer.is_metadata, offer.body, offer.disposition) == (True, False, OFFER, None)
    assert (metadata.is_metadata, metadata.body, metadata.disposition) == (True, XML, "recording-session")
    assert (offer.required, metadata.required) == (True, False)


CODED = b"Content-Transfer-Encoding: base64\r\n\r\n"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/mixed", mixed()),
        ("multipart/mixed;boundary=", mixed()),
        ("multipart/mixed;boundary=other", mixed()),
        ("", mixed()),
        ("multipart", mixed()),
        ("mixed; boundary=b", mixed()),
        ('multipart/mixed;boundary="b "', b"--preamble\r\nnothing\r\n" + mixed()),
        (
            "multipart/mixed;boundary=b",
            b"".join(b"--b\r\n" + CODED + base64.encodebytes(part) for part in (OFFER, XML)) + b"--b--",
        ),
        (
            "multipart/mixed;boundary=b",
            b"--b\r\n\r\n" + OFFER + b"\r\n--b\r\nContent-Length: 9\r\n" + XML + b"\r\n--b--",
        ),
    ],
)
def test_parts_are_found_without_a_right_type_or_boundary(kind: str, body: bytes) -> None:
    """Duty S33."""
    offer, metadata = split(kind, b"\r\n" + body)
    assert (offer.is_sdp, offer.body, metadata.is_metadata, metadata.body) == (True, OFFER, True, XML)


@pytest.mark.parametrize(
    ("kind", "body", "is_metadata"),
    [
        ("text/xml", b"<tns:recording xmlns:tns='x'>", True),
        ("application/rs-metadata-xml", XML, True),
        ("application/vnd.example.recording+xml", XML, True),
        ("text/xml", b"<html>", False),
        ("image/png", b"<recording>", False),
        (
            "multipart/mixed;boundary=b",
            b"--b\r\nContent-Type: a/ +xml;x\r\nContent-Disposition:\r\n recording-session\r\n\r\nplain\r\n--b--",
            True,
        ),
    ],
)
def test_metadata_under_a_general_type_are_recognised(kind: str, body: bytes, is_metadata: bool) -> None:
    (part,) = split(kind, body)
    assert (part.is_metadata, part.is_sdp) == (is_metadata, False)


@pytest.mark.parametrize(
    "boundary", ["----=_Part_1.2", "unique boundary 42", "a=b'c/d:e?f", "x" * 70, "(a),b", "--", "a--b"]
)
def test_boundaries_may_be_quoted_and_odd(boundary: str) -> None:
    """Duty S33."""
    body = mixed(boundary, close=f"--{boundary}--")
    assert len(split(f'multipart/mixed; charset=x; Boundary="{boundary}"', body)) == 2
    assert len(split(f"Multipart/Mixed;boundary={boundary}", body)) == 2


@pytest.mark.parametrize("close", ["--b--", "--b--\r\n", "--b--  \r\nepilogue\r\n--b\r\n\r\nx", "", "\r\n"])
def test_the_end_may_be_missing_or_followed_by_anything(close: str) -> None:
    """Duty S33."""
    parts = split("multipart/mixed;boundary=b", b"preamble\r\n" + mixed(close=close))
    assert [part.body.strip() for part in parts] == [OFFER.strip(), XML]


def test_a_delimiter_may_end_in_blanks_but_not_in_letters() -> None:
    body = mixed().replace(b"--b\r\n", b"--b \t\r\n").replace(XML, XML + b"\r\n--bee\r\nmore")
    assert split("multipart/mixed;boundary=b", body)[1].body == XML + b"\r\n--bee\r\nmore"


def test_multipart_fields_and_delimiters_are_limited() -> None:
    assert len(split("multipart/mixed;boundary=b", b"--b\r\n" + b"a:b\n" * 1_000)[0].headers) == MAX_FIELDS
    hidden = b"--b\r\n\r\n" + b"\n--bx" * MAX_DELIMITERS + b"\n--b\r\n\r\nlate\r\n--b--"
    assert len(split("multipart/mixed;boundary=b", hidden)) == 1
    assert len(split("multipart/mixed;boundary=b", b"\r\n--b\r\n\r\n" * 1_000)) == MAX_PARTS
    assert split("", b"--\r\n\r\ntext")[0].media_type.essence == "application/octet-stream"


def test_binary_content_survives() -> None:
    content = bytes(range(256)) * 3
    content_type, body = compose([(SDP, None, OFFER), (METADATA, "recording-session", content)], "bb7")
    assert [part.body for part in split(content_type, body)] == [OFFER, content]


def test_a_blank_line_ahead_of_the_content_belongs_to_it() -> None:
    body = b"--b\r\nContent-Type: application/sdp\r\n\r\n\r\n" + OFFER + b"\r\n--b--"
    assert split("multipart/mixed;boundary=b", body)[0].body == b"\r\n" + OFFER


def test_nested_parts_come_in_order() -> None:
    """Duty S33."""
    inner = b"Content-Type: multipart/related;boundary=b\r\n\r\n" + mixed()
    body = b"--out\r\nContent-Type: text/plain\r\n\r\nhello\r\n--out\r\n" + inner + b"\r\n--out--"
    parts = split("multipart/mixed;boundary=out", body)
    assert [part.media_type.essence for part in parts] == [
        "text/plain",
        "application/sdp",
        "application/rs-metadata+xml",
    ]


def alternatives(*parts: tuple[str, bytes]) -> bytes:
    """Metadata behind several forms of one thing."""
    forms = b"".join(f"--alt\r\nContent-Type: {kind}\r\n\r\n".encode() + form + b"\r\n" for kind, form in parts)
    head = b"--out\r\nContent-Type: multipart/alternative;boundary=alt\r\n\r\n" + forms + b"--alt--\r\n"
    return head + b"--out\r\nContent-Type: application/rs-metadata+xml\r\n\r\n" + XML + b"\r\n--out--\r\n"


def test_the_last_known_alternative_comes_first_s33() -> None:
    """RFC 2046 section 5.1.4: whoever sends them does not expect that all are understood."""
    older = OFFER.replace(b"- 1 1", b"- 0 0")
    body = alternatives(("text/plain", b"hello"), ("application/sdp", older), ("application/sdp", OFFER), ("x/y", b"z"))
    assert [part.body for part in split("multipart/mixed;boundary=out", body)] == [OFFER, older, XML]
    body = alternatives(("text/plain", b"hello"), ("x/y", b"z"))
    assert [part.body for part in split("multipart/mixed;boundary=out", body)] == [b"hello", b"z", XML]


def test_transfer_encodings_are_undone_and_broken_ones_left() -> None:
    """Duty S33."""

    def one(encoding: str, content: bytes) -> bytes:
        return split("x/y", content, Headers([("Content-Transfer-Encoding", encoding)]))[0].body

    assert one("BASE64", b"djA9\r\nMA==") == b"v0=0"
    assert one("base64", b"djA9MA") == b"v0=0"
    assert one("base64", b"!!") == b"!!"
    assert one('"Quoted-Printable"', b"v=3D0") == b"v=0"
    assert one("quoted-printable", b"v=3D0=\r\n") == b"v=0"
    assert one("8bit", b"=3D") == b"=3D"


def test_a_single_body_keeps_the_fields_of_its_message() -> None:
    headers = Headers([("c", "application/rs-metadata"), ("Content-Disposition", "recording-session")])
    (part,) = parts_of(headers, XML)
    assert part.is_metadata and part.disposition == "recording-session" and part.body == XML
    assert parts_of(Headers(), OFFER)[0].is_sdp
    assert parts_of(headers, b"") == ()
