from __future__ import annotations

from collections.abc import Sequence

import pytest

from sip.siprec.media_streams import Track
from sip.siprec.stream_owners import Owner, OwnerFacts, assign


def track(
    label: str | None,
    owners: tuple[int, ...] = (),
    rule: int = 0,
    *,
    live: bool = False,
    current: bool = True,
    mixed: bool = False,
) -> Track:
    made = Track(f"id-{label}", label, mixed)
    made.owners, made.rule, made.live, made.current = owners, rule, live, current
    return made


def scene(
    *tracks: Track,
    present: Sequence[int] = (0, 1),
    dangling: Sequence[int] = (),
    lines: dict[int, tuple[int, ...]] | None = None,
) -> OwnerFacts:
    return OwnerFacts(tracks, present, frozenset(dangling), lines or {})


def test_rules_1_and_2_are_what_the_client_said():
    assert assign(["2", "1"], scene(track("1", (0,), 1, live=True), track("2", (1,), 2, live=True))) == (
        Owner((1,), False, 2),
        Owner((0,), False, 1),
    )


def test_metadata_supply_missing_labels_r16():
    two = scene(track("7", (0,), 1, live=True), track("8", (1,), 1, live=True))
    assert [owner.label for owner in assign([None, "7", None], two)] == ["8", "7", None]


def test_rule_3_names_the_last_owner_of_a_held_stream():
    assert assign(["1"], scene(track("1", (1,), 1))) == (Owner((1,), False, 3),)


def test_rule_3_names_the_owner_of_an_earlier_stream():
    earlier = track("1", (1,), 1, current=False)
    assert assign(["1"], scene(earlier, track("1"), present=(0, 1, 2)))[0] == Owner((1,), False, 3)
    assert assign(["1"], scene(earlier, track("1"), present=(0,)))[0] == Owner((0,), True, 4)


def test_rule_4_the_only_participant_without_stream():
    found = assign(["1", "2", "3"], scene(track("1", (0,), 1, live=True), track("2"), track("3")))
    assert found[1:] == (Owner((1,), True, 4), Owner((1,), True, 4))


def test_rule_5_the_only_participant_whose_stream_is_not_there():
    assert assign(["1"], scene(track("1"), present=(0, 1, 2), dangling=(2,))) == (Owner((2,), True, 5),)


def test_rule_6_as_many_participants_as_streams():
    assert assign(["1", "2"], scene(track("1"), track("2"))) == (Owner((0,), True, 6), Owner((1,), True, 6))
    assert assign(["1", "2"], scene(track("1"), track("2"), present=(0, 1, 2))) == (Owner(), Owner())


def test_a_single_mixed_stream_without_senders_is_everybodys():
    """Duty R28."""
    assert assign(["1"], scene(track("1", mixed=True))) == (Owner((0, 1), True, 6),)


def test_rule_7_what_a_header_says_of_the_line():
    assert assign([None, None], scene(lines={0: ((1,), (1,)), 1: ((0,), (0,))})) == (
        Owner((1,), False, 7),
        Owner((0,), False, 7),
    )


def test_rule_7_names_earlier_speakers_of_a_line():
    found = assign([None, None], scene(present=(0, 2), lines={0: ((0, 2), (0, 1, 2))}))
    assert found == (Owner((0, 2), False, 7, (1,)), Owner())


def test_nothing_known_is_said_to_be_unknown():
    assert assign(["1"], scene()) == (Owner((), False, 0),)


@pytest.mark.parametrize("labels", [[None, None], ["5", "6"], [None, "2"]])
def test_missing_or_foreign_labels_are_paired_by_order(labels):
    """Duty R10."""
    found = assign(labels, scene(track("1", (1,), 1, live=True), track("2", (0,), 1, live=True)))
    assert [owner.parties for owner in found] == [(1,), (0,)]
    assert found[0].inferred
    assert found[1].inferred is (labels[1] != "2")


def test_doubled_labels_are_paired_by_order_and_marked():
    """Duty R10."""
    found = assign(["1", "1"], scene(track("1", (1,), 1, live=True), track("2", (0,), 1, live=True)))
    assert found == (Owner((1,), True, 1), Owner((0,), True, 1))


def test_a_line_keeps_the_owner_of_a_stream_that_ended():
    found = assign(["1", "9"], scene(track("9", (1,), 1, current=False), track("1", (0,), 1, live=True)))
    assert found == (Owner((0,), False, 1), Owner((1,), False, 3))


def test_two_streams_of_one_label_are_one_mixed_line():
    assert assign(["1"], scene(track("1", (0,), 1, live=True), track("1", (1,), 1, live=True)))[0].parties == (0, 1)


def test_owners_as_the_outside_sees_them():
    assert [Owner().party, Owner((3,)).party, Owner((0, 2)).party] == [None, 3, [0, 2]]


def test_who_was_heard_in_a_line_before():
    same, older, newer = track("1", (1,), 1, live=True), track("2", (1,), current=False), track("2", (2,), 1, live=True)
    same.heard, older.heard, newer.heard = (0, 1), (1,), (2,)
    found = assign(["1", "2", None], scene(same, older, newer))
    assert [(owner.parties, owner.earlier) for owner in found] == [((1,), (0,)), ((2,), (1,)), ((), ())]
