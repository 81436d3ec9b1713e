"""Whose voice is in each stream, over all re-offers: what was known of a stream outlives its line."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from personal import revealed
from recorder.session import commands as c
from recorder.session import events as e
from recorder.session.session import Recording
from storage.timestamps import rfc3339
from tests.in_process.offers import metadata, now, offered, random, request
from tests.plain_values import plain
from tests.recorder.session.recordings import ID, PREFERRED, bye, restarted
from tests.sip.metadata_documents import invite


def offer(version: int, *lines: str) -> bytes:
    """Write one line a word: its label (none if empty), "gone" for port 0 without one, "image" for what we refuse.

    A codec other than PCMA may stand behind the label.
    """
    out = ["v=0", f"o=- 7 {version} IN IP4 192.0.2.1", "s=-", "c=IN IP4 192.0.2.1", "t=0 0"]
    for index, line in enumerate(lines):
        label, _, codec = line.partition(" ")
        kind = "image 9 udptl t38" if line == "image" else f"audio {30000 + 2 * index} RTP/AVP 8"
        out.append("m=audio 0 RTP/AVP 8" if line == "gone" else f"m={kind}")
        if line not in ("gone", "image"):
            out += [f"a=rtpmap:8 {codec or 'PCMA'}/8000", *([f"a=label:{label}"] if label else [])]
    return ("\r\n".join(out) + "\r\n").encode()


def begun(*names: str, first: bytes = offer(1, "1", "2")) -> Recording:
    one = Recording(ID, PREFERRED, random)
    again(one, 1, first, metadata(*names) if names else None)
    return one


def again(one: Recording, cseq: int, sdp: bytes, document: bytes | None = None, *headers: str) -> None:
    event = offered(cseq, sdp, document, cseq)
    for command in one.handle(replace(event, request=invite(*headers)) if headers else event, now(cseq)):
        if isinstance(command, c.OpenSockets):
            one.handle(e.Opened({plan.number: 20000 + 2 * plan.number for plan in command.streams}), now(cseq))


def heard(one: Recording) -> list[tuple[str | None, ...]]:
    """Tell of each stream its label, who is heard in it, and who was before."""
    told: Any = one.call_document(now(9))
    names = [plain(party["name"]) for party in told["parties"]]
    owners = [(s["label"], s["party"], s["earlier"]) for s in told["streams"]]
    return [(label, None if who is None else names[who], *(names[x] for x in past)) for label, who, past in owners]


def carol_for_bob(label: str) -> bytes:
    """Alice goes on; Carol is heard in a new stream of that label."""
    text = metadata("Alice", "Carol").decode().replace("+49302", "+49303").replace("<label>2", f"<label>{label}")
    return text.replace("p2", "p3").replace("s2", "s3").encode()


ALICE, BOTH, CAROL = metadata("Alice"), metadata("Alice", "Bob"), metadata("Alice", "Carol")
TWO = ("1", "2")
UNCHANGED = [("1", "Alice"), ("2", "Bob")]
STORIES: dict[str, list[tuple[tuple[str, ...], bytes | None, list[Any] | None]]] = {
    # The line is used again by another medium: in a report for Carol that must not be Bob's voice.
    "r15 a reused line, another label": [
        (TWO, BOTH, UNCHANGED),
        (("1", "gone"), ALICE, UNCHANGED),
        (("1", "3 PCMU"), carol_for_bob("3"), [*UNCHANGED, ("3", "Carol")]),
        (("1", "3 PCMU"), ALICE, [*UNCHANGED, ("3", "Carol")]),
    ],
    "r15 a reused line, the same label": [
        (TWO, BOTH, UNCHANGED),
        (("1", "gone"), ALICE, UNCHANGED),
        (("1", "2 PCMU"), carol_for_bob("2"), [*UNCHANGED, ("2", "Carol")]),
    ],
    # Bob's label goes to a line of Carol's; he comes to be heard there all the same, and leaves again.
    "r15 a line begun mid-call": [
        (TWO, BOTH, UNCHANGED),
        (("1", "gone", "2"), carol_for_bob("2"), [*UNCHANGED, ("2", "Carol")]),
        (("1", "gone", "2"), BOTH, None),
        (("1", "gone", "2"), carol_for_bob("2"), [*UNCHANGED, ("2", "Carol", "Bob")]),
    ],
    "r15 a stream of unknown owner": [
        (TWO, None, [("1", None), ("2", None)]),
        (("1", "image"), None, None),
        (TWO, CAROL, [("1", "Alice"), ("2", None), ("2", "Carol")]),
    ],
    "r9 swapped lines": [
        (TWO, BOTH, UNCHANGED),
        (("2", "1"), None, [("2", "Bob", "Alice"), ("1", "Alice", "Bob")]),
        (TWO, None, [("1", "Alice", "Bob"), ("2", "Bob", "Alice")]),
        (("1", "3"), None, None),
        (TWO, None, [("1", "Alice", "Bob"), ("2", "Bob", "Alice")]),  # each is named once
    ],
    "r10 inferred owners": [
        (("", ""), BOTH, None),
        (("2", "1"), None, [("2", "Bob"), ("1", "Alice")]),  # they do not count as heard before
    ],
    "r9 labels that are left out": [
        (("2", "1"), BOTH, [("2", "Bob"), ("1", "Alice")]),
        (("", ""), None, [("2", "Bob"), ("1", "Alice")]),
        (("2", ""), None, [("2", "Bob"), ("1", "Alice")]),
        (("", "2"), None, [("1", "Alice", "Bob"), ("2", "Bob", "Alice")]),  # no line takes a label that another has
    ],
    "o3 a line left out": [(TWO, BOTH, UNCHANGED), (("1",), None, UNCHANGED), (("1",), ALICE, UNCHANGED)],
    "o3 a removed line": [(TWO, BOTH, UNCHANGED), (("1", "gone"), None, UNCHANGED), (("1", "gone"), ALICE, UNCHANGED)],
    # Nothing forbids to begin anew at the end of the list; who comes back in the old place is nobody we know.
    "a removed line whose label moves": [
        (TWO, BOTH, UNCHANGED),
        (("1", "gone"), None, UNCHANGED),
        (("1", "gone", "2"), None, [*UNCHANGED, ("2", "Bob")]),
        (("1", "gone", "2"), BOTH, [*UNCHANGED, ("2", "Bob")]),
        (("1", "gone", "2"), carol_for_bob("2"), [*UNCHANGED, ("2", "Carol", "Bob")]),
        (("1", "", "2"), None, [("1", "Alice"), (None, None, "Bob"), ("2", "Carol", "Bob")]),
    ],
    "metadata after a line's removal": [
        (TWO, None, [("1", None), ("2", None)]),
        (("1", "gone"), None, None),
        (("1", "gone"), BOTH, UNCHANGED),
    ],
}
"""By what is told: the lines of each offer, the metadata with it, and who is heard in each stream then."""


@pytest.mark.parametrize("restarting", [False, True])
@pytest.mark.parametrize("story", STORIES)
def test_each_stream_keeps_its_speakers_over_all_offers(story: str, restarting: bool) -> None:
    one = Recording(ID, PREFERRED, random)
    for cseq, (lines, document, expected) in enumerate(STORIES[story], 1):
        again(one, cseq, offer(cseq, *lines), document)
        one = restarted(one) if restarting else one
        assert expected is None or heard(one) == expected
        assert one.agreement.answer_sdp.count(b"a=label") == sum(line[:1].isdigit() for line in lines)  # R16


def test_a_failed_offer_and_the_bye_change_no_speaker() -> None:
    one = begun("Alice", "Bob")
    one.handle(offered(2, offer(2, "2", "1", "3"), None, 2), now(2))
    one.handle(e.OpenFailed("no-port"), now(2))
    assert heard(one) == UNCHANGED
    again(one, 3, offer(3, "1", "image"))
    bye(one, 7, BOTH)
    assert heard(one) == UNCHANGED


@pytest.mark.parametrize("at_once", [True, False])
def test_lines_lose_a_label_that_moved_to_others_r10(at_once: bool) -> None:
    """Who is heard in them now is a guess, and not said to be who was before."""
    three, four = metadata("", "", "Carol", "Dave").split(b"<participant ")[3:]
    others = b"<participant ".join((metadata(), three, four)).replace(b"</recording>", b"", 1)
    one = begun("Alice", "Bob")
    again(one, 2, offer(2, "", ""), others if at_once else None)
    if not at_once:
        one.handle(e.Informed(request("UPDATE", 3), others), now(3))
    assert [entry[1:] for entry in heard(one)] == [("Carol", "Alice"), ("Dave", "Bob")]
    assert all(stream["inferred"] for stream in one.call_document(now(9))["streams"])


def test_relabelled_streams_show_who_was_heard_before() -> None:
    one = begun("Alice", "Bob")
    first, second, third = metadata("Alice", "Bob").split(b"<label>")
    swapped = b"<label>".join((first, second.replace(b"1<", b"2<"), third.replace(b"2<", b"1<")))
    one.handle(e.Informed(request("UPDATE", 2), swapped), now(2))
    assert heard(one) == [("1", "Bob", "Alice"), ("2", "Alice", "Bob")]


def test_people_whose_lines_are_swapped_are_heard_in_both() -> None:
    """Cisco's network based recording has no labels and no metadata."""
    one = Recording(ID, PREFERRED, random)
    for cseq, lines in ((1, (0, 1)), (2, (1, 0))):
        headers = (
            f'X-Cisco-Recording-Participant: "{name}" <sip:{name}@a.example>;media-index="{line}"'
            for name, line in zip(("Alice", "Bob"), lines, strict=True)
        )
        again(one, cseq, offer(cseq, "", ""), None, *headers)
    assert heard(one) == [(None, "Bob", "Alice"), (None, "Alice", "Bob")]


def test_speakers_survive_a_restart() -> None:
    one = begun("Alice", "Bob")
    again(one, 2, offer(2, "image", "2"))
    again(one, 3, offer(3, "image", "3"), carol_for_bob("3"))
    told = one.call_document(now(9))
    assert (told["streams"][0]["party"], told["streams"][1]["earlier"]) == (0, [1])
    state = json.loads(json.dumps(one.to_state(), default=revealed))
    assert Recording.from_state(state, random).call_document(now(9)) == told
    for stream in state["streams"]:
        del stream["owner"], stream["before"]
    older = Recording.from_state(state, random).call_document(now(9))["streams"]
    assert (older[0]["party"], older[1]["earlier"]) == (None, [])


@pytest.mark.parametrize(
    ("lines", "document", "expected"),
    [
        (("1", "2"), ("Alice", "Bob"), [("1", "Bob"), ("2", "Alice")]),
        (("1", "image", "2"), ("Alice", "Bob"), [("1", "Bob"), ("2", "Alice")]),
        (("1", "2", "3"), ("Alice", "Bob"), [("1", "Alice"), ("2", "Bob"), ("3", None)]),
        (("1",), ("Alice",), [("1", "Alice")]),
    ],
)
def test_swapped_owners_are_read_the_other_way_round(
    lines: tuple[str, ...], document: tuple[str, ...], expected: list[tuple[str | None, ...]]
) -> None:
    """jambonz with rtpengine: with the owners as told, a report of one would hold the voice of the other."""
    one = Recording(ID, PREFERRED, random, swapped=True)
    again(one, 1, offer(1, *lines), metadata(*document))
    assert heard(one) == expected
    assert [note["kind"] for note in one.call_document(now(9))["notes"]].count("owners-swapped") == 1
    later = restarted(one)
    again(later, 2, offer(2, *lines), metadata(*document))  # nobody counts as heard in the other's stream before
    assert heard(later) == expected


def test_swapped_owners_stay_with_a_stream_that_is_removed() -> None:
    one = Recording(ID, PREFERRED, random, swapped=True)
    again(one, 1, offer(1, "1", "2"), metadata("Alice", "Bob"))
    again(one, 2, offer(2, "1", "image"), metadata("Alice", "Bob"))
    assert heard(one)[1] == ("2", "Alice")
    state = json.loads(json.dumps(one.to_state(), default=revealed))
    del state["picture"]["swapped"]  # as a version before this one wrote it
    assert Recording.from_state(json.loads(json.dumps(state, default=revealed)), random).picture.swapped is False


def spoken(one: Recording, line: int = 1) -> list[tuple[str | None, str | None]]:
    """Tell who was heard in a line, and since when."""
    told: Any = one.call_document(now(9))
    names = [plain(party["name"]) for party in told["parties"]]
    speakers = told["streams"][line]["speakers"]
    assert [each["to"] for each in speakers] == [*(each["from"] for each in speakers[1:]), *([None] * bool(speakers))]
    return [(each["from"], None if each["party"] is None else names[each["party"]]) for each in speakers]


def carol_in_bobs_stream() -> bytes:
    return metadata("Alice", "Carol").decode().replace("p2", "p3").replace("+49302", "+49303").encode()


def test_a_transfer_tells_since_when_the_other_one_is_heard() -> None:
    one = begun("Alice", "Bob")
    assert spoken(one) == []
    again(one, 2, offer(2, "1", "2"), carol_in_bobs_stream())
    at = rfc3339(now(2).wall)
    assert spoken(one) == [(None, "Bob"), (at, "Carol")] and spoken(one, 0) == []
    again(one, 3, offer(3, "1", "2"), carol_in_bobs_stream())
    assert spoken(one) == [(None, "Bob"), (at, "Carol")]
    later = restarted(one)
    again(later, 4, offer(4, "1", "2"), metadata("Alice", "Bob"))
    assert spoken(later) == [(None, "Bob"), (at, "Carol"), (rfc3339(now(4).wall), "Bob")]


def test_metadata_of_a_failed_offer_still_count() -> None:
    one = begun("Alice", "Bob")
    one.handle(offered(2, offer(2, "1", "2", "3"), carol_in_bobs_stream(), 2), now(2))
    one.handle(e.OpenFailed("no-port"), now(2))
    assert spoken(one) == [(None, "Bob"), (rfc3339(now(2).wall), "Carol")]


def test_a_call_of_an_older_version_has_no_speaker_times() -> None:
    one = begun("Alice", "Bob")
    again(one, 2, offer(2, "1", "2"), carol_in_bobs_stream())
    state = one.to_state()
    for stream in state["streams"]:
        del stream["speakers"]
    older = Recording.from_state(json.loads(json.dumps(state, default=revealed)), random)
    assert spoken(older) == []
    again(older, 3, offer(3, "1", "2"), metadata("Alice", "Bob"))
    shown: Any = older.call_document(now(9))
    assert len(shown["streams"][1]["speakers"][0]["party"]) == 2
