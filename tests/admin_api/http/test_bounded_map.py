"""A map of limited size forgets what was used longest ago."""

from admin_api.http.bounded_map import BoundedMap


def test_the_entry_written_longest_ago_goes_first() -> None:
    kept: BoundedMap[str, int] = BoundedMap(2)
    kept["a"], kept["b"] = 1, 2
    kept["a"] = 3
    kept["c"] = 4
    assert dict(kept) == {"a": 3, "c": 4}


def test_a_touched_entry_stays() -> None:
    kept: BoundedMap[str, int] = BoundedMap(2)
    kept["a"], kept["b"] = 1, 2
    kept.move_to_end("a")
    kept["c"] = 3
    assert list(kept) == ["a", "c"] and kept.pop("a") == 1 and kept.get("b") is None
