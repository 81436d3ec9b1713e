"""The call as the API shows it."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from recorder.session import call_document
from sip.sdp.description import Format
from tests.in_process.offers import NOON, request


def test_nanoseconds_become_utc_with_milliseconds() -> None:
    assert call_document.from_ns(1_772_366_400_000_000_000) == "2026-03-01T12:00:00.000Z"
    assert call_document.from_ns(None) is None


def test_a_stream_of_which_nothing_was_heard_has_all_figures() -> None:
    shown = call_document.figures({})
    assert (shown["packets"], shown["mos"], shown["gaps"], shown["first_packet_at"]) == (0, None, [], None)


def test_gaps_are_times_and_what_only_we_need_is_left_out() -> None:
    shown = call_document.figures(
        {"stream": 1, "sources": 2, "gaps": [(0, 1_000_000_000, "loss")], "first_arrival": 10**18}
    )
    assert shown["gaps"] == [["1970-01-01T00:00:00.000Z", "1970-01-01T00:00:01.000Z", "loss"]]
    assert shown["first_packet_at"] == "2001-09-09T01:46:40.000Z"
    assert not {"stream", "sources", "first_arrival"} & set(shown)


@pytest.mark.parametrize(
    ("names", "codec"),
    [(("telephone-event", "PCMA"), "PCMA"), (("opus",), "opus"), (("CN",), "CN"), ((None,), None), ((), None)],
)
def test_events_and_comfort_noise_are_no_codecs(names: tuple[str | None, ...], codec: str | None) -> None:
    assert call_document.codec([Format(n, name, 8000, 1, None) for n, name in enumerate(names)]) == codec


def test_a_message_is_kept_with_its_headers() -> None:
    kept = json.loads(call_document.message(request("BYE", 7), NOON))
    assert (kept["at"], kept["method"]) == ("2026-03-01T12:00:00.000Z", "BYE")
    assert ["CSeq", "7 BYE"] in kept["headers"]


def test_bytes_that_are_no_text_are_kept_as_they_were() -> None:
    assert call_document.encode({"x": b"\xff".decode("utf-8", "surrogateescape")}) == b'{"x":"\xff"}'
    assert datetime.now(UTC).tzinfo is UTC


def test_events_of_a_recording_are_kept_with_their_time() -> None:
    kept = json.loads(call_document.happening("resumed", NOON, part="m2"))
    assert kept == {"at": "2026-03-01T12:00:00.000Z", "kind": "resumed", "part": "m2"}
