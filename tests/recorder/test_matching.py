"""Which stream an offered line goes on with."""

from __future__ import annotations

import pytest

from recorder.matching import MAX_STREAMS, match, stream_of, within_limit
from recorder.stream import Stream
from sip.errors import NotAcceptable
from sip.negotiate import LinePlan, Policy, plan
from sip.sdp import SessionDescription
from tests.recorder.offers import NOON, random, sdp


def lines(*directions: str, media: str = "audio", before: tuple[LinePlan, ...] = ()) -> tuple[LinePlan, ...]:
    return plan(SessionDescription.parse(sdp(*directions, media=media)), Policy("preferred"), before)


def test_lines_go_on_with_their_streams_and_new_ones_begin_others() -> None:
    streams: list[Stream] = []
    fresh, _ = match(streams, lines("sendonly"), random, NOON)
    assert fresh == streams and len(streams) == 1
    fresh, fewer = match(streams, lines("inactive", "sendonly"), random, NOON)
    assert (len(fresh), len(streams), fewer) == (1, 2, False)


def test_another_medium_in_the_same_place_is_another_stream_r15() -> None:
    streams: list[Stream] = []
    match(streams, lines("sendonly"), random, NOON)
    match(streams, lines("sendonly", media="video"), random, NOON)
    assert [(s.line.media, s.removed) for s in streams] == [("audio", True), ("video", False)]


def test_a_line_missing_in_a_shorter_offer_is_taken_for_removed_o3() -> None:
    streams: list[Stream] = []
    match(streams, lines("sendonly", "sendonly"), random, NOON)
    _, fewer = match(streams, lines("sendonly"), random, NOON)
    assert fewer and [s.removed for s in streams] == [False, True]
    assert stream_of(streams, 1) is None


def test_more_streams_than_a_record_can_number_are_refused() -> None:
    streams = [Stream(n, lines("sendonly")[0], b"") for n in range(MAX_STREAMS)]
    within_limit(streams, lines("sendonly"))
    with pytest.raises(NotAcceptable):
        within_limit(streams[:], lines("sendonly", "sendonly"))
