"""A backup copies what is new, holds no keys, counts only when it is complete, and stays apart from any other."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from storage.backup import backup as backups
from storage.backup.backup import CopySource, Made, back_up
from storage.backup.copying import Copier, Print
from storage.backup.generations import BackupBusy, BackupDamaged, BackupForeign, Folder, Head, Manifest, ManifestWriter
from storage.backup.restore import NotEmpty, Restored, restore
from storage.errors import DiskFailed, NoSpace
from storage.files.reserved_space import Space
from tests.journeys.trouble.disks import fill, mounted

NOW = datetime(2026, 3, 1, tzinfo=UTC)
OWNERS = {"acme": "aa" * 32}
CALL = "0b2e9609-c05c-45ca-b09a-2983508b3d5b"


def part(number: int, day: int = 20_000) -> str:
    return f"customers/acme/vault/{day}/{CALL}.{day:04x}{number:08x}.m1"


class Node:
    """A data directory and its backup."""

    def __init__(self, folder: Path) -> None:
        self.data, self.backup = folder / "data", Folder(folder / "backup")
        self.backup.path.mkdir()
        self.write("keys/acme.forget", b"secret")
        self.write("keys/acme.audit", b"newest")
        self.write(".lock", b"")
        self.write(part(1), b"one")
        self.write(part(2, 20_001), b"two")
        self.write("customers/acme/audit.jsonl", b'{"n":1}\n{"n":2}\n{"half')
        self.write("customers/acme/audit.checkpoints", b'{"n":1}\n')
        self.write("customers/acme/.tokens.json.part", b"draft")
        self.write("customers/acme/tokens.json", b"[]")
        self.write("incidents.jsonl", b"{}\n")
        with closing(sqlite3.connect(self.data / "customers/acme/index.sqlite3")) as database:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("CREATE TABLE calls (id TEXT)")
            database.commit()

    def write(self, name: str, data: bytes) -> None:
        (self.data / name).parent.mkdir(parents=True, exist_ok=True)
        (self.data / name).write_bytes(data)

    def back_up(self, keep: int = 7, owners: dict[str, str] = OWNERS) -> Made:
        return back_up(CopySource(self.data, owners, "sqlite"), self.backup, NOW, keep, lambda done, of: None)

    def emptied(self) -> None:
        """Move everything but the keys away."""
        away = self.data.with_name(f"away-{len(list(self.data.parent.iterdir()))}")
        away.mkdir()
        for path in list(self.data.iterdir()):
            if path.name not in ("keys", ".lock", ".restore"):
                path.rename(away / path.name)

    def restore(self, generation: int | None = None) -> Restored:
        return restore(self.backup, generation, self.data, None, lambda done, of: None)

    def files(self) -> dict[str, bytes]:
        """Return what a restore has to bring back."""
        found = {str(p.relative_to(self.data)): p.read_bytes() for p in self.data.rglob("*") if p.is_file()}
        return {name: data for name, data in found.items() if "sqlite3" not in name and not name.startswith("keys/")}

    def copies(self) -> set[str]:
        return {p.name for p in self.backup.recordings.rglob("*") if p.is_file()}


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_what_comes_back_is_what_was_there(node: Node) -> None:
    made = node.back_up()
    assert (made.generation, made.faults) == (1, [])
    before = node.files()
    before["customers/acme/audit.jsonl"] = b'{"n":1}\n{"n":2}\n'  # half an entry was never acknowledged
    del before["customers/acme/.tokens.json.part"]
    node.emptied()
    restored = node.restore()
    assert (restored.generation, restored.faults, restored.bytes) == (1, [], made.bytes)
    assert node.files() == before
    with closing(sqlite3.connect(node.data / "customers/acme/index.sqlite3")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert {p.stat().st_mode & 0o777 for p in node.data.glob("customers/acme/**/*.*")} == {0o600}


def test_no_key_is_in_it(node: Node) -> None:
    node.back_up()
    for path in node.backup.path.rglob("*"):
        assert "keys" not in path.parts
        assert not path.is_file() or (b"secret" not in path.read_bytes() and b"newest" not in path.read_bytes())


def test_a_recording_is_copied_once(node: Node) -> None:
    first = node.back_up()
    node.write(part(3), b"three")
    second = node.back_up()
    parts = len(b"one") + len(b"two")
    assert second.copied == first.copied - parts + len(b"three")
    assert second.bytes == first.bytes + len(b"three")
    inode = (node.backup.recordings / "acme/vault/20000" / Path(part(1)).name).stat().st_ino
    node.back_up()
    assert (node.backup.recordings / "acme/vault/20000" / Path(part(1)).name).stat().st_ino == inode


def test_a_database_that_is_written_is_copied_as_of_one_moment(node: Node) -> None:
    with closing(sqlite3.connect(node.data / "customers/acme/index.sqlite3")) as database:
        database.executemany("INSERT INTO calls VALUES (?)", [("x" * 1000,)] * 20_000)
        database.commit()

        def watch(done: int, of: int) -> None:
            database.execute("DELETE FROM calls WHERE rowid IN (SELECT rowid FROM calls LIMIT 10)")
            database.commit()

        back_up(CopySource(node.data, OWNERS, "sqlite"), node.backup, NOW, 7, watch)
        assert database.execute("SELECT count(*) FROM calls").fetchone()[0] < 20_000
    with closing(sqlite3.connect(node.backup.place(1) / "state/customers/acme/index.sqlite3")) as copy:
        assert copy.execute("SELECT count(*) FROM calls").fetchone() == (20_000,)


def test_no_checkpoint_is_newer_than_the_log_beside_it(node: Node) -> None:
    log, marks = (node.data / "customers/acme" / name for name in ("audit.jsonl", "audit.checkpoints"))
    log.write_bytes(b"")
    marks.write_bytes(b"")

    def watch(done: int, of: int) -> None:
        for file in (log, marks):
            with file.open("ab") as more:
                more.write(b"{}\n")

    back_up(CopySource(node.data, OWNERS, "sqlite"), node.backup, NOW, 7, watch)
    copy = node.backup.place(1) / "state/customers/acme"
    entries, checkpoints = ((copy / file.name).read_bytes().count(b"\n") for file in (log, marks))
    assert entries >= checkpoints > 0


def test_a_part_that_is_finished_meanwhile_is_in_it_once(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    name = Path(part(9)).name
    node.write(f"customers/acme/vault/open/{name}", b"begun")
    real = backups._days

    def days(data: Path) -> Iterator[str]:
        begun = data / f"customers/acme/vault/open/{name}"
        if begun.exists() and list(node.backup.path.glob(f"generations/.1/state/**/*{name}*")):
            node.write(part(9), b"begun and finished")
            begun.unlink()
        return real(data)

    monkeypatch.setattr(backups, "_days", days)
    assert node.back_up().faults == []
    node.emptied()
    node.restore()
    assert (node.data / part(9)).read_bytes() == b"begun and finished"
    assert not (node.data / f"customers/acme/vault/open/{name}").exists()


def test_only_the_newest_generations_and_their_copies_stay(node: Node) -> None:
    node.back_up(keep=2)
    (node.data / part(1)).unlink()  # erased
    node.back_up(keep=2)
    assert Path(part(1)).name in node.copies()
    node.back_up(keep=2)
    assert node.backup.complete() == [2, 3]
    assert node.copies() == {Path(part(2, 20_001)).name}
    node.emptied()
    with pytest.raises(BackupForeign, match="generation 1"):
        node.restore(1)
    assert node.restore(2).generation == 2


def test_a_recording_that_differs_is_named_and_its_copy_stays(node: Node) -> None:
    node.back_up()
    node.write(part(1), b"o")
    made = node.back_up()
    assert [fault.split()[0] for fault in made.faults] == [part(1)]
    assert (node.backup.recordings / "acme/vault/20000" / Path(part(1)).name).read_bytes() == b"one"


def test_a_damaged_database_is_named_and_the_rest_is_backed_up(node: Node) -> None:
    node.write("customers/acme/index.sqlite3", b"no database" * 500)
    made = node.back_up()
    assert len(made.faults) == 1 and "SQLITE_NOTADB" in made.faults[0]
    node.emptied()
    assert node.restore().faults == []
    assert not (node.data / "customers/acme/index.sqlite3").exists()


@pytest.mark.parametrize("owners", [{"acme": "bb" * 32}, {"zeta": "aa" * 32}, {"acme": "bb" * 32, "zeta": "cc" * 32}])
def test_the_backup_of_another_installation_is_left_alone(node: Node, owners: dict[str, str]) -> None:
    node.back_up()
    before = {p: p.stat().st_mtime_ns for p in node.backup.path.rglob("*") if p.name != "lock"}
    with pytest.raises(BackupForeign, match="another installation"):
        node.back_up(owners=owners)
    assert {p: p.stat().st_mtime_ns for p in node.backup.path.rglob("*") if p.name != "lock"} == before


def test_customers_come_and_go(node: Node) -> None:
    node.back_up()
    node.back_up(owners={**OWNERS, "zeta": "cc" * 32})
    assert node.back_up(owners={"zeta": "cc" * 32}).generation == 3


def test_a_folder_with_other_files_is_left_alone(node: Node) -> None:
    (node.backup.path / "letter.txt").write_text("dear")
    with pytest.raises(BackupForeign, match="other files"):
        node.back_up()
    assert {p.name for p in node.backup.path.iterdir()} == {"letter.txt", "lock"}


def test_a_disk_too_full_is_refused_before_anything_is_copied(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Space, "of", lambda folder: Space(backups.SPARE, 1 << 40, 100, 100))
    with pytest.raises(NoSpace, match="needs"):
        node.back_up()
    assert not node.copies() and node.backup.complete() == []


def test_a_disk_that_fills_up_leaves_no_unfinished_backup(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.back_up()
    with mounted(tmp_path / "small", "size=32m") as small:
        node.backup = Folder(small)
        node.write(part(3), os.urandom(8 << 20))
        node.write(part(4, 20_002), os.urandom(8 << 20))
        with pytest.raises(NoSpace, match="needs"):
            node.back_up()
        monkeypatch.setattr(backups, "SPARE", 0)

        def watch(done: int, of: int) -> None:
            if done > 10 << 20:
                fill(small)

        with pytest.raises(NoSpace):
            back_up(CopySource(node.data, OWNERS, "sqlite"), node.backup, NOW, 7, watch)
        assert node.backup.complete() == []
        assert not [path for path in small.rglob("*.draft") if path.is_file()]
        (small / "filler").unlink()
        assert node.back_up().faults == []
        node.emptied()
        assert node.restore().faults == []
    assert (node.data / part(4, 20_002)).stat().st_size == 8 << 20


def test_a_second_backup_or_restore_at_once_is_refused(node: Node) -> None:
    with node.backup.locked(writing=True):
        for do in (node.back_up, node.restore):
            with pytest.raises(BackupBusy):
                do()


@contextmanager
def stopped_at(monkeypatch: pytest.MonkeyPatch, step: int) -> Iterator[Callable[[], bool]]:
    """Have the n-th change of a file fail, as if the process ended there; tells whether it came to that."""
    left = [step]

    def dying(real: Callable[..., object]) -> Callable[..., object]:
        def call(*given: object, **more: object) -> object:
            left[0] -= 1
            if left[0] < 0:
                raise OSError(5, "it ended here")
            return real(*given, **more)

        return call

    with monkeypatch.context() as patch:
        for name in ("pwrite", "fsync", "mkdir"):
            patch.setattr(os, name, dying(getattr(os, name)))
        patch.setattr(Path, "rename", dying(Path.rename))
        patch.setattr(Copier, "__exit__", lambda self, *error: None)  # a killed process tidies nothing up
        yield lambda: left[0] < 0


def test_a_backup_stopped_anywhere_does_not_count_and_resumes(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    for step in range(200):
        with stopped_at(monkeypatch, step) as ended:
            try:
                node.back_up()
            except (DiskFailed, OSError):
                assert ended()
        if not ended():
            break
        # Dropping old generations comes after it counts.
        assert node.backup.complete() in ([], [1])
        for path in node.backup.recordings.rglob("*.m1"):
            if not path.name.startswith("."):
                assert path.read_bytes() in (b"one", b"two"), "whoever has a name is whole"
    else:
        pytest.fail("it never came to its end")
    assert step > 10
    node.emptied()
    assert node.restore().faults == []


def test_a_restore_stopped_anywhere_resumes(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    node.back_up()
    before = {**node.files(), "customers/acme/audit.jsonl": b'{"n":1}\n{"n":2}\n'}
    del before["customers/acme/.tokens.json.part"]
    for step in range(200):
        node.emptied()
        with stopped_at(monkeypatch, step) as ended:
            try:
                node.restore()
            except (DiskFailed, OSError):
                assert ended()
        if not ended():
            break
        if (node.data / "customers").exists():
            found = {n: d for n, d in node.files().items() if not n.startswith(".restore")}
            assert found == before, "customers/ comes last and whole"
        assert node.restore().faults == []
        assert node.files() == before and not (node.data / ".restore").exists()
    else:
        pytest.fail("it never came to its end")
    assert step > 20


def test_a_draft_of_a_try_that_ended_is_not_put_in_place(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    node.back_up()
    node.emptied()
    with stopped_at(monkeypatch, 12), pytest.raises(DiskFailed):
        node.restore()
    drafts = list(node.data.rglob("*.draft"))
    assert drafts
    for draft in drafts:  # nothing takes its place
        for copy in node.backup.path.rglob(draft.name[1:].removesuffix(".draft")):
            copy.unlink()
    assert node.restore().faults
    assert not list(node.data.rglob("*.draft"))


@pytest.mark.parametrize("path", ["/etc/passwd", "../keys/acme.forget", "customers/../../x", "customers//x", "", "a/."])
def test_a_manifest_that_leads_out_of_its_folder_is_refused(tmp_path: Path, path: str) -> None:
    for folder, state in ((path, "file"), ("customers/acme/vault/1", path)):
        manifest = tmp_path / "manifest.jsonl"
        manifest.unlink(missing_ok=True)
        writer = ManifestWriter(manifest, Head(1, "", OWNERS, "sqlite"))
        writer.recordings(folder, {"name": Print(1, "00")})
        writer.end({state: Print(1, "00")})
        with pytest.raises(BackupDamaged):
            Manifest(manifest)


@pytest.mark.parametrize("name", ["customers/acme/tokens.json", "incidents.jsonl"])
def test_a_data_directory_that_is_not_empty_is_left_alone(node: Node, name: str) -> None:
    node.back_up()
    node.emptied()
    node.write(name, b"new")
    with pytest.raises(NotEmpty, match=name.split("/")[0]):
        node.restore()
    assert {p.name for p in node.data.rglob("*") if p.is_file()} == {
        "acme.forget",
        "acme.audit",
        ".lock",
        Path(name).name,
    }


def test_a_restore_names_damaged_files_and_brings_back_the_rest(node: Node) -> None:
    node.back_up()
    (node.backup.recordings / "acme/vault/20000" / Path(part(1)).name).write_bytes(b"0ne")
    (node.backup.recordings / "acme/vault/20001" / Path(part(2, 20_001)).name).unlink()
    node.emptied()
    faults = node.restore().faults
    assert [fault.partition(" ")[::2] for fault in faults] == [
        (part(1), "is damaged in the backup"),
        (part(2, 20_001), "is missing in the backup"),
    ]
    assert not (node.data / part(1)).exists() and (node.data / "customers/acme/tokens.json").read_bytes() == b"[]"


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-20],
        lambda text: text.replace("incidents", "accidents"),
        lambda text: text.replace('"incidents.jsonl"', '"../incidents.jsonl"'),
        lambda text: text.replace("customers/acme/vault/20000", "/etc"),
        lambda text: text + "{}\n",
        lambda _: "",
        lambda _: "[1]\n",
    ],
)
def test_a_manifest_that_was_changed_is_refused(node: Node, change: Callable[[str], str]) -> None:
    node.back_up()
    manifest = node.backup.place(1) / "manifest.jsonl"
    manifest.write_text(change(manifest.read_text()))
    node.emptied()
    with pytest.raises(BackupDamaged):
        node.restore()
    assert not (node.data / "customers").exists()


def test_the_manifest_reads_as_documented(node: Node) -> None:
    node.back_up()
    first, *folders, state, end = (node.backup.place(1) / "manifest.jsonl").read_text().splitlines()
    assert json.loads(first) == {
        "format": "siprec-recorder/1 backup",
        "generation": 1,
        "at": "2026-03-01T00:00:00.000000Z",
        "database": "sqlite",
        "customers": OWNERS,
    }
    assert [json.loads(line)["folder"][-5:] for line in folders] == ["20000", "20001"]
    assert json.loads(state)["state"]["customers/acme/tokens.json"] == [
        2,
        "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945",
    ]
    assert json.loads(end)["files"] == 7
