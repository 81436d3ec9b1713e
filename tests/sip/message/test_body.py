"""What is found in a body."""

import pytest

from sip.message.body import NOTHING, contents, refused_body, takes_sdp
from sip.message.headers import Headers
from tests.sip.memory_client import METADATA, OFFER, multipart


def found(kind, body, *fields):
    return contents(Headers([("Content-Type", kind), *fields] if kind else list(fields)), body)


BOTH, EMPTY = multipart()[0], multipart(offer=b"", metadata=b"")[0]
TURNED = multipart(offer=None)[0].replace(b"--b--\r\n", b"") + multipart(metadata=None)[0]


@pytest.mark.parametrize("body", [BOTH, TURNED, EMPTY.replace(b"--b--\r\n", b"") + BOTH])
def test_both_parts_are_found_in_any_order_and_after_empty_ones(body):
    """Duty R17."""
    parts = found("multipart/mixed;boundary=b", body)
    assert (parts.offer, parts.metadata) == (OFFER, METADATA)


@pytest.mark.parametrize(
    "fields",
    [
        [("Content-Type", "application/rs-metadata+xml")],
        [("Content-Type", "application/rs-metadata")],
        [("Content-Type", "Application/RS-Metadata")],
        [("Content-Type", "application/xml"), ("Content-Disposition", "recording-session")],
        [],
    ],
)
def test_bare_metadata(fields):
    """Duty R17."""
    assert contents(Headers(fields), METADATA).metadata == METADATA


def test_further_metadata_are_found_and_alternatives_not_r17():
    part = b"--b\r\nContent-Type: application/rs-metadata+xml\r\n\r\n%s\r\n"
    body = b"".join(part % text for text in (b"<recording/>", b"", b"<recording>2</recording>")) + b"--b--\r\n"
    first = found("multipart/mixed;boundary=b", body)
    assert (first.metadata, first.later) == (b"<recording/>", (b"<recording>2</recording>",))
    richest = found("multipart/alternative;boundary=b", body)
    assert (richest.metadata, richest.later) == (b"<recording>2</recording>", ())


KNOWN, UNKNOWN = (
    b"--b\r\nContent-Type: application/sdp\r\n\r\n" + OFFER,
    b"\r\n--b\r\nContent-Type: text/plain\r\n\r\nhi",
)


@pytest.mark.parametrize(
    ("kind", "body", "disposition", "strange"),
    [
        ("application/unknown", b"x", "", True),
        ("application/gtd", b"x", "signal;handling=optional", False),
        ("application/gtd", b"x", "signal; Handling=Optional", False),
        ("application/pidf+xml", b"x", "by-reference", False),
        ("multipart/mixed;boundary=b", b"--b\r\n\r\n\r\n" + BOTH, "", False),  # an empty part
        ("multipart/mixed;boundary=b", b"--b\r\nContent-Type: a/b\r\n\r\n\r\n" + BOTH, "", True),
        ("multipart/mixed;boundary=b", KNOWN + UNKNOWN + b"\r\n--b--", "", True),
        ("multipart/alternative;boundary=b", KNOWN + UNKNOWN + b"\r\n--b--", "", False),
        ("multipart/alternative;boundary=b", UNKNOWN + b"\r\n--b--", "", True),
    ],
)
def test_only_optional_unknown_parts_are_accepted(kind, body, disposition, strange):
    """Duty S16. Of alternatives one has to be understood."""
    parts = found(kind, body, *([("Content-Disposition", disposition)] if disposition else []))
    assert parts.strange is strange
    fault = refused_body(Headers(), parts)
    assert (fault and fault.status) == (415 if strange else None)
    assert (parts.offer == OFFER) is (OFFER in body)


def test_an_encoded_body_is_refused():
    assert refused_body(Headers([("Content-Encoding", "identity")]), NOTHING) is None
    assert refused_body(Headers([("e", "gzip")]), NOTHING) is not None
    assert found("application/sdp", b"") is NOTHING
    assert found("", b"\r\n") is NOTHING


@pytest.mark.parametrize(
    ("accept", "welcome"),
    [(None, True), ("", True), ("application/sdp;q=0.5", True), ("text/x, */*", True), ("text/x", False)],
)
def test_accept(accept, welcome):
    assert takes_sdp(Headers([("Accept", accept)] if accept is not None else [])) is welcome
