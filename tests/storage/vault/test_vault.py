"""The parts of recordings: made, finished, read, verified, ended after a crash, removed.

What does not look at the bytes of a file is asked of both vaults: of the local one, and of one whose finished parts
only an object store has.
"""

import os
from pathlib import Path

import pytest

from storage.errors import DamagedPart, Forged, Forgotten, PartExists, PartMissing
from storage.keys.key_store import CustomerKeys
from storage.keys.key_tree import day_of, leaf_of
from storage.objects.s3 import S3
from storage.vault.container import HEADER, MEDIA_SEGMENT, Defect, Sealer
from storage.vault.object_vault import ObjectVault
from storage.vault.torn_tail import Outcome
from storage.vault.vault import NewPart, PartRef, Vault
from tests.daemon.object_stores import STORES
from tests.in_process.key_files import Data

DAY = 20_000
CALL = "01234567-89ab-4cde-8f01-23456789abcd"
OTHER = "76543210-89ab-4cde-8f01-23456789abcd"
LEAF = leaf_of(DAY, 7)


def keys_of(folder: Path, customer: str = "acme") -> CustomerKeys:
    data = Data(folder, customer)
    return data.open() if data.keys_dir.joinpath(f"{customer}.forget").exists() else data.create()


def vault_of(folder: Path, customer: str = "acme") -> Vault:
    return Vault(folder / "customers" / customer / "vault", customer, keys_of(folder, customer))


class OnlyStored(ObjectVault):
    """Lets the local copy of each part go as soon as it is finished."""

    def finish(self, call: str, leaf: int, part: str) -> PartRef:
        ref = super().finish(call, leaf, part)
        if self.upload(ref):
            self.release(ref)
        assert ref.path.is_symlink()
        return ref


@pytest.fixture
def local(tmp_path: Path) -> Vault:
    return vault_of(tmp_path)


@pytest.fixture(params=["file", *STORES])
def vault(request: pytest.FixtureRequest, tmp_path: Path) -> Vault:
    if request.param == "file":
        return vault_of(tmp_path)
    server, prefix = request.getfixturevalue("object_servers")[request.param], request.getfixturevalue("prefix")
    folder = tmp_path / "customers" / "acme" / "vault"
    return OnlyStored(folder, "acme", keys_of(tmp_path), S3(server.settings(prefix=prefix)))


def begin(vault: Vault, plain: bytes, part: str = "m1", call: str = CALL, leaf: int = LEAF) -> PartRef:
    """Write whole segments and stop, as a writer that dies."""
    new = vault.create(call, leaf, part)
    os.write(new.fd, Sealer(new.secret).add(plain))
    os.close(new.fd)
    return PartRef(call, leaf, part, new.path)


def end(new: NewPart, plain: bytes) -> None:
    """Write all of a part that was made."""
    os.write(new.fd, Sealer(new.secret).finish(plain))
    os.close(new.fd)


def store(vault: Vault, plain: bytes, part: str = "m1", call: str = CALL, leaf: int = LEAF) -> PartRef:
    end(vault.create(call, leaf, part), plain)
    return vault.finish(call, leaf, part)


def read(vault: Vault, ref: PartRef, live: bool = False) -> bytes:
    return b"".join(vault.read(ref, live))


def test_a_part_is_written_moved_to_its_day_and_read(local: Vault, tmp_path: Path) -> None:
    new = local.create(CALL, LEAF, "m1")
    assert new.path == tmp_path / "customers/acme/vault/open" / f"{CALL}.4e2000000007.m1"
    assert new.path.stat().st_mode & 0o777 == 0o600
    assert new.path.stat().st_size == HEADER
    plain = os.urandom(20_000)
    end(new, plain)
    ref = local.finish(CALL, LEAF, "m1")
    assert ref.path == tmp_path / f"customers/acme/vault/{DAY}" / new.path.name
    assert ref.finished
    assert local.finish(CALL, LEAF, "m1") == ref
    assert read(local, ref) == plain
    with local.open(ref) as part:
        assert (part.size, part.finished) == (ref.path.stat().st_size, True)


def test_a_draft_is_nothing_on_disk_until_it_is_made_once(vault: Vault) -> None:
    draft = vault.draft(CALL, LEAF, "c1")
    assert vault.left_open() == []
    new = vault.make(draft)
    assert (new.place, new.secret) == (draft.place, draft.secret)
    assert new.path.read_bytes() == draft.header
    with pytest.raises(PartExists):
        vault.create(CALL, LEAF, "c1")
    end(new, b"kept")
    ref = vault.finish(CALL, LEAF, "c1")
    assert str(ref.path) == draft.final
    for again in (lambda: vault.make(draft), lambda: vault.create(CALL, LEAF, "c1")):
        with pytest.raises(PartExists):
            again()
    assert read(vault, ref) == b"kept"


def test_parts_come_in_reading_order(vault: Vault) -> None:
    for part in ("a1", "m10", "m7", "m4", "m2", "c2"):  # two numbers missing in a row are borne
        store(vault, b"", part)
    begin(vault, b"", "m11")
    begin(vault, b"", "c1")
    store(vault, b"", "m1", OTHER, leaf_of(DAY, 8))
    assert [ref.part for ref in vault.parts(CALL, LEAF)] == ["c1", "c2", "m2", "m4", "m7", "m10", "m11", "a1"]
    assert [ref.part for ref in vault.left_open()] == ["c1", "m11"]
    assert vault.parts(CALL, LEAF + 1) == ()
    found = [vault.find(CALL, LEAF, part) for part in ("m2", "m11", "m3")]
    assert [ref and ref.part for ref in found] == ["m2", "m11", None]
    assert vault.size(CALL, LEAF) == 6 * (HEADER + 16) + 2 * HEADER
    late = leaf_of(DAY, 9)
    store(vault, b"12345", "m9", CALL, late)  # behind too wide a gap
    assert vault.parts(CALL, late) == () and {ref.leaf for ref in vault.walk()} == {LEAF, late, leaf_of(DAY, 8)}
    assert vault.remove(CALL, late) == 1


def test_walking_finds_every_part_and_nothing_else(vault: Vault, tmp_path: Path) -> None:
    store(vault, b"", "m1", CALL, leaf_of(DAY + 1, 1))
    store(vault, b"", "m1")
    begin(vault, b"", "m2")
    folder = tmp_path / "customers/acme/vault"
    (folder / "notes").touch()
    (folder / str(DAY) / "stray").touch()
    assert [(ref.part, ref.leaf, ref.finished) for ref in vault.walk()] == [
        ("m1", LEAF, True),
        ("m1", leaf_of(DAY + 1, 1), True),
        ("m2", LEAF, False),
    ]
    assert list(vault_of(tmp_path, "empty").walk()) == [] and vault.days() == [DAY, DAY + 1]


def test_a_part_is_found_where_it_moved(vault: Vault) -> None:
    end(vault.create(CALL, LEAF, "m1"), b"moved")
    named = vault.left_open()[0]
    vault.finish(CALL, LEAF, "m1")
    assert read(vault, named) == b"moved"
    with vault.open(named) as part:
        assert part.finished


def test_a_missing_part_is_missing(vault: Vault) -> None:
    ref = PartRef(CALL, LEAF, "m1", Path("nowhere"))
    with pytest.raises(PartMissing):
        read(vault, ref)
    with pytest.raises(PartMissing):
        vault.finish(CALL, LEAF, "m1")


def test_swapped_parts_are_refused(local: Vault, tmp_path: Path) -> None:
    beta = vault_of(tmp_path, "beta")
    first = store(local, b"first" * 2000)
    others = [
        store(local, b"other" * 2000, "m2"),
        store(local, b"other" * 2000, "m1", OTHER, LEAF),
        store(local, b"other" * 2000, "m1", CALL, leaf_of(DAY, 8)),
        store(local, b"other" * 2000, "m1", CALL, leaf_of(DAY + 1, 7)),
    ]
    whole = first.path.read_bytes()
    for ref in others:
        ref.path.write_bytes(whole)
        with pytest.raises(Forged):
            read(local, ref)
        assert list(local.verify(ref))
    moved = store(beta, b"other")
    moved.path.write_bytes(whole)
    with pytest.raises(DamagedPart):
        read(beta, moved)


def test_verification_names_the_offset(local: Vault) -> None:
    ref = store(local, os.urandom(5 * MEDIA_SEGMENT))
    assert list(local.verify(ref)) == []
    data = bytearray(ref.path.read_bytes())
    data[2 * MEDIA_SEGMENT + 17] ^= 1
    ref.path.write_bytes(data)
    assert list(local.verify(ref)) == [Defect("forged", 2 * MEDIA_SEGMENT, MEDIA_SEGMENT)]
    ref.path.write_bytes(data[:20])
    assert list(local.verify(ref)) == [Defect("torn", 20, 0)]
    ref.path.write_bytes(b"\0" + data[1:])
    assert list(local.verify(ref)) == [Defect("forged", 0, 0)]


def test_every_part_a_crash_left_is_ended_and_finished(vault: Vault) -> None:
    plain = os.urandom(3 * MEDIA_SEGMENT)
    written = {part: begin(vault, plain, part) for part in ("c1", "m1", "m2", "a1")}
    with written["m1"].path.open("ab") as file:
        file.write(b"torn tail")
    os.truncate(written["m2"].path, 30)
    done = dict(vault.recover_all(dict.fromkeys(vault.left_open())))
    assert [result.outcome for _, result in sorted(done.items(), key=lambda item: item[0].part)] == [
        Outcome.ENDED,
        Outcome.ENDED,
        Outcome.ENDED,
        Outcome.EMPTY,
    ]
    for ref in vault.left_open():
        vault.finish(ref.call, ref.leaf, ref.part)
    for ref in vault.parts(CALL, LEAF):
        assert plain.startswith(read(vault, ref))
        assert list(vault.verify(ref)) == []
        assert (len(read(vault, ref)) > 2 * 4000) == (ref.part != "m2")


def test_a_finished_part_is_never_opened_for_writing(local: Vault) -> None:
    ref = store(local, os.urandom(20_000))
    damaged = ref.path.read_bytes()[:-50]
    ref.path.write_bytes(damaged)
    before = ref.path.stat().st_mtime_ns
    assert local.recover(ref, 40).outcome is Outcome.WHOLE
    assert ref.path.read_bytes() == damaged
    assert ref.path.stat().st_mtime_ns == before


def test_erased_recordings_open_nothing_more_and_are_removed(vault: Vault, tmp_path: Path) -> None:
    store(vault, b"gone", "m1")
    begin(vault, b"gone", "c1")
    kept = store(vault, b"kept", "m1", OTHER, leaf_of(DAY, 8))
    keys_of(tmp_path).cut(LEAF)  # by another process
    for ref in vault.parts(CALL, LEAF):
        with pytest.raises(Forgotten):
            read(vault, ref)
        with pytest.raises(Forgotten):
            list(vault.verify(ref))
    with pytest.raises(Forgotten):
        vault.create(CALL, LEAF, "m2")
    with pytest.raises(Forgotten):
        vault.recover(vault.left_open()[0])
    assert vault.remove(CALL, LEAF) == 2
    assert vault.remove(CALL, LEAF) == 0
    assert list(vault.walk()) == [kept]
    assert read(vault, kept) == b"kept"


def test_a_recording_erased_while_it_is_read_yields_no_more(vault: Vault) -> None:
    reading = vault.read(store(vault, bytes(1 << 20)))
    assert next(reading)
    vault._keys.cut(LEAF)
    with pytest.raises(Forgotten):
        next(reading)


def test_a_call_of_many_parts_is_one_recording(vault: Vault) -> None:
    """A live call of five and a half hours, when an object store gets a part every five minutes."""
    names = [f"{kind}{number}" for kind in "cm" for number in range(1, 67)]
    for part in names:
        store(vault, part.encode(), part)
    found = vault.parts(CALL, LEAF)
    assert [ref.part for ref in found] == names
    assert b"".join(read(vault, ref) for ref in found) == "".join(names).encode()
    assert [list(vault.verify(ref)) for ref in found] == [[]] * len(names)
    whole = sum(vault.size_of(ref) for ref in found)
    assert vault.size(CALL, LEAF) == vault.size(CALL, LEAF, names) == whole
    assert {ref.part for ref in vault.of_day(DAY)} == set(names)
    assert vault.remove(CALL, LEAF) == len(names) and vault.remove_objects([(CALL, LEAF)]) == 0
    assert vault.parts(CALL, LEAF) == () == vault.kept([(CALL, LEAF)]) and vault.size(CALL, LEAF) == 0


def test_a_part_that_nobody_was_told_of_is_dropped(vault: Vault) -> None:
    ref, kept = store(vault, b"told to nobody", "a1"), store(vault, b"kept", "m1")
    vault.drop(ref)
    vault.drop(ref)
    assert list(vault.walk()) == [kept] and read(vault, kept) == b"kept"


def test_parts_since_a_day_include_those_being_written(vault: Vault) -> None:
    for number in range(4):
        store(vault, b"", "m1", CALL, leaf_of(DAY + number, 1))
        begin(vault, b"", "m2", CALL, leaf_of(DAY + number, 1))
    assert sorted((day_of(ref.leaf) - DAY, ref.part) for ref in vault.since(DAY + 2)) == [
        (2, "m1"),
        (2, "m2"),
        (3, "m1"),
        (3, "m2"),
    ]


def test_a_header_that_the_kernel_takes_in_pieces_is_whole(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:7]))
    new = vault.create(CALL, LEAF, "m1")
    monkeypatch.undo()
    end(new, b"sound")
    assert read(vault, vault.finish(CALL, LEAF, "m1")) == b"sound"
