"""What is found in a body."""

from __future__ import annotations

import pytest

from sip.message.body import NOTHING, contents, documents, refused_body, takes_sdp
from sip.message.headers import Headers
from tests.sip.memory_client import METADATA, OFFER, multipart


def found(kind, body, *fields):
    return contents(Headers([("Content-Type", kind), *fields] if kind else list(fields)), body)


def test_both_parts_in_either_order():
    """Duty R17."""
    body, kind = multipart()
    assert (found(kind, body).offer, found(kind, body).metadata) == (OFFER, METADATA)
    first, _ = multipart(offer=None)
    last, _ = multipart(metadata=None)
    turned = first.replace(b"--b--\r\n", b"") + last
    assert (found(kind, turned).offer, found(kind, turned).metadata) == (OFFER, METADATA)


NAMES = ["application/rs-metadata+xml", "application/rs-metadata", "Application/RS-Metadata", ""]


@pytest.mark.parametrize("kind", NAMES)
def test_bare_metadata(kind):
    assert found(kind, METADATA).metadata == METADATA


def test_an_empty_part_takes_no_place_r17():
    body, kind = multipart()
    empty, _ = multipart(offer=b"", metadata=b"")
    both = found(kind, empty.replace(b"--b--\r\n", b"") + body)
    assert (both.offer, both.metadata) == (OFFER, METADATA)


def test_further_metadata_are_found_and_alternatives_not_r17():
    part = b"--b\r\nContent-Type: application/rs-metadata+xml\r\n\r\n%s\r\n"
    body = b"".join(part % text for text in (b"<recording/>", b"", b"<recording>2</recording>")) + b"--b--\r\n"
    first = found("multipart/mixed;boundary=b", body)
    assert (first.metadata, first.later) == (b"<recording/>", (b"<recording>2</recording>",))
    headers = Headers([("Content-Type", "multipart/mixed;boundary=b")])
    assert documents(headers, body, first.metadata) == (first.metadata, *first.later)
    assert documents(headers, first.metadata, first.metadata) == (first.metadata,)
    assert documents(headers, b"", None) == ()
    richest = found("multipart/alternative;boundary=b", body)
    assert (richest.metadata, richest.later) == (b"<recording>2</recording>", ())


def test_an_empty_part_does_not_count_as_unsupported():
    body, kind = multipart()
    assert not found(kind, b"--b\r\n\r\n\r\n" + body).strange
    assert found(kind, b"--b\r\nContent-Type: application/unknown\r\n\r\n\r\n" + body).strange


def test_a_disposition_is_enough():
    """Duty R17."""
    assert found("application/xml", b"<x/>", ("Content-Disposition", "recording-session")).metadata == b"<x/>"


def test_no_body_is_nothing():
    assert found("application/sdp", b"") is NOTHING
    assert found("", b"\r\n") is NOTHING


def test_only_optional_unknown_parts_are_accepted():
    """Duty S16."""
    assert found("application/unknown", b"x").strange
    assert not found("application/gtd", b"x", ("Content-Disposition", "signal;handling=optional")).strange
    assert not found("application/gtd", b"x", ("Content-Disposition", "signal; Handling=Optional")).strange
    assert not found("application/pidf+xml", b"x", ("Content-Disposition", "by-reference")).strange
    fault = refused_body(Headers(), found("application/unknown", b"x"))
    assert fault is not None
    assert fault.status == 415
    assert refused_body(Headers([("Content-Encoding", "identity")]), NOTHING) is None
    assert refused_body(Headers([("e", "gzip")]), NOTHING) is not None


def test_of_alternatives_one_has_to_be_understood_s16_s33():
    known, unknown = b"Content-Type: application/sdp\r\n\r\n" + OFFER, b"Content-Type: text/plain\r\n\r\nhello"
    body = b"--x\r\n" + unknown + b"\r\n--x\r\n" + known + b"\r\n--x--\r\n"
    both = found("multipart/alternative;boundary=x", body)
    assert (both.offer, both.strange) == (OFFER, False)
    assert found("multipart/alternative;boundary=x", b"--x\r\n" + unknown + b"\r\n--x--\r\n").strange


@pytest.mark.parametrize(
    ("accept", "welcome"),
    [(None, True), ("", True), ("application/sdp;q=0.5", True), ("text/x, */*", True), ("text/x", False)],
)
def test_accept(accept, welcome):
    assert takes_sdp(Headers([("Accept", accept)] if accept is not None else [])) is welcome
