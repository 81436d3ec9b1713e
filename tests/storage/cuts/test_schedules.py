"""Whatever happens to nodes and databases, in any order: what was reported erased opens nowhere, and all ends well."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from storage.cuts import holder_steps as core
from storage.cuts.holder_steps import Acknowledge, BringBack, Held, Step, Table
from storage.cuts.lines import ChainKeys, Kind, Line, Numbered
from tests.storage.cuts.world import SEEDS, STORIES, run, schedule, search, story

SCHEDULES = int(os.environ.get("CUTS_SCHEDULES", "100"))
LONG = 10_000
FIND = 1500
"""Schedules in which each mistake must be found."""


@pytest.mark.parametrize("name", STORIES)
def test_what_chance_finds_rarely_ends_well(name: str) -> None:
    assert run(story(name), 3)[0] == ""


@pytest.mark.parametrize("seed", SEEDS)
def test_what_once_broke_ends_well(seed: int) -> None:
    assert run(schedule(seed), 1 + seed % 4 if seed % 4 < 3 else 3)[0] == ""


def test_random_schedules_end_well() -> None:
    assert search(range(1, SCHEDULES + 1)) == ("", None)


@pytest.mark.torture
@pytest.mark.parametrize("tenth", range(10))
def test_ten_thousand_random_schedules_end_well(tenth: int) -> None:
    first = 100_000 + tenth * LONG // 10
    assert search(range(first, first + LONG // 10)) == ("", None)


# --- every rule is needed: what goes wrong without it ---

AROUND = (
    "silent returns",
    "older keys return",
    "settled before it is acknowledged",
    "log before cut",
    "uploads end before it is acknowledged",
    "days wait for the index",
    "objects are removed twice",
    "identity overwritten",
    "retired overwrites",
    "behind is silent",
)
"""Rules of what is around the core."""


@pytest.mark.torture
@pytest.mark.parametrize("rule", AROUND)
def test_each_rule_around_the_core_is_needed(rule: str) -> None:
    """Without it, something that was erased opens or stays."""
    assert search(range(1, FIND), rule)[0]


def acknowledged_without_chain(table: Table, name: str, n: int, keys: ChainKeys) -> bool:
    given = (table.acknowledged or {}).get(name)
    return given is not None and given.n >= n and keys.genuine(given)


def numbers_alone(log: tuple[Numbered, ...], table: Table) -> int:
    return min(max(core.followed_lines(log), default=0), table.head)


def nothing_missing(log: tuple[Numbered, ...], table: Table) -> tuple[Line, ...]:
    return ()


def one_is_enough(table: Table, n: int, keys: ChainKeys) -> bool:
    holders = core.remaining_holders(each.line for each in table.lines)
    return len(core.missing_holders(table, n, keys)) < len(holders)


def acknowledged_before_own_lines(held: Held, table: Table, keys: ChainKeys) -> Step:
    step = _next_step(held, table, keys)
    last = core.last_common(held.log, table)
    given = (table.acknowledged or {}).get(held.name)
    if isinstance(step, BringBack) and (given is None or given.n < last):
        return Acknowledge(last, table.chain(last), returned=False)
    return step


def trees_not_compared(table: Table, n: int, keys: ChainKeys) -> bool:
    return bool(core.remaining_holders(each.line for each in table.lines)) and not core.missing_holders(table, n, keys)


def the_file_before_all_know(table: Table, name: str, keys: ChainKeys) -> bool:
    return name in core.remaining_holders(each.line for each in table.lines)


def the_last_is_retired(table: Table, line: Line, keys: ChainKeys) -> Numbered:
    return Numbered(table.head + 1, keys.link(table.chain(table.head), line), line)


def overwritten_at_once(held: Held, table: Table, keys: ChainKeys) -> bool:
    return any(each.line.kind is Kind.RETIRE and each.line.node == held.name for each in table.lines)


_next_step = core.next_step
MISTAKES: dict[str, dict[str, Callable[..., object]]] = {
    "nobody compares chains": {
        "_counts": acknowledged_without_chain,
        "last_common": numbers_alone,
        "lost_lines": nothing_missing,
    },
    "done when one holder has cut": {"acknowledged_by_all": one_is_enough},
    "acknowledged before the own lines are back": {
        "next_step": acknowledged_before_own_lines,
        "acknowledged_by_all": trees_not_compared,
    },
    "the file is made before all others know": {"may_hand_over": the_file_before_all_know},
    "the last holder is retired": {"appended": the_last_is_retired},
    "a retired holder overwrites at once": {"may_overwrite": overwritten_at_once},
}


@pytest.mark.torture
def test_a_line_that_counts_as_back_before_it_was_read_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    written: set[str] = set()
    lost_lines = core.lost_lines

    def next_step(held: Held, table: Table, keys: ChainKeys) -> Step:
        step = _next_step(held, table, keys)
        if isinstance(step, BringBack):
            written.add(step.line.id)
        return step

    def without(log: tuple[Numbered, ...], table: Table) -> tuple[Line, ...]:
        return tuple(line for line in lost_lines(log, table) if line.id not in written)

    monkeypatch.setattr(core, "next_step", next_step)
    monkeypatch.setattr(core, "lost_lines", without)
    for seed in range(1, FIND):
        written.clear()
        if run(schedule(seed), 3)[0]:
            return
    pytest.fail("nobody noticed")


@pytest.mark.torture
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_core_is_found(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, broken in MISTAKES[mistake].items():
        monkeypatch.setattr(core, name, broken)
    assert search(range(1, FIND))[0]
