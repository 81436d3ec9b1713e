"""Columns show what they say, and of other people nothing unless they are named."""

import pytest

from admin_api.exports import columns
from admin_api.exports.columns import COLUMNS, About, named, usual, values

CALL = {
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


def shown(*names: str, subject: tuple[int, ...] = (0,)) -> list[object]:
    return values(named(names), CALL, subject)


def test_values_of_a_call() -> None:
    assert shown("id", "duration", "hold", "ended_at") == ["i", "1:02:03", False, None]
    assert shown("media", "codec", "packets", "lost", "gap_ms", "mos") == [["audio", "video"], "PCMA", 35, 3, 60, 3.9]


def test_the_subject_and_the_others() -> None:
    assert shown("party_name", "party_number", "party_left_at") == ["Ada", "+491", None]
    assert shown("other_name", "other_number") == [["Bodo", "Cleo"], "+492"]
    assert shown("party_name", "other_uri", subject=(1, 2)) == [["Bodo", "Cleo"], "sip:a@x"]
    assert shown("party_name", subject=()) == [None]


def test_roles() -> None:
    assert shown("caller_name", "callee_name", "answered_name") == ["Ada", ["Bodo", "Cleo"], None]


def test_the_order_is_the_one_asked_for() -> None:
    assert shown("state", "id") == ["complete", "i"]
    with pytest.raises(KeyError):
        named(["id", "password"])


@pytest.mark.parametrize("by_party", [True, False])
def test_the_default_columns_show_no_other_person(by_party: bool) -> None:
    found = named(usual(by_party))
    assert not [column.name for column in found if column.about is About.OTHERS]
    assert ("party_name" in usual(by_party)) == by_party
    assert not {"Bodo", "Cleo", "+492"} & {str(value) for value in values(found, CALL, (0,))}


def test_a_call_of_which_nothing_is_known_fills_every_column() -> None:
    for column in COLUMNS.values():
        column.read({}, ())


def test_names_are_what_they_stand_under() -> None:
    assert all(column.name == name and column.means for name, column in COLUMNS.items())
    assert len(COLUMNS) <= columns.MAX_COLUMNS
