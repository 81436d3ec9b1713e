"""Parts go to an object store and their local copies go later; at no moment does a part exist nowhere."""

import os
import random
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from mmap import mmap
from pathlib import Path

import pytest

from storage.errors import DamagedPart, StoreAway
from storage.keys.key_store import CustomerKeys
from storage.keys.key_tree import leaf_of
from storage.objects.s3 import CHUNK, S3
from storage.objects.store import Kept, Known, StoredObject, nothing_known
from storage.vault import object_vault
from storage.vault.container import Sealer
from storage.vault.object_compare import Moved, compare, into_folder, into_store
from storage.vault.object_vault import ObjectVault, PartObject, Pointer
from storage.vault.parts import PartRef
from tests.daemon.object_stores import LOCKED, Proxy, Server

DAY = 20_000
CALL = "01234567-89ab-4cde-8f01-23456789abcd"
OTHER = "76543210-89ab-4cde-8f01-23456789abcd"
LEAF = leaf_of(DAY, 7)
ALWAYS = 1 << 63


def store_part(vault: ObjectVault, plain: bytes, part: str = "m1", call: str = CALL, leaf: int = LEAF) -> PartRef:
    new = vault.create(call, leaf, part)
    os.write(new.fd, Sealer(new.secret).finish(plain))
    os.close(new.fd)
    return vault.finish(call, leaf, part)


def read(vault: ObjectVault, ref: PartRef) -> bytes:
    return b"".join(vault.read(ref))


def nothing(units: float) -> None:
    """Take no notice of progress."""


@pytest.fixture
def store(object_server: Server, proxy: Proxy, prefix: str) -> S3:
    return S3(object_server.settings(prefix=prefix, port=proxy.port))


@pytest.fixture
def vault(tmp_path: Path, keys: CustomerKeys, store: S3) -> ObjectVault:
    return ObjectVault(tmp_path / "customers" / "acme" / "vault", "acme", keys, store)


def names(vault: ObjectVault) -> list[str]:
    return sorted(each.name for each in vault.objects.listing("acme/"))


def test_pointers_and_object_names_are_read_as_written() -> None:
    pointer = Pointer(os.urandom(32), 5 << 30)
    assert Pointer.parse(str(pointer)) == pointer
    assert len(str(Pointer(bytes(32), 10**11 - 1))) <= 59  # ext4 keeps it in the inode
    for wrong in ("", "s3:x.1", str(pointer) + "0" * 15, "../" + str(pointer)):
        assert Pointer.parse(wrong) is None
    part = PartObject("acme", CALL, LEAF, "m1", bytes(32))
    assert str(part) == f"acme/4e2000000007/{CALL}.m1-{'00' * 32}"
    assert PartObject.parse(str(part)) == part
    assert PartObject.parse("acme/check") is None


def test_a_part_goes_to_the_store_and_later_only_there(vault: ObjectVault) -> None:
    plain = os.urandom(100_000)
    ref = store_part(vault, plain)
    sealed = ref.path.read_bytes()
    assert [*vault.waiting()] == [ref] and vault.waiting_of(DAY, 9) == (1, [ref]) and names(vault) == []
    assert vault.upload(ref)
    assert [*vault.waiting()] == [] and vault.waiting_of(DAY, 9) == (0, [])
    (name,) = names(vault)
    assert PartObject.parse(name) and not any(word in name for word in ("+49", "sip:"))
    assert [*vault.stored(ALWAYS)] == [ref] and [*vault.stored(0)] == []
    assert vault.release(ref)
    assert ref.path.is_symlink() and not ref.path.exists()
    assert vault.size(CALL, LEAF) == len(sealed) == vault.size_of(ref)
    assert [*vault.walk()] == [ref] and vault.find(CALL, LEAF, "m1") == ref
    assert read(vault, ref) == plain and list(vault.verify(ref)) == []
    assert [*vault.waiting()] == [] and [*vault.stored(ALWAYS)] == []
    assert vault.recall(ref) and not vault.recall(ref)
    assert ref.path.read_bytes() == sealed and [*vault.stored(ALWAYS)] == [ref]


def test_a_long_part_is_fetched_once_in_ranges_and_then_kept(vault: ObjectVault, proxy: Proxy) -> None:
    plain = os.urandom(2 * CHUNK + 12_345)
    ref = store_part(vault, plain)
    vault.upload(ref)
    vault.release(ref)
    proxy.play()
    assert read(vault, ref) == plain
    asked = [headers.get("range") for first, headers, _ in proxy.seen if first.startswith("GET")]
    assert [each for each in asked if each]
    proxy.play()
    assert read(vault, ref) == plain
    assert proxy.seen == []
    opened = len(os.listdir("/proc/self/fd"))
    vault.remove(CALL, LEAF)
    assert len(os.listdir("/proc/self/fd")) < opened


def test_few_fetched_parts_are_kept(vault: ObjectVault, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_vault, "FETCHED_PARTS", 3)
    refs = [store_part(vault, b"%d" % number, f"m{number}") for number in range(1, 9)]
    before = len(os.listdir("/proc/self/fd"))
    for number, ref in enumerate(refs, 1):
        vault.upload(ref)
        vault.release(ref)
        assert read(vault, ref) == b"%d" % number
    assert len(os.listdir("/proc/self/fd")) - before < 12
    proxy.play()
    asked = [bool(read(vault, ref)) and len(proxy.seen) for ref in reversed(refs)]
    assert asked[:3] == [0, 0, 0] < asked[3:4]


@pytest.mark.parametrize("fault", ["503", "reset", "flip", "swallow", "lost"])
def test_what_the_store_does_not_have_stays_here_and_waits(vault: ObjectVault, proxy: Proxy, fault: str) -> None:
    ref = store_part(vault, b"kept")
    proxy.play(always=fault)
    with pytest.raises(StoreAway):
        vault.upload(ref)
    assert [*vault.waiting()] == [ref] and not ref.path.is_symlink()
    proxy.play()
    assert vault.upload(ref) and len(names(vault)) == (2 if fault == "flip" else 1) - (fault == "flip")
    proxy.play(always="503" if fault == "503" else "reset")
    with pytest.raises(StoreAway):
        vault.release(ref)
    assert ref.path.exists() and not ref.path.is_symlink()


def test_bytes_altered_by_the_store_never_replace_local_ones(vault: ObjectVault, proxy: Proxy) -> None:
    """A store that answers 200 to anything: its ETag is that of what it has, so the copy here stays."""
    ref = store_part(vault, b"kept" * 1000)
    proxy.play("flip", always="flip")
    with pytest.raises(StoreAway):
        vault.upload(ref)
    proxy.play()
    assert vault.upload(ref) and vault.release(ref)
    assert read(vault, ref) == b"kept" * 1000


def test_a_part_that_the_store_lost_is_kept_and_uploaded_again(vault: ObjectVault) -> None:
    ref = store_part(vault, b"kept")
    vault.upload(ref)
    vault.objects.remove("acme/", lambda name: True)
    assert not vault.release(ref)
    assert [*vault.waiting()] == [ref] and read(vault, ref) == b"kept"


def test_a_part_that_only_the_store_had_and_altered_is_damaged(vault: ObjectVault) -> None:
    ref = store_part(vault, b"kept" * 100)
    sealed = bytearray(ref.path.read_bytes())
    vault.upload(ref)
    vault.release(ref)
    (name,) = names(vault)
    sealed[50] ^= 1
    vault.objects.put(name, bytes(sealed))
    for ask in (read, ObjectVault.recall):
        with pytest.raises(DamagedPart):
            ask(vault, ref)
    assert ref.path.is_symlink() and into_folder(vault, nothing) == Moved(1, 0, 1) and names(vault) == [name]
    vault.objects.remove("acme/", lambda found: True)
    with pytest.raises(DamagedPart):
        read(vault, ref)
    assert list(vault.verify(ref))


def test_an_erased_recording_leaves_no_part_pointer_or_object(vault: ObjectVault) -> None:
    gone = [store_part(vault, b"gone", part) for part in ("c1", "m1", "m2")]
    kept = store_part(vault, b"kept", "m1", OTHER, leaf_of(DAY, 8))
    for ref in (*gone, kept):
        vault.upload(ref)
    vault.release(gone[1])
    assert vault.remove_all([(CALL, LEAF)]) == 3
    assert vault.remove_objects([(CALL, LEAF)]) == 0
    assert [*vault.walk()] == [kept] and [*vault.stored(ALWAYS)] == [kept]
    assert len(names(vault)) == 1 and vault.kept([(CALL, LEAF)]) == ()
    assert read(vault, kept) == b"kept"


def test_one_listing_finds_many_erased_recordings_of_a_day(
    vault: ObjectVault, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_vault, "FEW", 2)
    for number in range(1, 6):
        vault.upload(store_part(vault, b"x", "m1", CALL, leaf_of(DAY, number)))
    vault.upload(store_part(vault, b"x", "m1", CALL, leaf_of(DAY + 1, 1)))
    proxy.play()
    assert vault.remove_objects([(CALL, leaf_of(DAY, number)) for number in (1, 2, 3, 4)]) == 0
    assert len(proxy.seen) <= 8
    left = {PartObject.parse(name).leaf for name in names(vault)}
    assert left == {leaf_of(DAY, 5), leaf_of(DAY + 1, 1)}


def test_an_erasure_waits_for_a_running_upload_and_removes_it(vault: ObjectVault, proxy: Proxy) -> None:
    ref = store_part(vault, b"gone")
    proxy.play("slow3")
    uploading = threading.Thread(target=vault.upload, args=(ref,))
    uploading.start()
    while not proxy.seen:
        pass
    vault.remove_all([(CALL, LEAF)])
    assert vault.remove_objects([(CALL, LEAF)]) == 0
    assert not vault.in_use.any(), "what lands after an erasure is done was not erased"
    uploading.join()
    assert names(vault) == [] and [*vault.walk()] == [] and [*vault.stored(ALWAYS)] == []


def test_an_upload_deletes_what_another_process_has_erased(
    tmp_path: Path, vault: ObjectVault, keys: CustomerKeys, proxy: Proxy
) -> None:
    ref = store_part(vault, b"gone")
    proxy.play("slow1")
    uploading = threading.Thread(target=vault.upload, args=(ref,))
    uploading.start()
    while not proxy.seen:
        pass
    ObjectVault(tmp_path / "customers" / "acme" / "vault", "acme", keys, vault.objects).remove_all([(CALL, LEAF)])
    uploading.join()
    assert names(vault) == [] and [*vault.stored(ALWAYS)] == []


def test_a_store_that_is_away_keeps_erasure_open(vault: ObjectVault, proxy: Proxy) -> None:
    vault.upload(store_part(vault, b"gone"))
    proxy.play(always="503")
    assert vault.remove_all([(CALL, LEAF)]) == 1
    with pytest.raises(StoreAway):
        vault.remove_objects([(CALL, LEAF)])
    proxy.play()
    assert vault.remove_objects([(CALL, LEAF)]) == 0
    assert names(vault) == []


def test_what_a_lock_keeps_is_named_with_its_date(
    tmp_path: Path, keys: CustomerKeys, object_servers: dict[str, Server], prefix: str
) -> None:
    store = S3(object_servers["moto"].settings(LOCKED, prefix=prefix))
    vault = ObjectVault(tmp_path / "vault", "acme", keys, store)
    ref = store_part(vault, b"gone")
    vault.upload(ref)
    until = datetime(2099, 1, 1, tzinfo=UTC)
    (name,) = names(vault)
    store.put_locked(name, ref.path.read_bytes(), "governance", until)
    vault.upload(store_part(vault, b"x", "m1", OTHER, leaf_of(DAY, 8)))
    both = [(CALL, LEAF), (OTHER, leaf_of(DAY, 8))]
    vault.remove_all(both)
    assert vault.remove_objects(both) == 0
    assert vault.kept(both) == ((CALL, Kept(name, until)),)


# --- compare, mend, move ---------------------------------------------------------------------------------------------


def test_what_one_side_lacks_is_restored_from_the_other(vault: ObjectVault, keys: CustomerKeys) -> None:
    both = store_part(vault, b"both", "m1")
    away = store_part(vault, b"away", "m2")
    lost = store_part(vault, b"lost", "m3")
    unnoted = store_part(vault, b"unnoted", "m4")
    erased = store_part(vault, b"erased", "m1", OTHER, leaf_of(DAY, 8))
    for ref in (both, away, lost, unnoted, erased):
        vault.upload(ref)
    for ref in (away, lost, unnoted):
        vault.release(ref)
    assert compare(vault).missing == [] and compare(vault).unknown == []
    unnoted.path.unlink()  # a disk that was lost
    erased.path.unlink()
    vault.mistrust(erased)
    keys.cut(erased.leaf)
    for ref in (both, lost):
        pointer = vault.pointer(ref)
        assert pointer is not None
        vault.objects.remove(str(vault.object_of(ref, pointer)), lambda name: True)
    found = compare(vault)
    assert sorted(ref.part for ref, here in found.missing if here) == ["m1"]
    assert sorted(ref.part for ref, here in found.missing if not here) == ["m3"]
    assert sorted(each.part for each, _ in found.unknown) == ["m1", "m4"]
    moved = into_store(vault, nothing)
    assert moved.failed == 1 and moved.done == 2
    assert read(vault, unnoted) == b"unnoted"
    found = compare(vault)
    assert [ref.part for ref, _ in found.missing] == ["m3"] and found.unknown == []


def test_everything_goes_there_and_back_and_leaves_nothing(tmp_path: Path, vault: ObjectVault) -> None:
    refs = [store_part(vault, b"%d" % number, f"m{number}") for number in range(1, 8)]
    before = {ref.path.name: ref.path.read_bytes() for ref in refs}
    assert into_store(vault, nothing) == Moved(7, 7, 0)
    assert into_store(vault, nothing) == Moved(0, 0, 0)
    for ref in refs[:5]:
        vault.release(ref)
    assert into_folder(vault, nothing) == Moved(5, 5, 0)
    assert {ref.path.name: ref.path.read_bytes() for ref in vault.walk()} == before
    assert names(vault) == [] and not list(tmp_path.rglob("stored"))
    assert [*vault.waiting()] == refs


def test_a_move_that_is_cut_off_at_any_request_is_continued(vault: ObjectVault, proxy: Proxy) -> None:
    refs = [store_part(vault, b"%d" % number, f"m{number}") for number in range(1, 4)]
    before = {ref.path.name: ref.path.read_bytes() for ref in refs}
    for move in (into_store, into_folder):
        for good in range(1, 30):
            proxy.play(*["pass"] * good, always="403")
            try:
                move(vault, nothing)
            except StoreAway:
                continue
            break
        else:
            raise AssertionError("it never got through")
        proxy.play()
        for ref in refs:
            if move is into_store:
                vault.release(ref)
            assert read(vault, ref) in (b"1", b"2", b"3")
    assert {ref.path.name: ref.path.read_bytes() for ref in vault.walk()} == before
    assert names(vault) == []


def test_a_customer_who_goes_leaves_nothing_in_the_store(
    tmp_path: Path, keys: CustomerKeys, object_servers: dict[str, Server], prefix: str
) -> None:
    store = S3(object_servers["moto"].settings(LOCKED, prefix=prefix))
    vault = ObjectVault(tmp_path / "vault", "acme", keys, store)
    for number in range(1, 4):
        ref = store_part(vault, b"gone", f"m{number}")
        vault.upload(ref)
        store.put(str(vault.object_of(ref, Pointer(bytes(32), 4))), b"gone")
    store.put("acme-2/4e2000000007/kept", b"another customer's")
    assert vault.leave() == ()
    assert {each.key.removeprefix(prefix).split("/")[0] for each in store.versions("") or ()} == {"acme-2"}


class Faulty:
    """A store that fails before or after it has done what it was asked, by chance."""

    def __init__(self, chance: random.Random) -> None:
        self.objects: dict[str, bytes] = {}
        self._chance = chance
        self.well = False
        self.locks = False

    def _now(self) -> None:
        if not self.well and self._chance.random() < 0.3:
            raise StoreAway("by chance")

    def put(self, name: str, data: bytes | mmap, until: datetime | None = None) -> bool:
        self._now()
        whole = bytes(data)
        if not self.well and self._chance.random() < 0.2:
            whole = whole[:-1]
            self.objects[name] = whole
            return False
        self.objects[name] = whole
        self._now()
        return self._chance.random() < 0.5

    def size(self, name: str) -> int | None:
        self._now()
        return len(self.objects[name]) if name in self.objects else None

    def read(self, name: str, size: int, take: Callable[[bytes], object]) -> None:
        self._now()
        take(self.objects.get(name, b""))

    def listing(self, prefix: str) -> Iterator[StoredObject]:
        self._now()
        yield from [StoredObject(name, len(data)) for name, data in self.objects.items() if name.startswith(prefix)]

    def lock(self, name: str, until: datetime) -> None:
        raise AssertionError("nothing here locks")

    def hold(self, name: str) -> None:
        raise AssertionError("nothing here locks")

    def release(self, name: str) -> None:
        raise AssertionError("nothing here locks")

    def remove(
        self, prefix: str, wanted: Callable[[str], bool], known: Known = nothing_known
    ) -> tuple[int, tuple[Kept, ...]]:
        self._now()
        found = [name for name in self.objects if name.startswith(prefix) and wanted(name)]
        for name in found:
            del self.objects[name]
            self._now()
        return len(found), ()

    def kept(self, prefix: str, wanted: Callable[[str], bool], known: Known = nothing_known) -> tuple[Kept, ...]:
        return ()


@pytest.mark.parametrize("seed", range(20))
def test_no_schedule_of_faults_loses_data_or_keeps_erased_data(tmp_path: Path, keys: CustomerKeys, seed: int) -> None:
    schedule(tmp_path, keys, seed, 60)


@pytest.mark.torture
@pytest.mark.parametrize("seed", range(1000, 1100))
def test_many_schedules_of_faults(tmp_path: Path, keys: CustomerKeys, seed: int) -> None:
    schedule(tmp_path, keys, seed, 300)


def schedule(tmp_path: Path, keys: CustomerKeys, seed: int, steps: int) -> None:
    chance = random.Random(seed)
    store = Faulty(chance)
    folder = tmp_path / "vault"
    vault = ObjectVault(folder, "acme", keys, store)
    parts: dict[PartRef, bytes] = {}
    erased: set[int] = set()
    for number in range(1, steps + 1):
        if chance.random() < 0.1:
            vault = ObjectVault(folder, "acme", keys, store)  # after a kill
        try:
            match chance.randrange(6):
                case 0 | 1:
                    leaf = leaf_of(DAY + chance.randrange(2), number)
                    parts[store_part(vault, b"%d" % number, "m1", CALL, leaf)] = b"%d" % number
                case 2:
                    for ref in vault.waiting():
                        vault.upload(ref)
                case 3:
                    for ref in vault.stored(ALWAYS):
                        vault.release(ref)
                case 4:
                    into_store(vault, nothing) if chance.random() < 0.5 else into_folder(vault, nothing)
                case 5 if parts:
                    ref = chance.choice(list(parts))
                    erased.add(ref.leaf)
                    del parts[ref]
                    keys.cut(ref.leaf)
                    vault.remove_all([(CALL, ref.leaf)])
                    vault.remove_objects([(CALL, ref.leaf)])
        except StoreAway:
            pass
        assert {ref.path.name for ref in vault.walk()} == {ref.path.name for ref in parts}
    store.well = True
    for ref, plain in parts.items():
        assert read(vault, ref) == plain
    for leaf in erased:
        assert vault.remove_all([(CALL, leaf)]) == 0
        assert vault.remove_objects([(CALL, leaf)]) == 0
    assert into_store(vault, nothing).failed == 0
    for ref in [*vault.stored(ALWAYS)]:
        assert vault.release(ref)
    assert all(read(vault, ref) == plain for ref, plain in parts.items())
    assert {PartObject.parse(name).leaf for name in store.objects} == {ref.leaf for ref in parts}
