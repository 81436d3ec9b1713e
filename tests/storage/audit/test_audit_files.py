"""The files of an audit log prove it offline; what was never acknowledged is not missed."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from shutil import copytree

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from storage.audit import audit_files
from storage.audit.audit_files import SLOT, AuditFiles, Wanted, marks_of
from storage.audit.audit_log import Audit
from storage.audit.hash_chain import Act, Verdict, entry, origin
from storage.cursors import BadCursor
from storage.errors import DiskFailed

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
START = datetime(2026, 3, 1, tzinfo=UTC)


class Minutes:
    """A clock that goes on by a minute a reading."""

    def __init__(self) -> None:
        self.readings = 0

    def __call__(self) -> datetime:
        self.readings += 1
        return START + timedelta(minutes=self.readings)


@pytest.fixture
def files(tmp_path: Path) -> AuditFiles:
    """A log of ten entries, closed, with a checkpoint beside it for each but the last."""
    audit = opened(tmp_path)
    for i in range(10):
        view(audit, i)
        if i < 9:
            audit.checkpoint()
    audit.close()
    return AuditFiles(tmp_path, tmp_path, "acme")


def opened(folder: Path, keys: Path | None = None, now: Callable[[], datetime] | None = None) -> Audit:
    return Audit(folder, keys or folder, "acme", KEY, now or Minutes())


def view(audit: Audit, number: int) -> None:
    audit.append(Act("alice", "admin", "call.view", f"call {number}")).result()


def verdict_of(files: AuditFiles) -> Verdict:
    return files.verify(KEY.public_key())


def paged(files: AuditFiles, since: datetime | None, limit: int, wanted: Wanted | None = None) -> list[int]:
    """Read the numbers of all entries, page by page."""
    seen: list[int] = []
    cursor: str | None = None
    for _ in range(50):
        page = files.read(since, cursor, limit, wanted or Wanted())
        seen += [item["n"] for item in page.items]
        cursor = page.next_cursor
        if cursor is None:
            return seen
    raise RuntimeError("the pages do not end")


def without(*numbers: int) -> Callable[[list[bytes]], list[bytes]]:
    return lambda lines: [line for number, line in enumerate(lines) if number not in numbers]


@pytest.mark.parametrize(
    "harm",
    [
        lambda lines: [],
        lambda lines: lines[:-1],
        lambda lines: lines[:4],
        lambda lines: [*lines[:-1], lines[-1][:-20]],
        lambda lines: [*lines, b"\0" * 100],
        lambda lines: [*lines, lines[0][:50]],
        without(0),
        without(4),
        lambda lines: [lines[1], lines[0], *lines[2:]],
        lambda lines: [*lines[:3], lines[3][:-40] + b"\n", *lines[4:]],
        lambda lines: [*lines[:3], b"nonsense\n", *lines[4:]],
        lambda lines: [*lines[:3], lines[2], *lines[4:]],
        None,
    ],
    ids="emptied last older cut NULs half first middle order torn nonsense repeated missing".split(),
)
def test_checkpoint_tampering_is_found_and_the_log_still_proven(
    files: AuditFiles, harm: Callable[[list[bytes]], list[bytes]] | None
) -> None:
    assert verdict_of(files) == Verdict(10, proven=10)
    whole = files.marks.read_bytes()
    files.marks.unlink()
    if harm is not None:
        files.marks.write_bytes(b"".join(harm(whole.splitlines(keepends=True))))
    found = verdict_of(files)
    assert not found.good and "checkpoint" in found.fault and "beside the log" in found.fault
    assert (found.entries, found.bad, found.proven) == (10, None, 10)


def test_only_the_right_state_of_the_data_folder_passes(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Keys and statements lie elsewhere; log and checkpoints are each missing, cut, older or overwritten."""
    data, keys = tmp_path / "data", tmp_path / "keys"
    data.mkdir()
    keys.mkdir()
    audit, older = opened(data, keys), dict[str, bytes]()
    for i in range(9):
        view(audit, i)
        audit.checkpoint()
        if i == 4:
            older = {each.name: each.read_bytes() for each in data.iterdir()}
    audit.close()
    names = ("audit.jsonl", "audit.checkpoints")
    whole = {name: (data / name).read_bytes() for name in names}

    def states(name: str) -> list[bytes | None]:
        lines = whole[name].splitlines(keepends=True)
        return [whole[name], None, b"", older[name], b"".join([*lines[:3], *lines[4:]]), bytes(len(whole[name]))]

    for log, marks in product(states(names[0]), states(names[1])):
        if (log, marks) == (whole[names[0]], whole[names[1]]):
            continue
        place = tmp_path_factory.mktemp("place")
        copytree(keys, place / "keys")
        (place / "data").mkdir()
        for name, content in zip(names, (log, marks), strict=True):
            if content is not None:
                (place / "data" / name).write_bytes(content)
        found = AuditFiles(place / "data", place / "keys", "acme")
        assert not verdict_of(found).good
        on = opened(place / "data", place / "keys")
        for _ in range(2):
            on.append(Act("alice", "admin", "call.view", "another")).result()
            on.checkpoint()
        on.thin()
        on.close()
        assert not verdict_of(found).good


def test_a_crash_while_writing_a_checkpoint_loses_none(files: AuditFiles) -> None:
    tally, marks = files.tally.read_bytes(), files.marks.read_bytes()
    audit = opened(files.log.parent)
    view(audit, 10)
    audit.checkpoint()
    files.tally.write_bytes(tally)  # the line was written, what counts it was not
    assert verdict_of(files).good
    whole = files.marks.read_bytes()
    for cut in (len(marks) + 30, len(marks)):
        files.marks.write_bytes(whole[:cut])
        assert verdict_of(files).good == (cut == len(marks))
        fresh = opened(files.log.parent)
        fresh.checkpoint()
        fresh.close()
        assert verdict_of(files).good
        files.tally.write_bytes(tally)
    audit.close()


@pytest.mark.parametrize(
    ("harm", "bad"),
    [
        (lambda log: b"", 1),
        (lambda log: b"".join(log.splitlines(keepends=True)[:7]), 8),
        (lambda log: log[:-1], 10),
        *((lambda log, tail=tail: log + tail, 11) for tail in (b"\0" * 100, b"x", b"{}", b'{"n":12,"time":"2026')),
        (lambda log: log + b'{"n":11,"time":"2026\0\0', 11),
    ],
)
def test_a_missing_or_forged_end_of_the_log_is_found(
    files: AuditFiles, harm: Callable[[bytes], bytes], bad: int
) -> None:
    files.log.write_bytes(harm(files.log.read_bytes()))
    found = verdict_of(files)
    assert (found.good, found.entries, found.bad, found.proven) == (False, min(bad - 1, 10), bad, min(bad - 1, 10))


@pytest.mark.parametrize("older", [3, 8])
def test_an_outdated_checkpoint_beside_the_keys_is_found(files: AuditFiles, older: int) -> None:
    files.newest.write_bytes(b"")
    files.put_mark(marks_of(files.marks)[older - 1])
    found = verdict_of(files)
    assert not found.good and "beside the keys" in found.fault and str(older) in found.fault


@pytest.mark.parametrize("harm", [Path.unlink, lambda newest: newest.write_bytes(b"nonsense")])
def test_without_the_newest_checkpoint_the_log_is_still_proven(
    files: AuditFiles, harm: Callable[[Path], object]
) -> None:
    harm(files.newest)
    found = verdict_of(files)
    assert not found.good and "beside the keys" in found.fault
    assert (found.entries, found.bad, found.proven) == (10, None, 9)


def test_an_older_log_is_counted_from_its_next_checkpoint(files: AuditFiles) -> None:
    files.tally.unlink()
    assert verdict_of(files).good
    audit = opened(files.log.parent)
    audit.checkpoint()
    audit.close()
    assert verdict_of(files).good
    files.marks.write_bytes(b"")
    assert not verdict_of(files).good


def test_no_log_and_no_checkpoint_is_an_empty_log(tmp_path: Path) -> None:
    assert verdict_of(AuditFiles(tmp_path, tmp_path, "acme")).good
    assert AuditFiles(tmp_path, tmp_path, "acme").read(None, None, 5).items == ()


def test_an_unfinished_line_was_never_acknowledged(files: AuditFiles) -> None:
    with files.log.open("ab") as log:
        log.write(b'{"n":11,"time":"2026')
    assert verdict_of(files).good
    assert files.read(None, None, 1).items[0]["n"] == 10


def test_a_torn_checkpoint_leaves_the_one_before(files: AuditFiles) -> None:
    data = bytearray(files.newest.read_bytes())
    newest = max((0, 1), key=lambda i: b'"n":10' in data[i * SLOT : (i + 1) * SLOT])
    data[newest * SLOT + 20 : (newest + 1) * SLOT] = bytes(SLOT - 20)
    files.newest.write_bytes(data)
    mark = files.newest_mark(KEY.public_key())
    assert mark.head.n == 9
    assert verdict_of(files).good


@pytest.mark.parametrize("looked_at", [1, 7, 10, 11, 1000])
def test_pages_of_few_among_many_end_early_and_miss_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, looked_at: int
) -> None:
    audit = opened(tmp_path)
    for number in range(1, 41):
        audit.append(Act("Alice" if number % 11 == 0 else "bob", "admin", "call.view")).result()
    twentieth = datetime.fromisoformat(audit.read(limit=21).items[-1]["time"])
    audit.close()
    monkeypatch.setattr(audit_files, "MOST_LOOKED_AT", looked_at)
    for since, right in ((None, [33, 22, 11]), (twentieth, [33, 22])):
        assert paged(AuditFiles(tmp_path, tmp_path, "acme"), since, 2, Wanted(actor="alice")) == right


def test_since_misses_nothing_where_the_clock_was_set_back(files: AuditFiles) -> None:
    head, lines = origin("acme"), []
    for number in range(1_500):  # three megabytes; after entry 900 the clock is a day back
        at = START + timedelta(seconds=number if number < 900 else number - 86_400)
        line, head = entry(head, Act("alice", "admin", "call.view", reason="r" * 1_999), at)
        lines.append(line)
    files.log.write_bytes(b"".join(lines))
    for first in (0, 1, 470, 471, 472, 899):  # the first mebibyte ends within entry 472
        found = files.read(START + timedelta(seconds=first), None, 1_000).items
        assert [item["n"] for item in found] == list(range(900, first, -1))


@pytest.mark.parametrize("cursor", ["", "x", "0", "1", "-5", "999999", "9" * 5000, "١"])
def test_an_invalid_audit_cursor_is_refused(files: AuditFiles, cursor: str) -> None:
    with pytest.raises(BadCursor):
        files.read(None, cursor, 3)


def test_an_altered_entry_hides_no_other(files: AuditFiles) -> None:
    lines = files.log.read_bytes().splitlines(keepends=True)
    spoilt = [b"{}\n", b"no entry\n", b'{"n":1}\n', b'{"n":1,"time":7}\n', b'{"n":1,"time":"noon"}\n', b"\xff\n"]
    for number, line in enumerate(spoilt):
        files.log.write_bytes(b"".join([*lines[:number], line, *lines[number + 1 :]]))
        left = [item["n"] for item in files.read(START, None, 100).items]
        assert left == [n for n in range(10, 0, -1) if n != number + 1]
        assert verdict_of(files).bad == number + 1


def test_entries_about_objects_are_found(tmp_path: Path) -> None:
    audit = opened(tmp_path)
    for number, (object, reason) in enumerate([("a", ""), ("b", '"object":"a"'), ("a", "again"), ("", "")]):
        audit.append(Act("ada", "admin", f"act.{number}", object, "done", reason)).result()
    assert [entry["action"] for entry in audit.about({"a"})] == ["act.0", "act.2"]
    assert [entry["action"] for entry in audit.about({"a", "b"})] == ["act.0", "act.1", "act.2"]
    assert audit.about(set()) == [] and audit.about({"c"}) == []
    audit.close()
    assert list(AuditFiles(tmp_path / "none", tmp_path, "acme").about({"a"})) == []


def test_an_unreadable_audit_folder_is_a_disk_failure(tmp_path: Path) -> None:
    with pytest.raises(DiskFailed, match="could not read the audit log: ENAMETOOLONG"):
        AuditFiles(tmp_path / ("x" * 256), tmp_path, "acme").read(None, None, 1)


def test_a_checkpoint_beside_the_log_that_was_changed_is_found(files: AuditFiles) -> None:
    files.marks.write_bytes(files.marks.read_bytes().replace(b'"n":5', b'"n":4'))
    assert not verdict_of(files).good and verdict_of(files).bad == 4
