from __future__ import annotations

import json

from personal import Personal
from sip.siprec.document import Document, Stream, StreamLink
from sip.siprec.media_streams import MAX_TRACKS, Tracks
from sip.siprec.participants import ParticipantEntry, Participants, Source
from tests.sip.metadata_documents import T0, T1

IDS = {"a": 0, "b": 1}


def crowd() -> Participants:
    people = Participants()
    for uri in ("sip:a@x", "sip:b@x"):
        people.add(ParticipantEntry(Personal(uri), None, Source.METADATA, T0))
    return people


PEOPLE = crowd()
STREAMS = (Stream("s1", "1"), Stream("s2", "2"))
BOTH = (StreamLink("a", ("s1",), ()), StreamLink("b", ("s2",), ()))


def apply(
    tracks: Tracks, *, snapshot: bool = True, keeps: bool = False, people: Participants = PEOPLE, **parts: object
) -> None:
    document = Document(**parts)  # type: ignore[arg-type]  # the parts of a document, by name
    tracks.apply(document, IDS, people, snapshot=snapshot, keeps=keeps)


def state(tracks: Tracks) -> list[tuple[str | None, tuple[int, ...], bool, bool]]:
    return [(track.label, track.owners, track.live, track.current) for track in tracks]


def recorded() -> Tracks:
    tracks = Tracks()
    apply(tracks, streams=STREAMS, stream_links=BOTH)
    return tracks


def test_senders_become_owners():
    """Duty X9."""
    assert state(recorded()) == [("1", (0,), True, True), ("2", (1,), True, True)]


def test_labels_come_from_the_newest_snapshot_and_its_updates():
    tracks = recorded()
    apply(tracks, streams=(Stream("s1", "1"), Stream("s4", None)), stream_links=BOTH)
    apply(tracks, snapshot=False, streams=(Stream("s3", "3"),))
    assert tracks.labels() == {"1", "3"}


def test_an_update_replaces_its_participants_streams():
    tracks = recorded()
    apply(tracks, snapshot=False, stream_links=(StreamLink("a", (), ("s2",)),))
    assert state(tracks) == [("1", (0,), False, True), ("2", (1,), True, True)]
    assert (tracks.holding("1"), tracks.holding("2"), tracks.holding("3")) == (True, False, False)


def test_a_snapshot_with_fewer_associations_is_a_hold():
    tracks = recorded()
    apply(tracks, streams=STREAMS, stream_links=(StreamLink("a", ("s1",), ()),))
    assert (tracks.holding("1"), tracks.holding("2")) == (False, True)


def test_a_snapshot_without_associations_changes_none():
    tracks = recorded()
    apply(tracks, streams=STREAMS)
    assert not tracks.holding("1")


def test_a_stream_without_any_sender_is_not_on_hold():
    tracks = Tracks()
    apply(tracks, streams=STREAMS, stream_links=(StreamLink("a", (), ()), StreamLink("b", (), ())))
    assert not tracks.holding("1")


def test_the_metadata_of_a_bye_takes_nothing_away():
    tracks = recorded()
    apply(tracks, snapshot=False, keeps=True, stream_links=(StreamLink("a", (), ()), StreamLink("b", (), ())))
    assert state(tracks) == [("1", (0,), True, True), ("2", (1,), True, True)]


def test_incomplete_metadata_silence_no_stream():
    tracks = recorded()
    apply(tracks, snapshot=False, keeps=True, stream_links=(StreamLink("a", ("s2",), ()),))
    assert [tracks.holding("1"), tracks.holding("2")] == [False, False]


def test_a_stream_missing_in_a_snapshot_is_past_and_remembered():
    tracks = recorded()
    apply(tracks, streams=STREAMS[:1], stream_links=BOTH[:1])
    assert state(tracks) == [("2", (1,), False, False), ("1", (0,), True, True)]


def test_a_new_stream_takes_over_a_label_in_an_update():
    tracks = recorded()
    apply(tracks, snapshot=False, streams=(Stream("s3", "2"),), stream_links=(StreamLink("b", ("s3",), ()),))
    assert state(tracks) == [("2", (1,), False, False), ("1", (0,), True, True), ("2", (1,), True, True)]


def test_an_association_overrides_a_send_in_the_participant():
    tracks = Tracks()
    apply(
        tracks,
        streams=STREAMS,
        stream_links=(
            StreamLink("a", ("s1",), (), inside=True),
            StreamLink("b", ("s1",), ()),
            StreamLink("b", ("s2",), (), inside=True),
        ),
    )
    assert [(track.owners, track.rule) for track in tracks] == [((1,), 1), ((), 0)]


def test_of_two_senders_the_one_who_left_is_not_the_owner():
    """Duty X9."""
    people = crowd()
    people[0].leave(T1, inferred=False)
    tracks = Tracks()
    apply(
        tracks,
        people=people,
        streams=STREAMS[:1],
        stream_links=(StreamLink("a", ("s1",), ()), StreamLink("b", ("s1",), ())),
    )
    assert state(tracks) == [("1", (1,), True, True)]


def test_a_participant_whose_streams_are_not_there_dangles():
    tracks = Tracks()
    apply(tracks, streams=STREAMS[:1], stream_links=(StreamLink("a", ("s1",), ()), StreamLink("b", ("gone",), ())))
    assert tracks.dangling(IDS) == {1}
    assert (tracks.knows(0), tracks.knows(1)) == (True, False)


def test_streams_without_id_are_known_by_their_label():
    """Duty X8."""
    tracks = Tracks()
    apply(tracks, streams=(Stream("s1", "1"), Stream("", "2")), stream_links=BOTH[:1])
    apply(tracks, streams=STREAMS, stream_links=BOTH)
    assert state(tracks) == [("1", (0,), True, True), ("2", (1,), True, True)]


def test_the_number_of_metadata_streams_is_limited():
    tracks = Tracks()
    for batch in range(3):
        apply(tracks, snapshot=False, streams=tuple(Stream(f"s{batch}-{n}", f"{batch}-{n}") for n in range(200)))
    assert len(tracks) == MAX_TRACKS


def test_the_state_of_media_streams_survives_json():
    tracks = recorded()
    again = Tracks.from_state(json.loads(json.dumps(tracks.to_state())))
    assert again.to_state() == tracks.to_state()
    apply(again, snapshot=False, stream_links=(StreamLink("a", (), ()),))
    assert again.holding("1")


def test_everybody_who_was_heard_in_a_stream_is_remembered():
    """A transfer: the line stays, and another person speaks on it."""
    tracks = recorded()
    apply(tracks, snapshot=False, stream_links=(StreamLink("b", (), ("s2",)), StreamLink("a", ("s1", "s2"), ())))
    assert [(track.owners, track.heard) for track in tracks] == [((0,), (0,)), ((0,), (1, 0))]
    again = Tracks.from_state(json.loads(json.dumps(tracks.to_state())))
    assert [track.heard for track in again] == [(0,), (1, 0)]
    of_before = [entry[:7] for entry in tracks.to_state()["tracks"]]
    assert [track.heard for track in Tracks.from_state({"tracks": of_before, "links": {}})] == [(0,), (0,)]
