"""Objects are locked until a day and held; erasure knows what a lock keeps, and deletes it when the lock ends."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from storage.errors import StoreAway
from storage.keys.key_store import CustomerKeys
from storage.keys.key_tree import leaf_of
from storage.objects.s3 import S3
from storage.objects.store import Kept
from storage.timestamps import EPOCH, day_of
from storage.vault.object_compare import Comparison, compare, into_store
from storage.vault.object_vault import ObjectVault
from storage.vault.parts import PartRef
from tests.daemon.object_stores import LOCKED, SEEN, Proxy, Server, client
from tests.storage.vault.test_object_vault import ALWAYS, CALL, DAY, LEAF, OTHER, read, store_part

LATER = leaf_of(DAY, 8)


@pytest.fixture(params=["governance", "compliance"])
def store(request: pytest.FixtureRequest, object_servers: dict[str, Server], door: Proxy, prefix: str) -> S3:
    return S3(object_servers["moto"].settings(LOCKED, prefix=prefix, port=door.port, lock=request.param), SEEN)


@pytest.fixture
def vault(tmp_path: Path, keys: CustomerKeys, store: S3) -> ObjectVault:
    return ObjectVault(tmp_path / "vault", "acme", keys, store)


@pytest.fixture
def today() -> int:
    """Return the day on which a test begins; while it runs another one may begin."""
    return day_of(datetime.now(UTC))


def tomorrow() -> int:
    """Return the day after now, which may not be the day after the test began."""
    return day_of(datetime.now(UTC)) + 1


def moment(day: int) -> datetime:
    return EPOCH + timedelta(days=day)


def lock_of(vault: ObjectVault, store: S3, ref: PartRef) -> tuple[str | None, datetime | None, str | None]:
    """Return mode, date and hold of the newest version of a part's object, as the store says."""
    pointer = vault.pointer(ref)
    assert pointer is not None
    key = store.settings.prefix + str(vault.object_of(ref, pointer))
    head = client(store.settings).head_object(Bucket=LOCKED, Key=key)
    return head.get("ObjectLockMode"), head.get("ObjectLockRetainUntilDate"), head.get("ObjectLockLegalHoldStatus")


def refuses(store: S3) -> bool:
    """Return whether the store refuses to delete each version that it has."""

    def refused(name: str, id: str) -> bool:
        try:
            store.delete_version(name, id)
        except StoreAway:
            return True
        return False

    skip = len(store.settings.prefix)
    found = [each for each in store.versions("") or () if not each.marker]
    return bool(found) and all(refused(each.key[skip:], each.id) for each in found)


def test_a_part_is_locked_at_upload_and_its_lock_only_extended(vault: ObjectVault, store: S3, today: int) -> None:
    ref = store_part(vault, b"kept")
    assert vault.upload(ref, today + 10)
    mode = store.settings.lock.upper()
    assert lock_of(vault, store, ref)[:2] == (mode, moment(today + 10)) and refuses(store)
    assert vault.release(ref) and read(vault, ref) == b"kept"
    for until, then in ((today + 30, today + 30), (today + 20, today + 30), (today + 31, today + 31)):
        assert vault.lock(ref, until)
        assert lock_of(vault, store, ref)[:2] == (mode, moment(then)) and vault.pointer(ref).locked == then
    assert read(vault, ref) == b"kept" and [found for found, _ in vault.pointers(DAY)] == [ref]


def test_a_part_uploaded_without_its_date_is_locked_later(vault: ObjectVault, store: S3, today: int) -> None:
    ref = store_part(vault, b"live")
    assert vault.upload(ref) and vault.take_unlocked() == {ref} and not vault.take_unlocked()
    assert lock_of(vault, store, ref) == (None, None, None)
    assert [found for found, _ in vault.pointers(DAY)] == [ref]
    since = time.time_ns()
    assert vault.lock(ref, today + 5)
    assert [*vault.stored(since)] == [ref], "its local copy may go as early as before"
    assert [*vault.stored(ALWAYS)] == [ref] and not ref.path.is_symlink(), "the part is still here too"
    assert lock_of(vault, store, ref)[1] == moment(today + 5) and refuses(store)


def test_a_lock_that_only_the_store_knows_of_is_not_shortened(vault: ObjectVault, store: S3, today: int) -> None:
    """Pointers that were lost with a disk come back without the date."""
    ref = store_part(vault, b"kept")
    vault.upload(ref, today + 30)
    vault.mistrust(ref)
    ref.path.unlink()
    assert into_store(vault, lambda units: None).done == 1
    assert vault.pointer(ref).locked == 0 and vault.lock(ref, today + 20)
    assert lock_of(vault, store, ref)[1] == moment(today + 30)


def test_nothing_is_locked_in_a_store_not_seen_to_keep_locks(
    tmp_path: Path, keys: CustomerKeys, store: S3, door: Proxy, today: int
) -> None:
    """`rclone serve s3` overwrites a part with the XML of `?retention`."""
    unseen = S3(store.settings)
    vault = ObjectVault(tmp_path / "unseen", "acme", keys, unseen)
    ref = store_part(vault, b"x")
    assert vault.upload(ref, today + 10) and lock_of(vault, unseen, ref) == (None, None, None)
    door.play()
    unseen.put("plain", b"x", moment(today + 10))
    assert "x-amz-object-lock-mode" not in door.seen[-1][1]
    door.play()
    for ask in (lambda: vault.lock(ref, today + 10), lambda: vault.hold(ref)):
        with pytest.raises(StoreAway, match="not been seen"):
            ask()
    assert door.seen == []


def test_a_hold_is_set_and_ended_in_the_store(vault: ObjectVault, store: S3) -> None:
    ref = store_part(vault, b"held")
    assert not vault.hold(ref), "the store has nothing of it yet"
    vault.upload(ref)
    assert vault.hold(ref) and vault.hold(ref)
    assert [found.path.name for found in vault.held()] == [ref.path.name]
    assert lock_of(vault, store, ref)[2] == "ON" and refuses(store)
    vault.end_hold(vault.held()[0])
    assert vault.held() == [] and lock_of(vault, store, ref)[2] != "ON" and not refuses(store)


def test_a_hold_that_never_reached_the_store_is_asked_for_again(vault: ObjectVault, store: S3, door: Proxy) -> None:
    ref = store_part(vault, b"held")
    vault.upload(ref)
    door.play(always="503")
    with pytest.raises(StoreAway):
        vault.hold(ref)
    door.play()
    assert vault.held(), "a hold that nobody knows of would stay for ever"
    assert vault.hold(ref) and refuses(store)


def test_an_erasure_ends_our_hold_and_deletes_all_versions(vault: ObjectVault, store: S3, door: Proxy) -> None:
    ref = store_part(vault, b"gone")
    vault.upload(ref)
    vault.mistrust(ref)
    vault.upload(ref)
    vault.hold(ref)
    vault.remove_all([(CALL, LEAF)])
    door.play(always="503")
    with pytest.raises(StoreAway):
        vault.remove_objects([(CALL, LEAF)])
    door.play()
    assert vault.remove_objects([(CALL, LEAF)]) == 0
    assert store.versions("") == [] and vault.held() == [] and vault.kept([(CALL, LEAF)]) == ()


def test_what_a_lock_keeps_is_named_and_deleted_at_its_end(
    vault: ObjectVault, store: S3, door: Proxy, today: int
) -> None:
    refs = [store_part(vault, b"gone", part) for part in ("c1", "m1", "m2")]
    free = store_part(vault, b"gone", "m1", OTHER, LATER)
    for ref in refs:
        vault.upload(ref, today + 2)
    vault.upload(free)
    vault.release(refs[0])
    both = [(CALL, LEAF), (OTHER, LATER)]
    vault.remove_all(both)
    door.play()
    assert vault.remove_objects(both) == 0
    kept = vault.kept(both)
    assert [(call, each.until) for call, each in kept] == [(CALL, moment(today + 2))] * 3
    assert not [first for first, _, _ in door.seen if first.startswith("HEAD")]
    assert compare(vault) == Comparison(), "it is known, so no fault"
    assert into_store(vault, lambda units: None).parts == 0
    assert vault.delete_unlocked(today + 1) == 0 and refuses(store)
    assert vault.delete_unlocked(today + 2) == 1, "it is tried"
    assert refuses(store) and vault.kept(both) == kept, "and refused by this store, whose clock says otherwise"
    unlock(store)
    assert vault.delete_unlocked(today + 2) == 1
    assert store.versions("") == [] and vault.delete_unlocked(today + 1000) == 0


def unlock(store: S3) -> None:
    """Let the locks of all versions end; moto takes a shorter date even in compliance mode, wrongly."""
    soon = {"Mode": store.settings.lock.upper(), "RetainUntilDate": datetime.now(UTC) + timedelta(seconds=1)}
    for each in store.versions(""):
        place = {"Bucket": LOCKED, "Key": each.key, "VersionId": each.id}
        client(store.settings).put_object_retention(**place, Retention=soon, BypassGovernanceRetention=True)
    time.sleep(1.5)


def test_a_lock_extended_during_an_erasure_is_reported_as_it_is(
    vault: ObjectVault, store: S3, monkeypatch: pytest.MonkeyPatch, today: int
) -> None:
    ref = store_part(vault, b"gone")
    vault.upload(ref, today + 2)
    real = store.lock

    def erased_meanwhile(name: str, until: datetime) -> None:
        real(name, until)
        vault.remove_all([(CALL, LEAF)])

    monkeypatch.setattr(store, "lock", erased_meanwhile)
    assert not vault.lock(ref, today + 9)
    assert vault.remove_objects([(CALL, LEAF)]) == 0
    assert [each.until for _, each in vault.kept([(CALL, LEAF)])] == [moment(today + 9)]
    assert [*vault.walk()] == [] and [*vault.stored(ALWAYS)] == []


def test_a_lock_or_hold_that_others_have_set_is_named_and_left(vault: ObjectVault, store: S3, today: int) -> None:
    ref = store_part(vault, b"gone")
    vault.upload(ref)
    pointer = vault.pointer(ref)
    assert pointer is not None
    name = str(vault.object_of(ref, pointer))
    store.hold(name)
    vault.remove_all([(CALL, LEAF)])
    assert vault.remove_objects([(CALL, LEAF)]) == 0
    assert vault.kept([(CALL, LEAF)]) == ((CALL, Kept(name, None)),)
    assert vault.delete_unlocked(today) == 0 and vault.delete_unlocked(tomorrow()) == 1, "asked again every day"
    store.release(name)
    assert vault.delete_unlocked(tomorrow()) == 1 and store.versions("") == []


def test_a_store_with_locks_is_left_by_name(vault: ObjectVault, store: S3, today: int) -> None:
    one, two = store_part(vault, b"locked"), store_part(vault, b"free", "m2")
    vault.upload(one, today + 3)
    vault.upload(two)
    vault.hold(two)
    assert [(call, each.until) for call, each in vault.leave()] == [(CALL, moment(today + 3))]
    assert vault.held() == []
