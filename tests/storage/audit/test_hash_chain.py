"""Every change of an audit log is found and the first bad entry named."""

from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from storage.access.actor import RECORDER, Actor, Kind
from storage.audit.hash_chain import (
    MAX_FIELD,
    MAX_LINE,
    Act,
    AuditError,
    Checkpoint,
    Head,
    document,
    entry,
    follow,
    origin,
    verify,
)

AT = datetime(2026, 3, 1, 12, 0, 0, 5, tzinfo=UTC)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
PUBLIC = KEY.public_key()


def log(count: int, customer: str = "acme") -> tuple[list[bytes], Checkpoint]:
    head, lines = origin(customer), []
    for i in range(count):
        line, head = entry(head, Act("alice", "admin", "call.view", f"call {i}", reason="because"), AT)
        lines.append(line)
    return lines, Checkpoint.sign(KEY, customer, head, AT)


LINES, MARK = log(8)


def test_an_entry_says_who_it_was_whatever_they_are_called() -> None:
    who = Actor(Kind.OPENID, "https://id.example s-1", "recorder")
    old, head = entry(origin("acme"), Act("recorder", "system", "retention.sweep"), AT)
    new, head = entry(head, Act.of(who, "admin", "call.view", "call 1", reason="because"), AT)
    own, head = entry(head, Act.of(RECORDER, "system", "retention.sweep"), AT)
    assert "actor_kind" not in document(old)
    assert [(document(line)["actor"], document(line)["actor_kind"]) for line in (new, own)] == [
        ("recorder", "openid"),
        ("recorder", "system"),
    ]
    assert document(new)["actor_id"] == "https://id.example s-1"
    mark = Checkpoint.sign(KEY, "acme", head, AT)
    assert verify("acme", [old, new, own], [mark], PUBLIC).good, "a log of before goes on"
    forged = new.replace(b'"openid"', b'"system"')
    assert verify("acme", [old, forged, own], [mark], PUBLIC).bad == 2


@given(st.integers(0, 7), st.data())
def test_any_changed_byte_is_found_at_its_entry(at: int, data: st.DataObject) -> None:
    line = bytearray(LINES[at])
    where = data.draw(st.integers(0, len(line) - 1))
    line[where] ^= data.draw(st.integers(1, 255))
    verdict = verify("acme", [*LINES[:at], bytes(line), *LINES[at + 1 :]], [MARK], PUBLIC)
    assert not verdict.good
    assert verdict.bad == at + 1


@pytest.mark.parametrize("at", range(8))
def test_a_deleted_entry_and_a_cut_tail_are_found(at: int) -> None:
    assert verify("acme", [*LINES[:at], *LINES[at + 1 :]], [MARK], PUBLIC).bad == at + 1
    assert verify("acme", LINES[:at], [MARK], PUBLIC).bad == at + 1


@given(st.permutations(range(8)))
def test_reordering_is_found(order: list[int]) -> None:
    verdict = verify("acme", [LINES[i] for i in order], [MARK], PUBLIC)
    moved = [n for n, i in enumerate(order) if n != i]
    assert verdict.bad == (moved[0] + 1 if moved else None)


def test_a_log_written_anew_is_found_at_its_checkpoint() -> None:
    assert verify("acme", LINES, [MARK], PUBLIC).entries == 8 and verify("acme", LINES, [MARK], PUBLIC).good
    head, lines = origin("acme"), []
    for _ in range(8):
        line, head = entry(head, Act("mallory", "admin", "nothing"), AT)
        lines.append(line)
    assert verify("acme", lines, [], PUBLIC).good
    assert verify("acme", lines, [MARK], PUBLIC).bad == 8
    assert verify("beta", LINES, [], PUBLIC).bad == 1


def test_a_checkpoint_of_another_key_or_customer_proves_nothing() -> None:
    assert Checkpoint.parse(bytes(MARK)) == MARK
    other = Checkpoint.sign(Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32), "acme", MARK.head, AT)
    for wrong in (other, Checkpoint("acme", Head(1, "0" * 64, 5), MARK.at, MARK.signature)):
        assert not verify("acme", LINES, [wrong], PUBLIC).good
    assert not Checkpoint.sign(KEY, "beta", MARK.head, AT).genuine(PUBLIC, "acme")


def test_a_checkpoint_names_the_node_whose_chain_it_is() -> None:
    head = Head(1, MARK.head.hash, MARK.head.size)
    second = Checkpoint.sign(KEY, "acme", head, AT, 2)
    assert b'"node":2,"signature"' in bytes(second) and Checkpoint.parse(bytes(second)) == second
    assert second.genuine(PUBLIC, "acme") and b"node" not in bytes(Checkpoint.sign(KEY, "acme", head, AT))
    for other in (b"", b'"node":3,'):
        assert not Checkpoint.parse(bytes(second).replace(b'"node":2,', other)).genuine(PUBLIC, "acme")


@given(st.binary(max_size=200))
def test_random_bytes_are_no_entry_and_no_checkpoint(data: bytes) -> None:
    after, fault = follow(origin("acme"), data)
    assert after is None and fault
    with pytest.raises(AuditError):
        Checkpoint.parse(data)


@given(st.text(max_size=50), st.text(max_size=50))
def test_any_text_makes_a_line_that_follows(actor: str, reason: str) -> None:
    line, head = entry(origin("acme"), Act(actor, "admin", "x", reason=reason), AT)
    assert line.count(b"\n") == 1
    assert follow(origin("acme"), line) == (head, "")
    assert document(line)["actor"] == actor


def test_a_long_field_is_cut_and_the_line_stays_short() -> None:
    line, _ = entry(origin("acme"), Act("a" * 99999, "r", "x", reason="ä" * 99999), AT)
    assert document(line)["reason"] == "ä" * MAX_FIELD
    assert len(line) <= MAX_LINE
