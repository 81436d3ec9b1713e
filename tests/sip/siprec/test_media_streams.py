import json
from typing import Any

import pytest

from personal import Personal
from sip.siprec.document import Document, Stream, StreamLink
from sip.siprec.media_streams import MediaStreams
from sip.siprec.participants import OriginOfName, ParticipantEntry, Participants
from tests.sip.metadata_documents import T0, T1

IDS = {"a": 0, "b": 1}


def crowd() -> Participants:
    people = Participants()
    for uri in ("sip:a@x", "sip:b@x"):
        people.add(ParticipantEntry(Personal(uri), None, OriginOfName.METADATA, T0))
    return people


PEOPLE = crowd()
STREAMS = (Stream("s1", "1"), Stream("s2", "2"))
BOTH = (StreamLink("a", ("s1",), ()), StreamLink("b", ("s2",), ()))


def apply(
    known: MediaStreams, *, snapshot: bool = True, keeps: bool = False, people: Participants = PEOPLE, **parts: Any
) -> None:
    known.apply(Document(**parts), IDS, people, snapshot=snapshot, keeps=keeps)


def state(known: MediaStreams) -> list[tuple[str | None, tuple[int, ...], bool, bool]]:
    return [(each.label, each.owners, each.live, each.current) for each in known]


def recorded() -> MediaStreams:
    known = MediaStreams()
    apply(known, streams=STREAMS, stream_links=BOTH)
    return known


FIRST = {"streams": STREAMS, "stream_links": BOTH}
SILENT = (StreamLink("a", (), ()), StreamLink("b", (), ()))
ONE, TWO = ("1", (0,), True, True), ("2", (1,), True, True)


@pytest.mark.parametrize(
    ("first", "then", "known", "held"),
    [
        pytest.param(FIRST, {}, [ONE, TWO], "", id="senders become owners, and nothing changes them"),
        pytest.param(
            FIRST,
            {"snapshot": False, "stream_links": (StreamLink("a", (), ("s2",)),)},
            [("1", (0,), False, True), TWO],
            "1",
            id="an update replaces its participant's streams",
        ),
        pytest.param(
            FIRST, {"streams": STREAMS, "stream_links": BOTH[:1]}, [ONE, ("2", (1,), False, True)], "2",
            id="a snapshot with fewer associations is a hold",
        ),
        pytest.param(FIRST, {"streams": STREAMS}, [ONE, TWO], "", id="a snapshot without associations changes none"),
        pytest.param(
            {}, {"streams": STREAMS, "stream_links": SILENT}, [("1", (), False, True), ("2", (), False, True)], "",
            id="a stream without any sender is not on hold",
        ),
        pytest.param(
            FIRST, {"snapshot": False, "keeps": True, "stream_links": SILENT}, [ONE, TWO], "",
            id="the metadata of a BYE take nothing away",
        ),
        pytest.param(
            FIRST, {"snapshot": False, "keeps": True, "stream_links": (StreamLink("a", ("s2",), ()),)},
            [ONE, ("2", (0, 1), True, True)], "",
            id="incomplete metadata silence no stream",
        ),
        pytest.param(
            FIRST, {"streams": STREAMS[:1], "stream_links": BOTH[:1]}, [("2", (1,), False, False), ONE], "",
            id="a stream missing in a snapshot is past and remembered",
        ),
        pytest.param(
            FIRST,
            {"snapshot": False, "streams": (Stream("s3", "2"),), "stream_links": (StreamLink("b", ("s3",), ()),)},
            [("2", (1,), False, False), ONE, TWO], "",
            id="a new stream takes over a label in an update",
        ),
        pytest.param(
            {"streams": (Stream("s1", "1"), Stream("", "2")), "stream_links": BOTH[:1]}, FIRST, [ONE, TWO], "",
            id="a stream without id is known by its label",
        ),
    ],
)  # fmt: skip
def test_what_a_document_makes_of_streams(
    first: dict[str, Any], then: dict[str, Any], known: list[object], held: str
) -> None:
    """Duties X8, X9."""
    found = MediaStreams()
    apply(found, **first)
    apply(found, **then)
    assert state(found) == known
    assert [label for label in "123" if found.holding(label)] == list(held)


def test_labels_come_from_the_newest_snapshot_and_its_updates():
    known = recorded()
    apply(known, streams=(Stream("s1", "1"), Stream("s4", None)), stream_links=BOTH)
    apply(known, snapshot=False, streams=(Stream("s3", "3"),))
    assert known.labels() == {"1", "3"}


def test_an_association_overrides_a_send_in_the_participant():
    known = MediaStreams()
    apply(
        known,
        streams=STREAMS,
        stream_links=(
            StreamLink("a", ("s1",), (), inside=True),
            StreamLink("b", ("s1",), ()),
            StreamLink("b", ("s2",), (), inside=True),
        ),
    )
    assert [(each.owners, each.rule) for each in known] == [((1,), 1), ((), 0)]


def test_of_two_senders_the_one_who_left_is_not_the_owner():
    """Duty X9."""
    people = crowd()
    people[0].leave(T1, inferred=False)
    known = MediaStreams()
    apply(
        known,
        people=people,
        streams=STREAMS[:1],
        stream_links=(StreamLink("a", ("s1",), ()), StreamLink("b", ("s1",), ())),
    )
    assert state(known) == [("1", (1,), True, True)]


def test_a_participant_whose_streams_are_not_there_dangles():
    known = MediaStreams()
    apply(known, streams=STREAMS[:1], stream_links=(StreamLink("a", ("s1",), ()), StreamLink("b", ("gone",), ())))
    assert known.dangling(IDS) == {1}
    assert (known.knows(0), known.knows(1)) == (True, False)


def test_everybody_who_was_heard_in_a_stream_is_remembered():
    """A transfer: the line stays, and another person speaks on it."""
    known = recorded()
    apply(known, snapshot=False, stream_links=(StreamLink("b", (), ("s2",)), StreamLink("a", ("s1", "s2"), ())))
    assert [(each.owners, each.heard) for each in known] == [((0,), (0,)), ((0,), (1, 0))]
    again = MediaStreams.from_state(json.loads(json.dumps(known.to_state())))
    assert [each.heard for each in again] == [(0,), (1, 0)]
    of_before = [entry[:7] for entry in known.to_state()["tracks"]]
    assert [each.heard for each in MediaStreams.from_state({"tracks": of_before, "links": {}})] == [(0,), (0,)]
