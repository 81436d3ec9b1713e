"""Counters of a stream: a mapping under the names of the contract."""

import json

import pytest

from recorder.tally import Tally
from recorder.wire import Counts

COUNTS = Counts(0, packets=7, lost=1, duplicates=2, rejected=3, foreign=4, late=5, gap_ms=20, size=1120, last_arrival=9)


def test_it_reads_like_the_figures_of_a_worker() -> None:
    tally = Tally(COUNTS)
    assert dict(tally) == {
        "packets": 7, "lost": 1, "duplicates": 2, "rejected": 3, "foreign": 4, "late": 5, "gap_ms": 20,
    }  # fmt: skip
    assert json.loads(json.dumps(dict(tally)))["packets"] == 7
    assert tally.get("mos") is None and len(tally) == 7
    assert {**{"mos": 4.4, "packets": 1}, **tally}["packets"] == 7


def test_other_names_are_not_in_it() -> None:
    with pytest.raises(KeyError):
        Tally(COUNTS)["size"]
