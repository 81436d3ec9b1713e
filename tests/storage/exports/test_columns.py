"""Columns show what they say, and of other people nothing unless they are named."""

from typing import Any

import pytest

from storage.exports import columns
from storage.exports.columns import COLUMNS, About, named, usual, values

CALL: Any = {
    "id": "i",
    "state": "complete",
    "started_at": "2026-01-15T09:30:00.000Z",
    "duration_ms": 3_723_999,
    "hold": False,
    "parties": [
        {"role": "caller", "name": "Ada", "number": "+491", "uri": "sip:a@x", "joined_at": "t1", "left_at": None},
        {"role": "callee", "name": "Bodo", "number": "+492", "uri": "sip:b@x"},
        {"role": "callee", "name": "Cleo", "number": None, "uri": "sip:c@x"},
    ],
    "streams": [
        {"media": "audio", "codec": "PCMA", "packets": 10, "lost": 1, "gap_ms": 20, "mos": 4.4},
        {"media": "audio", "codec": "PCMA", "packets": 20, "lost": 2, "gap_ms": 60, "mos": 3.9},
        {"media": "video", "codec": None, "packets": 5, "lost": 0, "gap_ms": 0, "mos": None},
    ],
}


@pytest.mark.parametrize(
    ("names", "subject", "expected"),
    [
        ("id duration hold ended_at", (0,), ["i", "1:02:03", False, None]),
        ("state id", (0,), ["complete", "i"]),
        ("media codec packets lost gap_ms mos", (0,), [["audio", "video"], "PCMA", 35, 3, 60, 3.9]),
        ("party_name party_number party_left_at", (0,), ["Ada", "+491", None]),
        ("other_name other_number", (0,), [["Bodo", "Cleo"], "+492"]),
        ("party_name other_uri", (1, 2), [["Bodo", "Cleo"], "sip:a@x"]),
        ("party_name", (), [None]),
        ("caller_name callee_name answered_name", (0,), ["Ada", ["Bodo", "Cleo"], None]),
    ],
)
def test_columns_of_a_call_in_the_order_asked_for(names: str, subject: tuple[int, ...], expected: list[object]) -> None:
    assert values(named(names.split()), CALL, subject) == expected


@pytest.mark.parametrize("by_party", [True, False])
def test_the_default_columns_show_no_other_person(by_party: bool) -> None:
    found = named(usual(by_party))
    assert not [column.name for column in found if column.about is About.OTHERS]
    assert ("party_name" in usual(by_party)) == by_party
    assert not {"Bodo", "Cleo", "+492"} & {str(value) for value in values(found, CALL, (0,))}


def test_every_column_has_a_name_and_reads_an_empty_call() -> None:
    for name, column in COLUMNS.items():
        assert column.name == name and column.means
        column.read({}, ())
    assert len(COLUMNS) <= columns.MAX_COLUMNS
    with pytest.raises(KeyError):
        named(["id", "password"])
