"""Lines and acknowledgements are what docs/formats/cuts.md says, and nobody without the keys can write one."""

import hashlib
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.cuts.holder_steps import (
    Apply,
    Held,
    Table,
    acknowledged_by_all,
    appended,
    may_overwrite,
    next_step,
    remaining_holders,
)
from storage.cuts.lines import BEGIN, ChainKeys, CutsForged, Kind, Line, Numbered
from storage.keys.cut_log import Entry, Ledger
from storage.keys.key_tree import LAST_LEAF, KeyTree, label

PAGE = (Path(__file__).parents[3] / "docs/formats/cuts.md").read_text()
VECTORS = dict(re.findall(r"^\| (.+?) \| `([0-9a-f]+)` \|$", PAGE, re.M))
LINES = [line.encode() for line in re.search(r"```json\n(.*?)\n```", PAGE, re.S)[1].splitlines()]  # type: ignore[index]
TREE = KeyTree.new(bytes(range(32)))
KEYS = ChainKeys.of(lambda name: label(TREE.derive(LAST_LEAF), name))
NODE = st.from_regex(r"[a-z0-9-]{1,40}", fullmatch=True)
LINE = st.one_of(
    st.builds(Line, st.from_regex(r"[0-9a-f]{32}", fullmatch=True), st.just(Kind.CUT), text=st.text(max_size=50)),
    st.builds(Line, st.from_regex(r"[0-9a-f]{32}", fullmatch=True), st.sampled_from(list(Kind)[1:]), NODE),
)


def table(*lines: Line) -> Table:
    found = Table()
    for line in lines:
        found = replace(found, lines=(*found.lines, appended(found, line, KEYS)))
    return found


def line(id: int, kind: Kind, node: str = "", text: str = "") -> Line:
    return Line(f"{id:032x}", kind, node, text)


def test_the_documented_lines_are_genuine() -> None:
    chain = BEGIN
    for n, data in enumerate(LINES, 1):
        read = Line.parse(data)
        assert bytes(read) == data
        chain = KEYS.link(chain, read)
        assert chain.hex() == VECTORS[f"chain at {n}"]
    assert json.loads(Line.parse(LINES[1]).text)["customer"] == "acme"
    assert (KEYS.chain.hex(), KEYS.acknowledgement.hex()) == (VECTORS["chain key"], VECTORS["acknowledgement key"])
    tree = KEYS.tree(b"state")
    assert tree.hex() == VECTORS["MAC of the tree, state `state`"]
    assert KEYS.acknowledge("rec1", 2, chain, tree).mac.hex() == VECTORS["MAC of the acknowledgement of rec1 at 2"]


def test_a_holder_writes_the_documented_line_of_a_cut_log(tmp_path: Path) -> None:
    at = datetime(2026, 2, 2, 9, 30, tzinfo=UTC)
    second = Numbered(2, bytes.fromhex(VECTORS["chain at 2"]), Line.parse(LINES[1]))
    first = Numbered(1, bytes.fromhex(VECTORS["chain at 1"]), Line.parse(LINES[0]))
    ledger = Ledger(tmp_path, "acme")
    ledger.append(Entry((), at, (7,)))  # of before there were several
    assert [ledger.follow(first, at), ledger.follow(second, at), ledger.follow(second, at)] == [True, True, False]
    written = (tmp_path / "acme.erasures").read_bytes().splitlines()
    assert len(written) == 3 and written[2].decode() in PAGE
    assert ledger.followed() == ((first, second), ledger.size)
    assert [entry.leaves for entry in ledger.entries()] == [(7,), (), (0xFFFE00000003,)]


@given(LINE)
def test_a_line_comes_back_as_it_was_written(line: Line) -> None:
    assert Line.parse(bytes(line)) == line


@given(st.one_of(st.binary(max_size=200), LINE.flatmap(lambda one: st.just(bytes(one) + b" "))))
def test_anything_else_is_no_line(data: bytes) -> None:
    with pytest.raises(CutsForged):
        Line.parse(data)


@pytest.mark.parametrize("member", ["id", "kind", "node", "text"])
@pytest.mark.parametrize("value", [None, 7, [], {}, "A"])
def test_a_member_of_another_kind_is_no_line(member: str, value: object) -> None:
    given = {**json.loads(LINES[0]), member: value}
    with pytest.raises(CutsForged):
        Line.parse(json.dumps(given, separators=(",", ":")).encode())


def test_a_line_forged_in_the_database_is_not_applied() -> None:
    ours = table(line(1, Kind.ADMIT, "a"), line(2, Kind.CUT, text="7"))
    other = line(3, Kind.CUT, text="8")
    for chain in (ours.lines[-1].chain, bytes(32), hashlib.sha256(bytes(other)).digest()):
        forged = Table((*ours.lines, Numbered(3, chain, other)))
        with pytest.raises(CutsForged):
            next_step(Held("a", ours.lines), forged, KEYS)
    assert next_step(Held("a", ours.lines), table(*(each.line for each in ours.lines), other), KEYS) == Apply(
        appended(ours, other, KEYS)
    )


def test_only_the_holders_own_acknowledgement_of_a_chain_counts() -> None:
    ours = table(line(1, Kind.ADMIT, "a"), line(2, Kind.ADMIT, "b"), line(3, Kind.CUT, text="7"))
    fork = table(line(1, Kind.ADMIT, "a"), line(2, Kind.ADMIT, "b"), line(4, Kind.CUT, text="7"))
    same = KEYS.tree(b"tree")
    a, b = (KEYS.acknowledge(name, 3, ours.chain(3), same) for name in "ab")
    wrong = [
        {"a": a},
        {"a": a, "b": replace(a, node="b")},
        {"a": a, "b": replace(b, n=4)},
        {"a": a, "b": KEYS.acknowledge("b", 2, ours.chain(2), same)},
        {"a": a, "b": KEYS.acknowledge("b", 3, fork.chain(3), same)},
        {"a": a, "b": KEYS.acknowledge("b", 3, ours.chain(3), KEYS.tree(b"other"))},
        {"a": a, "b": ChainKeys(b"x", b"y").acknowledge("b", 3, ours.chain(3), same)},
    ]
    for known in wrong:
        assert not acknowledged_by_all(replace(ours, acknowledged=known), 3, KEYS)
    assert acknowledged_by_all(replace(ours, acknowledged={"a": a, "b": b}), 3, KEYS)


def test_the_last_holder_is_not_retired_and_overwrites_nothing() -> None:
    ours = table(line(1, Kind.ADMIT, "a"), line(2, Kind.ADMIT, "b"), line(3, Kind.RETIRE, "b"))
    last = appended(ours, line(4, Kind.RETIRE, "a"), KEYS)
    assert last.line.kind is Kind.VOID and remaining_holders(each.line for each in ours.lines) == {"a"}
    told = {"a": KEYS.acknowledge("a", 3, ours.chain(3), KEYS.tree(b""))}
    knows = Held("b", ours.lines)
    assert not may_overwrite(knows, ours, KEYS)
    assert may_overwrite(knows, replace(ours, acknowledged=told), KEYS)
    assert not may_overwrite(Held("a", ours.lines), replace(ours, acknowledged=told), KEYS)
    alone = Held("b", (*ours.lines, Numbered(4, b"", line(9, Kind.RETIRE, "a"))))  # a fork in which b was the last
    assert not may_overwrite(alone, replace(ours, acknowledged=told), KEYS)
