"""A store is judged by what it does to scratch objects, and what is written for that is removed."""

import pytest

from storage.errors import StoreAway
from storage.objects import probe
from storage.objects.s3 import S3
from storage.objects.store import Features
from tests.daemon.object_stores import BUCKET, LOCKED, Proxy, Server


@pytest.fixture(autouse=True)
def short_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "LOCK_SECONDS", 3)


def seen(**there: bool) -> Features:
    nothing = dict.fromkeys(("range", "checksum", "versions", "lock", "create_only"), False)
    return Features(**{"list": True, "delete": True, **nothing, **there})


@pytest.mark.parametrize(
    ("kind", "bucket", "features"),
    [
        ("rclone", BUCKET, seen()),
        ("moto", BUCKET, seen(range=True, create_only=True)),
        ("moto", LOCKED, seen(range=True, create_only=True, versions=True, lock=True)),
    ],
)
def test_a_store_is_seen_as_it_is(
    object_servers: dict[str, Server], prefix: str, kind: str, bucket: str, features: Features
) -> None:
    store = S3(object_servers[kind].settings(bucket, prefix=prefix))
    assert probe.probe(store) == features
    assert list(store.listing("")) == []
    assert not store.versions("")
    assert probe.usable(features)
    assert set(probe.lacking(features)) == {"checksum", *({"lock", "versions"} if not features.lock else ())} | (
        {"range", "create_only"} if kind == "rclone" else set()
    )


def test_a_store_that_returns_other_bytes_is_refused(object_server: Server, proxy: Proxy, prefix: str) -> None:
    proxy.play("flip")
    with pytest.raises(StoreAway, match="bytes other than those written"):
        probe.probe(S3(object_server.settings(prefix=prefix, port=proxy.port)))
    assert list(S3(object_server.settings(prefix=prefix)).listing("")) == []


def test_a_store_that_is_away_cannot_be_tried(object_server: Server, proxy: Proxy) -> None:
    proxy.play(always="503")
    with pytest.raises(StoreAway):
        probe.probe(S3(object_server.settings(port=proxy.port)))


def test_a_store_that_keeps_what_was_deleted_cannot_be_used(
    object_server: Server, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = S3.remove
    monkeypatch.setattr(
        S3, "remove", lambda self, prefix, wanted: (0, ()) if "deleted" in prefix else real(self, prefix, wanted)
    )
    features = probe.probe(S3(object_server.settings(prefix=prefix)))
    assert not features.delete and not probe.usable(features)
    monkeypatch.undo()
    S3(object_server.settings(prefix=prefix)).remove("", lambda name: True)
