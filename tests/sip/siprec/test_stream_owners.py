from collections.abc import Sequence

import pytest

from sip.siprec.media_streams import MediaStream
from sip.siprec.stream_owners import Owner, OwnerFacts, assign


def track(
    label: str | None,
    owners: tuple[int, ...] = (),
    rule: int = 0,
    *,
    live: bool = False,
    current: bool = True,
    mixed: bool = False,
) -> MediaStream:
    made = MediaStream(f"id-{label}", label, mixed)
    made.owners, made.rule, made.live, made.current = owners, rule, live, current
    return made


def scene(
    *streams: MediaStream,
    present: Sequence[int] = (0, 1),
    dangling: Sequence[int] = (),
    lines: dict[int, tuple[tuple[int, ...], tuple[int, ...]]] | None = None,
) -> OwnerFacts:
    return OwnerFacts(streams, present, frozenset(dangling), lines or {})


ONE, TWO = track("1", (0,), 1, live=True), track("2", (1,), 2, live=True)
EARLIER = track("1", (1,), 1, current=False)
UNKNOWN = Owner()


@pytest.mark.parametrize(
    ("labels", "facts", "owners"),
    [
        pytest.param(["2", "1"], scene(ONE, TWO), (Owner((1,), False, 2), Owner((0,), False, 1)), id="1 and 2: stated"),
        pytest.param(["1"], scene(track("1", (1,), 1)), (Owner((1,), False, 3),), id="3: held, the last owner"),
        pytest.param(
            ["1"], scene(EARLIER, track("1"), present=(0, 1, 2)), (Owner((1,), False, 3),), id="3: of an earlier stream"
        ),
        pytest.param(["1"], scene(EARLIER, track("1"), present=(0,)), (Owner((0,), True, 4),), id="3: only if present"),
        pytest.param(
            ["1", "2", "3"], scene(ONE, track("2"), track("3")),
            (Owner((0,), False, 1), Owner((1,), True, 4), Owner((1,), True, 4)), id="4: the only one without stream",
        ),
        pytest.param(
            ["1"], scene(track("1"), present=(0, 1, 2), dangling=(2,)), (Owner((2,), True, 5),),
            id="5: the only one whose stream is not there",
        ),
        pytest.param(
            ["1", "2"], scene(track("1"), track("2")), (Owner((0,), True, 6), Owner((1,), True, 6)),
            id="6: as many people as streams",
        ),
        pytest.param(
            ["1", "2"], scene(track("1"), track("2"), present=(0, 1, 2)), (UNKNOWN, UNKNOWN), id="6: more people"
        ),
        pytest.param(["1"], scene(track("1", mixed=True)), (Owner((0, 1), True, 6),), id="6: one mixed stream"),
        pytest.param(
            [None, None], scene(lines={0: ((1,), (1,)), 1: ((0,), (0,))}),
            (Owner((1,), False, 7), Owner((0,), False, 7)), id="7: what a header says of the line",
        ),
        pytest.param(
            [None, None], scene(present=(0, 2), lines={0: ((0, 2), (0, 1, 2))}),
            (Owner((0, 2), False, 7, (1,)), UNKNOWN), id="7: and who spoke before",
        ),
        pytest.param(["1"], scene(), (UNKNOWN,), id="nothing is known"),
        pytest.param(["1", "1"], scene(ONE, TWO), (Owner((0,), True, 1), Owner((1,), True, 2)), id="doubled labels"),
        pytest.param(
            ["1", "9"], scene(track("9", (1,), 1, current=False), ONE),
            (Owner((0,), False, 1), Owner((1,), False, 3)), id="a line keeps the owner of a stream that ended",
        ),
        pytest.param(
            ["1"], scene(ONE, track("1", (1,), 1, live=True)), (Owner((0, 1), False, 1),), id="two streams of one label"
        ),
    ],
)  # fmt: skip
def test_each_rule_names_the_owners_of_lines(
    labels: list[str | None], facts: OwnerFacts, owners: tuple[Owner, ...]
) -> None:
    """Duties R10, R28."""
    assert assign(labels, facts) == owners


def test_metadata_supply_missing_labels_r16():
    two = scene(track("7", (0,), 1, live=True), track("8", (1,), 1, live=True))
    assert [owner.label for owner in assign([None, "7", None], two)] == ["8", "7", None]


@pytest.mark.parametrize("labels", [[None, None], ["5", "6"], [None, "2"]])
def test_missing_or_foreign_labels_are_paired_by_order(labels):
    """Duty R10."""
    found = assign(labels, scene(track("1", (1,), 1, live=True), track("2", (0,), 1, live=True)))
    assert [owner.parties for owner in found] == [(1,), (0,)]
    assert found[0].inferred
    assert found[1].inferred is (labels[1] != "2")


def test_owners_as_the_outside_sees_them():
    assert [Owner().party, Owner((3,)).party, Owner((0, 2)).party] == [None, 3, [0, 2]]


def test_who_was_heard_in_a_line_before():
    same, older, newer = track("1", (1,), 1, live=True), track("2", (1,), current=False), track("2", (2,), 1, live=True)
    same.heard, older.heard, newer.heard = (0, 1), (1,), (2,)
    found = assign(["1", "2", None], scene(same, older, newer))
    assert [(owner.parties, owner.earlier) for owner in found] == [((1,), (0,)), ((2,), (1,)), ((), ())]
