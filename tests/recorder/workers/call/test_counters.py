"""Counters of a stream: a mapping under the names of the contract."""

import json

import pytest

from recorder.workers.counters import Growth, Tally, growth
from recorder.workers.messages import Counts

COUNTS = Counts(0, packets=7, lost=1, duplicates=2, rejected=3, foreign=4, late=5, gap_ms=20, size=1120, last_arrival=9)


def test_it_reads_like_the_figures_of_a_worker() -> None:
    tally = Tally(COUNTS)
    with pytest.raises(KeyError):
        tally["size"]
    assert dict(tally) == {
        "packets": 7, "lost": 1, "duplicates": 2, "rejected": 3, "foreign": 4, "late": 5, "gap_ms": 20,
    }  # fmt: skip
    assert json.loads(json.dumps(dict(tally)))["packets"] == 7
    assert tally.get("mos") is None and len(tally) == 7
    assert {**{"mos": 4.4, "packets": 1}, **tally}["packets"] == 7


def test_growth_is_equal_from_counters_and_figures() -> None:
    later = COUNTS._replace(packets=17, gap_ms=60, foreign=3, size=5_000)
    new = Growth(packets=10, lost=0, duplicates=0, rejected=0, foreign=-1, late=0, gap_ms=40)
    for before in (Tally(COUNTS), dict(Tally(COUNTS))):
        for fresh in (Tally(later), {**Tally(later), "mos": 4.4}):
            assert growth(before, fresh) == new
    assert growth({}, Tally(COUNTS))._asdict() == dict(Tally(COUNTS))
