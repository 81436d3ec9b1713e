"""The files of an audit log prove it offline; what was never acknowledged is not missed."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from shutil import copytree

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from storage.audit import audit_files
from storage.audit import audit_log as audits
from storage.audit.audit_files import SLOT, AuditFiles, Wanted, lines_of
from storage.audit.audit_log import Audit
from storage.audit.hash_chain import Act, AuditError, Verdict, entry, origin
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
    """A log of ten entries, closed; its checkpoint beside the keys, an older one beside the log."""
    audit = Audit(tmp_path, tmp_path, "acme", KEY, Minutes())
    for i in range(10):
        audit.append(Act("alice", "admin", "call.view", f"call {i}")).result()
        if i == 4:
            audit.checkpoint()
    audit.close()
    return AuditFiles(tmp_path, tmp_path, "acme")


def verdict_of(files: AuditFiles) -> Verdict:
    return files.verify(KEY.public_key())


@pytest.fixture
def minutes(tmp_path: Path) -> AuditFiles:
    """A log of ten entries with a checkpoint beside it for each but the last."""
    audit = Audit(tmp_path, tmp_path, "acme", KEY, Minutes())
    for i in range(10):
        audit.append(Act("alice", "admin", "call.view", f"call {i}")).result()
        if i < 9:
            audit.checkpoint()
    audit.close()
    return AuditFiles(tmp_path, tmp_path, "acme")


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
    minutes: AuditFiles, harm: Callable[[list[bytes]], list[bytes]] | None
) -> None:
    assert verdict_of(minutes) == Verdict(10, proven=10)
    if harm is None:
        minutes.marks.unlink()
    else:
        minutes.marks.write_bytes(b"".join(harm(minutes.marks.read_bytes().splitlines(keepends=True))))
    found = verdict_of(minutes)
    assert not found.good and "checkpoint" in found.fault and "beside the log" in found.fault
    assert (found.entries, found.bad, found.proven) == (10, None, 10)


def test_checkpoint_tampering_is_not_hidden_by_the_next_entry(minutes: AuditFiles) -> None:
    minutes.marks.write_bytes(b"")
    audit = Audit(minutes.log.parent, minutes.log.parent, "acme", KEY, Minutes())
    audit.append(Act("alice", "admin", "call.view", "call 10")).result()
    audit.checkpoint()
    audit.close()
    found = verdict_of(minutes)
    assert not found.good and (found.entries, found.proven) == (11, 11)


@pytest.mark.parametrize("again", [False, True], ids=["running", "restarted"])
@pytest.mark.parametrize(
    "harm",
    [
        lambda lines: [],
        lambda lines: lines[:-1],
        lambda lines: [*lines[:3], lines[2], *lines[4:]],  # as long as before
        lambda lines: [lines[1], lines[0], *lines[2:]],
    ],
    ids="emptied last repeated order".split(),
)
def test_tampering_with_live_checkpoints_is_found(
    tmp_path: Path, harm: Callable[[list[bytes]], list[bytes]], again: bool
) -> None:
    files, clock = AuditFiles(tmp_path, tmp_path, "acme"), Minutes()
    audit = Audit(tmp_path, tmp_path, "acme", KEY, clock)
    for i in range(15):
        if i == 7:
            assert verdict_of(files) == Verdict(7, proven=7)
            files.marks.write_bytes(b"".join(harm(files.marks.read_bytes().splitlines(keepends=True))))
            if again:
                audit.close()
                audit = Audit(tmp_path, tmp_path, "acme", KEY, clock)
        audit.append(Act("alice", "admin", "call.view", f"call {i}")).result()
        audit.checkpoint()
    audit.close()
    found = verdict_of(files)
    assert not found.good and "beside the log are not those that were written" in found.fault
    assert (found.entries, found.proven) == (15, 15)


def test_a_checkpoint_costs_the_same_however_many_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    monkeypatch.setattr(audits, "lines_of", lambda path: read.append(path) or lines_of(path))
    audit = Audit(tmp_path, tmp_path, "acme", KEY, Minutes())
    for i in range(5):
        audit.append(Act("alice", "admin", "call.view", f"call {i}")).result()
        audit.checkpoint()
    audit.close()
    assert len(read) == 1 and verdict_of(AuditFiles(tmp_path, tmp_path, "acme")) == Verdict(5, proven=5)


def test_only_the_right_state_of_the_data_folder_passes(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Keys and statements lie elsewhere; log and checkpoints are each missing, cut, older or overwritten."""
    data, keys = tmp_path / "data", tmp_path / "keys"
    data.mkdir()
    keys.mkdir()
    audit, older = Audit(data, keys, "acme", KEY, Minutes()), dict[str, bytes]()
    for i in range(9):
        audit.append(Act("alice", "admin", "call.view", f"call {i}")).result()
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
        on = Audit(place / "data", place / "keys", "acme", KEY, Minutes())
        for _ in range(2):
            on.append(Act("alice", "admin", "call.view", "another")).result()
            on.checkpoint()
        on.thin()
        on.close()
        assert not verdict_of(found).good


def test_a_crash_while_writing_a_checkpoint_loses_none(minutes: AuditFiles) -> None:
    tally, marks = minutes.tally.read_bytes(), minutes.marks.read_bytes()
    audit = Audit(minutes.log.parent, minutes.log.parent, "acme", KEY, Minutes())
    audit.append(Act("alice", "admin", "call.view", "call 10")).result()
    audit.checkpoint()
    minutes.tally.write_bytes(tally)  # the line was written, what counts it was not
    assert verdict_of(minutes).good
    whole = minutes.marks.read_bytes()
    for cut in (len(marks) + 30, len(marks)):
        minutes.marks.write_bytes(whole[:cut])
        assert verdict_of(minutes).good == (cut == len(marks))
        fresh = Audit(minutes.log.parent, minutes.log.parent, "acme", KEY, Minutes())
        fresh.checkpoint()
        fresh.close()
        assert verdict_of(minutes).good
        minutes.tally.write_bytes(tally)
    audit.close()


@pytest.mark.parametrize("tail", [b"\0" * 100, b"x", b"{}", b'{"n":12,"time":"2026', b'{"n":11,"time":"2026\0\0'])
def test_a_forged_tail_of_the_log_is_found(files: AuditFiles, tail: bytes) -> None:
    with files.log.open("ab") as log:
        log.write(tail)
    found = verdict_of(files)
    assert not found.good and (found.entries, found.bad, found.proven) == (10, 11, 10)


@pytest.mark.parametrize("older", [3, 8])
def test_an_outdated_checkpoint_beside_the_keys_is_found(tmp_path: Path, older: int) -> None:
    audit = Audit(tmp_path, tmp_path, "acme", KEY, Minutes())
    made = AuditFiles(tmp_path, tmp_path, "acme")
    for i in range(10):
        audit.append(Act("alice", "admin", "call.view", f"call {i}")).result()
        audit.checkpoint()
        if i == older - 1:
            before = made.newest.read_bytes()
    audit.close()
    made.newest.write_bytes(before)
    found = verdict_of(made)
    assert not found.good and "beside the keys" in found.fault and str(older) in found.fault
    assert (found.entries, found.proven) == (10, 10)


def test_without_the_newest_checkpoint_the_log_is_still_proven(minutes: AuditFiles) -> None:
    for content in (None, b"nonsense"):
        if content is None:
            minutes.newest.unlink()
        else:
            minutes.newest.write_bytes(content)
        found = verdict_of(minutes)
        assert not found.good and "beside the keys" in found.fault
        assert (found.entries, found.bad, found.proven) == (10, None, 9)


def test_an_older_log_is_counted_from_its_next_checkpoint(minutes: AuditFiles) -> None:
    minutes.tally.unlink()
    assert verdict_of(minutes).good
    audit = Audit(minutes.log.parent, minutes.log.parent, "acme", KEY, Minutes())
    audit.checkpoint()
    audit.close()
    assert verdict_of(minutes).good
    minutes.marks.write_bytes(b"")
    assert not verdict_of(minutes).good


def bad(files: AuditFiles) -> int | None:
    verdict = files.verify(KEY.public_key())
    assert not verdict.good
    return verdict.bad


def test_unaltered_audit_files_verify(files: AuditFiles) -> None:
    assert files.verify(KEY.public_key()).entries == 10


def test_no_log_and_no_checkpoint_is_an_empty_log(tmp_path: Path) -> None:
    assert AuditFiles(tmp_path, tmp_path, "acme").verify(KEY.public_key()).good
    assert AuditFiles(tmp_path, tmp_path, "acme").read(None, None, 5).items == ()


def test_a_missing_log_is_found(files: AuditFiles) -> None:
    files.log.unlink()
    assert bad(files) == 1


def test_a_rolled_back_log_is_found(files: AuditFiles) -> None:
    lines = files.log.read_bytes().splitlines(keepends=True)
    files.log.write_bytes(b"".join(lines[:7]))
    assert bad(files) == 8


def test_a_missing_checkpoint_is_found(files: AuditFiles) -> None:
    files.newest.unlink()
    bad(files)


def test_an_older_checkpoint_beside_the_log_is_checked_too(files: AuditFiles) -> None:
    files.marks.write_bytes(files.marks.read_bytes().replace(b'"n":5', b'"n":4'))
    assert bad(files) == 4
    files.marks.write_bytes(b"nonsense\n")
    assert bad(files) is None


def test_an_unfinished_line_was_never_acknowledged(files: AuditFiles) -> None:
    with files.log.open("ab") as log:
        log.write(b'{"n":11,"time":"2026')
    assert files.verify(KEY.public_key()).good
    assert files.read(None, None, 1).items[0]["n"] == 10


def test_a_cut_inside_the_last_line_is_found(files: AuditFiles) -> None:
    files.log.write_bytes(files.log.read_bytes()[:-1])
    assert bad(files) == 10


def test_a_torn_checkpoint_leaves_the_one_before(files: AuditFiles) -> None:
    data = bytearray(files.newest.read_bytes())
    newest = max((0, 1), key=lambda i: b'"n":10' in data[i * SLOT : (i + 1) * SLOT])
    data[newest * SLOT + 20 : (newest + 1) * SLOT] = bytes(SLOT - 20)
    files.newest.write_bytes(data)
    mark = files.newest_mark(KEY.public_key())
    assert mark is not None
    assert mark.head.n == 9
    assert files.verify(KEY.public_key()).good


def test_pages_are_newest_first_and_miss_nothing(files: AuditFiles) -> None:
    seen, cursor = [], None
    while True:
        page = files.read(None, cursor, 3)
        seen += [item["n"] for item in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == list(range(10, 0, -1))


@pytest.mark.parametrize("looked_at", [1, 7, 10, 11, 1000])
def test_pages_of_few_among_many_end_early_and_miss_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, looked_at: int
) -> None:
    audit = Audit(tmp_path, tmp_path, "acme", KEY, Minutes())
    for number in range(1, 41):
        audit.append(Act("Alice" if number % 11 == 0 else "bob", "admin", "call.view")).result()
    twentieth = datetime.fromisoformat(audit.read(limit=21).items[-1]["time"])
    audit.close()
    monkeypatch.setattr(audit_files, "MOST_LOOKED_AT", looked_at)
    for since, right in ((None, [33, 22, 11]), (twentieth, [33, 22])):
        seen: list[int] = []
        cursor: str | None = None
        for _ in range(50):
            page = AuditFiles(tmp_path, tmp_path, "acme").read(since, cursor, 2, Wanted(actor="alice"))
            seen += [item["n"] for item in page.items]
            cursor = page.next_cursor
            if cursor is None:
                break
        assert (seen, cursor) == (right, None)


def test_a_page_that_ends_with_the_oldest_has_no_successor(files: AuditFiles) -> None:
    assert files.read(None, None, 10).next_cursor is None


def test_since_leaves_out_older_entries(files: AuditFiles) -> None:
    times = [item["time"] for item in files.read(None, None, 10).items]
    page = files.read(datetime.fromisoformat(times[3]), None, 10)
    assert [item["time"] for item in page.items] == times[:4]


def test_since_finds_entries_from_before_a_clock_setback(tmp_path: Path) -> None:
    hours = [0, 1, 2, -168, -167, 3, 87_600, 4, -1]  # a week back, ten years on, a little back; right in between
    times = iter(START + timedelta(hours=at) for at in hours for _ in range(2))  # one for the entry, one for its mark
    audit = Audit(tmp_path, tmp_path, "acme", KEY, lambda: next(times))
    for hour in hours:
        audit.append(Act("alice", "admin", "call.view", str(hour), reason="r" * 1_999)).result()
    audit.close()
    found = [item["object"] for item in audit.read(START + timedelta(hours=1)).items]
    assert found == ["4", "87600", "3", "2", "1"]
    assert [item["object"] for item in audit.read(START + timedelta(hours=5)).items] == ["87600"]
    assert audit.read(START + timedelta(days=20_000)).items == ()


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
    with pytest.raises(AuditError):
        files.read(None, cursor, 3)


def test_an_altered_entry_hides_no_other(files: AuditFiles) -> None:
    lines = files.log.read_bytes().splitlines(keepends=True)
    spoilt = [b"{}\n", b"no entry\n", b'{"n":1}\n', b'{"n":1,"time":7}\n', b'{"n":1,"time":"noon"}\n', b"\xff\n"]
    for number, line in enumerate(spoilt):
        files.log.write_bytes(b"".join([*lines[:number], line, *lines[number + 1 :]]))
        left = [item["n"] for item in files.read(START, None, 100).items]
        assert left == [n for n in range(10, 0, -1) if n != number + 1]
        assert bad(files) == number + 1


def test_long_logs_are_read_backwards_over_block_borders(tmp_path: Path) -> None:
    audit = Audit(tmp_path, tmp_path, "acme", KEY, Minutes())
    futures = [audit.append(Act("alice", "admin", "x", reason="r" * (i % 700))) for i in range(500)]
    assert [f.result() for f in futures] == list(range(1, 501))
    audit.close()
    page = audit.read(limit=1000)
    assert [item["n"] for item in page.items] == list(range(500, 0, -1))


def test_entries_about_objects_are_found(tmp_path: Path) -> None:
    audit = Audit(tmp_path, tmp_path, "acme", KEY, Minutes())
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
