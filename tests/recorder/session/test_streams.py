"""Which stream an offered line goes on with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from media.receive.receive_region import RTCP
from media.records import record_format
from recorder.session.commands import DtlsKeys, PortKeys
from recorder.session.events import Keyed
from recorder.session.stream import Stream
from recorder.session.streams import MAX_STREAMS, hold, keyed, let_go, match, unkept, within_limit
from recorder.workers import codec
from sip.errors import NotAcceptable
from sip.sdp.answer import LinePlan, Policy, plan
from sip.sdp.description import Format, SessionDescription
from sip.siprec.stream_owners import Owner
from tests.in_process.offers import NOON, random, sdp


def lines(*directions: str, media: str = "audio", before: tuple[LinePlan, ...] = ()) -> tuple[LinePlan, ...]:
    return plan(SessionDescription.parse(sdp(*directions, media=media)), Policy("preferred"), before)


def streams_of(*offers: Sequence[LinePlan]) -> list[Stream]:
    """Give the streams of a call after some offers."""
    streams: list[Stream] = []
    for each in offers:
        match(streams, each, random, NOON)
    return streams


def test_lines_keep_their_streams_and_new_lines_begin_others() -> None:
    streams = streams_of(lines("sendonly"))
    fresh, fewer = match(streams, lines("inactive", "sendonly"), random, NOON)
    assert (fresh, len(streams), fewer) == (streams[1:], 2, False)
    _, fewer = match(streams, lines("sendonly"), random, NOON)  # a shorter offer counts as port 0
    assert fewer and [s.away for s in streams] == [False, True]
    assert streams[1].pauses == ((NOON, None),)


def test_another_medium_in_the_same_place_is_another_stream_r15() -> None:
    streams = streams_of(lines("sendonly"), lines("sendonly", media="video"))
    assert [(s.line.media, s.removed) for s in streams] == [("audio", True), ("video", False)]


def test_a_line_returns_to_its_stream_after_port_0_r15() -> None:
    streams = streams_of(before := lines("sendonly", "sendonly"))
    for _ in range(2):  # a refresh in the hold changes nothing
        fresh, _ = match(streams, before := lines("sendonly", "gone", before=before), random, NOON)
        hold(streams, lambda label: False, NOON + timedelta(seconds=1))
        assert not fresh and streams[1].pauses == ((NOON, None),)
    assert streams[1].plan().held and streams[1].document(Owner())["removed"]
    fresh, _ = match(streams, lines("sendonly", "sendonly", before=before), random, NOON)
    hold(streams, lambda label: False, NOON + timedelta(seconds=2))
    assert not fresh and streams[1].pauses == ((NOON, NOON + timedelta(seconds=2)),)
    assert not streams[1].plan().held and not streams[1].document(Owner())["removed"]


def test_another_label_in_a_removed_line_is_a_new_stream_r15() -> None:
    streams = streams_of(before := lines("sendonly"), lines("gone", before=before))
    again = replace(lines("sendonly")[0], label="another")
    fresh, _ = match(streams, (again,), random, NOON + timedelta(seconds=1))
    assert [s.removed for s in streams] == [True, False] and fresh == streams[1:]
    assert streams[0].pauses == ((NOON, NOON + timedelta(seconds=1)),)


@pytest.mark.parametrize(
    ("formats", "goes_on"),
    [
        ((Format(8, "PCMA", 8000),), True),
        ((Format(8, "pcma", 8000, fmtp="x"), Format(18, "G729", 8000)), True),
        ((Format(0, "PCMU", 8000),), True),  # what came before is decoded as what it was
        ((Format(8, "", 0),), True),
        ((Format(8, "AMR", 8000),), False),
        ((Format(0, "PCMU", 8000), Format(8, "PCMA", 16000)), False),
    ],
)
def test_a_line_that_returns_with_another_codec_is_new_r15(formats: tuple[Format, ...], goes_on: bool) -> None:
    streams = streams_of(before := lines("sendonly"), lines("gone", before=before))
    again = replace(lines("sendonly")[0], label=None, formats=formats)  # some do not repeat their labels
    fresh, _ = match(streams, (again,), random, NOON + timedelta(seconds=1))
    assert (not fresh, not streams[0].removed) == (goes_on, goes_on)


@pytest.mark.parametrize(
    ("before", "after", "goes_on"),
    [
        (Format(96, "opus", 48_000, 2), Format(96, "opus", 48_000, 2, "stereo=1"), True),
        (Format(96, "opus", 48_000, 2), Format(96, "OPUS", 48_000, 1, "stereo=0"), True),
        (Format(96, "opus", 48_000, 2), Format(96, "AMR", 8000), False),
        (Format(96, "AMR", 8000, 1, "octet-align=1"), Format(96, "AMR", 8000, 1, "octet-align=1; mode-set=7"), True),
        (Format(96, "AMR", 8000, 1, "octet-align=1"), Format(96, "AMR", 8000), False),
        (Format(96, "telephone-event", 8000), Format(96, "telephone-event", 48_000), True),
        (Format(96, "opus", 48_000, 2), Format(97, "AMR", 8000), True),
        (Format(9, "G722", 8000), Format(9, "G722", 16_000), True),  # what it samples, as some write, is no other codec
        (Format(96, "speex", 8000), Format(96, "speex", 16_000), False),
        (Format(96, "L16", 16_000, 2), Format(96, "L16", 16_000), False),
        (Format(96, "opus", 48_000, 2), Format(96, "", 8000), True),
    ],
)
def test_a_payload_type_with_another_codec_begins_a_stream_r15(before: Format, after: Format, goes_on: bool) -> None:
    first, second = (replace(lines("sendonly")[0], formats=(each,)) for each in (before, after))
    streams = streams_of((first,))
    fresh, _ = match(streams, (second,), random, NOON + timedelta(seconds=1))
    assert (not fresh, not streams[0].removed) == (goes_on, goes_on)
    assert goes_on or streams[0].formats == (before,)


def test_an_answer_to_our_offer_begins_no_new_stream() -> None:
    ours, theirs = (
        replace(lines("sendonly")[0], formats=(Format(96, name, 8000),)) for name in ("telephone-event", "AMR")
    )
    streams = streams_of((ours,))
    fresh, _ = match(streams, (theirs,), random, NOON, answered=True)
    assert (fresh, len(streams), streams[0].removed) == ([], 1, False)
    assert streams[0].formats == theirs.formats


def test_more_streams_than_the_formats_can_number_are_refused() -> None:
    assert MAX_STREAMS <= RTCP < record_format.ALL_STREAMS
    assert 2 * MAX_STREAMS + 2 <= codec.MAX_DESCRIPTORS  # their sockets, and the two files of a call
    streams = [Stream(n, lines("sendonly")[0], b"") for n in range(MAX_STREAMS)]
    within_limit(streams, lines("sendonly"))
    with pytest.raises(NotAcceptable):
        within_limit(streams[:], lines("sendonly", "sendonly"))


def test_only_a_line_that_should_have_been_kept_is_missed_r14() -> None:
    """A fax, a message session and what the client or the configuration does not want are not."""
    one = lines("sendonly")[0]
    refused = replace(one, accepted=False, reason="crypto")
    assert unkept([one, refused, replace(refused, reason="address")]) == "crypto"
    fine = [replace(refused, reason=reason) for reason in ("removed", "port-zero", "kind")]
    assert unkept([one, *fine, replace(refused, media="image"), replace(refused, media="message")]) is None


def test_a_line_without_rtpmap_is_known_by_its_payload_type() -> None:
    """It begins another stream, in which nobody would be heard."""
    known = replace(lines("sendonly")[0], formats=(Format(97, "AMR", 8000), Format(8, "PCMA", 8000)))
    bare = replace(known, formats=(Format(97, "", 8000, 1, "octet-align=1"), Format(8, "PCMA", 8000)))
    streams = streams_of((known,), (bare,))
    assert [stream.formats[0].encoding for stream in streams] == ["AMR", "AMR"]
    assert streams[1].formats[0].fmtp == "octet-align=1"
    match(streams, (replace(bare, media="video", formats=(Format(97, "", 8000, 1, "crc=1"),)),), random, NOON)
    assert streams[2].formats[0].encoding == ""


def test_the_port_of_a_stream_that_was_taken_out_is_let_go_once() -> None:
    streams = [Stream(n, lines("sendonly")[0], b"") for n in range(3)]
    for stream in streams:
        stream.port = 20_000 + stream.number
        stream.removed = stream.number > 0
    assert let_go(streams, (0, 1)) == (1,)
    assert let_go(streams, (0, 1)) == ()
    assert [stream.port for stream in streams] == [20_000, 0, 20_002]


@pytest.mark.parametrize("fingerprint", ["sha-256 AA", "sha-256 BB"])
def test_a_repacked_line_keeps_its_dtls_keys_d6(fingerprint: str) -> None:
    """It has the keys of an association that the offer names again; another handshake would be taken, too."""
    line = replace(lines("sendonly")[0], suite=None, crypto=None, answer_setup="active", fingerprints=("sha-256 AA",))
    first, second = (replace(line, formats=(Format(96, name, 8000),)) for name in ("speex", "AMR"))
    streams = streams_of((first, lines("sendonly", "sendonly")[1]))
    keys = PortKeys("AEAD_AES_128_GCM", b"t" * 28, b"o" * 28)
    for number in (0, 1, 7):
        keyed(streams, Keyed(number, False, keys.suite, keys.theirs, keys.ours, ("sha-256 AA",)))
    assert [stream.keys for stream in streams] == [DtlsKeys(keys), None]
    (fresh,), _ = match(streams, (replace(second, fingerprints=(fingerprint,)),), random, NOON)
    assert fresh.keys == (DtlsKeys(keys, stale=True) if fingerprint == "sha-256 AA" else DtlsKeys())
