"""Old checkpoints go where later ones prove the same; what somebody did to the log is found as before."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import product
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from storage.audit import checkpoint_thinning
from storage.audit.audit_files import AuditFiles, marks_of
from storage.audit.audit_log import Audit
from storage.audit.checkpoint_thinning import thin
from storage.audit.hash_chain import Act, Checkpoint, entry, origin
from storage.errors import DiskFailed

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
NOW = datetime(2026, 6, 1, tzinfo=UTC)
AGES = (92, 91, 90, 45, 3, 2, 1)
"""Days before NOW with an entry every half hour; two keep one checkpoint, three keep 24, two keep all."""


@cache
def written() -> tuple[list[bytes], list[bytes]]:
    head, lines, marks = origin("acme"), list[bytes](), list[bytes]()
    for age, half in product(AGES, range(48)):
        at = NOW - timedelta(days=age) + timedelta(minutes=30 * half)
        line, head = entry(head, Act("ada", "admin", "call.view", f"call {len(lines)}"), at)
        lines.append(line)
        marks.append(bytes(Checkpoint.sign(KEY, "acme", head, at)))
    return lines, marks


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AuditFiles:
    """The log of those days, and a checkpoint for each entry."""
    monkeypatch.setattr(checkpoint_thinning, "LEAST", 0)
    lines, marks = written()
    made = AuditFiles(tmp_path, tmp_path, "acme")
    made.log.write_bytes(b"".join(lines))
    made.marks.write_bytes(b"".join(marks))
    made.put_mark(Checkpoint.parse(marks[-1]))
    return made


def thinned(files: AuditFiles) -> int:
    return thin(files, KEY.public_key(), "acme", NOW)


def test_old_checkpoints_are_thinned_to_hours_and_days(files: AuditFiles) -> None:
    left = []
    for mark in marks_of(files.marks):
        at = datetime.fromisoformat(mark.at)
        age = (NOW.date() - at.date()).days
        if age <= 2 or (at.minute == 30 and (age <= 90 or at.hour == 23)):
            left.append(mark)
    assert thinned(files) == 2 * 47 + 3 * 24
    assert marks_of(files.marks) == left
    assert thinned(files) == 0
    assert files.verify(KEY.public_key()).entries == 48 * len(AGES)


def cut(files: AuditFiles) -> None:
    """Cut the last entries off and forge no signature: the newest checkpoint beside the keys goes too."""
    lines = files.log.read_bytes().splitlines(keepends=True)
    files.log.write_bytes(b"".join(lines[:-10]))
    files.newest.write_bytes(b"")
    files.put_mark(marks_of(files.marks)[-11])


def edited(files: AuditFiles) -> None:
    files.log.write_bytes(files.log.read_bytes().replace(b"call 200", b"call 201", 1))


def rewritten(files: AuditFiles) -> None:
    """Write the log anew from its middle on, every hash fitting."""
    lines, head, made = files.log.read_bytes().splitlines(keepends=True), origin("acme"), list[bytes]()
    for number, line in enumerate(lines):
        actor = "eve" if number == 200 else "ada"
        at = datetime.fromisoformat(json.loads(line)["time"])
        fresh, head = entry(head, Act(actor, "admin", "call.view", f"call {number}"), at)
        made.append(fresh)
    files.log.write_bytes(b"".join(made))


@pytest.mark.parametrize("harm", [cut, edited, rewritten])
def test_tampering_is_found_after_thinning(files: AuditFiles, harm: Callable[[AuditFiles], None]) -> None:
    assert thinned(files) > 0
    harm(files)
    assert not files.verify(KEY.public_key()).good


FOREIGN = bytes(Checkpoint.sign(Ed25519PrivateKey.generate(), "acme", origin("acme"), NOW))


@pytest.mark.parametrize("wrong", [None, b"nonsense\n", FOREIGN])
def test_beside_a_wrong_log_or_checkpoint_all_stay(files: AuditFiles, wrong: bytes | None) -> None:
    if wrong is None:
        rewritten(files)
    else:
        files.marks.write_bytes(files.marks.read_bytes() + wrong)
    before = files.marks.read_bytes()
    assert thinned(files) == 0 and files.marks.read_bytes() == before


def test_a_small_a_missing_and_an_unreadable_file(files: AuditFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_thinning, "LEAST", 1 << 30)
    assert thinned(files) == 0
    files.marks.unlink()
    assert thinned(files) == 0
    with pytest.raises(DiskFailed, match="could not thin the checkpoints of the audit log: ENAMETOOLONG"):
        thinned(AuditFiles(files.log.parent / ("x" * 256), files.log.parent, "acme"))


def test_a_thinned_file_is_counted_again_even_after_a_crash(files: AuditFiles) -> None:
    audit = Audit(files.log.parent, files.log.parent, "acme", KEY, lambda: NOW)
    for _ in range(2):
        audit.append(Act("ada", "admin", "call.view")).result()
        audit.checkpoint()
    whole = files.marks.read_bytes()
    assert audit.thin() > 0
    left = files.marks.read_bytes()
    for content in (whole, left):
        files.marks.write_bytes(content)
        assert files.verify(KEY.public_key()).good
    files.marks.write_bytes(whole)
    audit.append(Act("ada", "admin", "call.view")).result()
    audit.checkpoint()
    assert files.verify(KEY.public_key()).good
    files.marks.write_bytes(left)
    assert not files.verify(KEY.public_key()).good and audit.thin() == 0
    audit.close()
