"""The ledger keeps every cut, survives a torn line, and joins neighbours."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.keys.cut_log import Entry, Ledger, LedgerDamaged, Request, spans

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
ASKED = Request("e1", "request", "paula", AT, "anton", AT, ("c1", "c2"), (7, 8))
ONE = Entry((ASKED,), AT, (7, 8, 9, 20), (20513,))
TWO = Entry((Request("e2", "retention:r7", "recorder", AT, leaves=(9,)), Request("e3", "request", "paula", AT)), AT, ())
OLD = b'{"at":"2026-03-01T12:00:00.000000Z","erasures":["e1"],"leaves":["000000000007"],"days":[],"calls":["c1"]}\n'
OLD_OF_TWO = OLD.replace(b'["e1"]', b'["e1","e2"]')


def test_entries_come_back_in_order(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, "acme")
    assert ledger.last() is None and list(ledger.entries()) == []
    ledger.append(ONE)
    ledger.append(TWO)
    again = Ledger(tmp_path, "acme")
    assert list(again.entries()) == [ONE, TWO] and again.last() == TWO
    assert list(again.newest_first()) == [TWO, ONE]
    assert b"000000000007-000000000009" in (tmp_path / "acme.erasures").read_bytes()


def test_lines_of_the_first_version_are_still_read(tmp_path: Path) -> None:
    (tmp_path / "acme.erasures").write_bytes(OLD + OLD_OF_TWO)
    one, two = Ledger(tmp_path, "acme").entries()
    assert one == Entry((Request("e1", "request", "recorder", AT, calls=("c1",)),), AT, (7,))
    assert two.ids == ("e1", "e2") and not any(request.calls for request in two.erasures)


OTHERS = [b"[7]", b"[{}]", b"7", b'[{"id":"e","cause":"request","by":"x","at":"now"}]']


@pytest.mark.parametrize("line", [*(OLD.replace(b'["e1"]', other) for other in OTHERS), b'{"at":1}\n'])
def test_a_line_of_something_else_is_damaged(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "acme.erasures").write_bytes(line)
    with pytest.raises(LedgerDamaged):
        Ledger(tmp_path, "acme").last()


def test_space_is_owned_before_the_first_line(tmp_path: Path) -> None:
    Ledger(tmp_path, "acme").prepare()
    status = (tmp_path / "acme.erasures").stat()
    assert status.st_size == 0 and status.st_mode & 0o777 == 0o600


@given(st.sets(st.integers(0, 300)))
def test_spans_hold_exactly_the_leaves(leaves: set[int]) -> None:
    found = [leaf for first, last in spans(leaves) for leaf in range(first, last + 1)]
    assert found == sorted(leaves)
