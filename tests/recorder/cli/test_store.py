"""The commands for the object store, on real ones."""

from __future__ import annotations

import pytest

from storage.objects import probe
from storage.objects.s3 import S3
from tests.daemon.object_stores import BUCKET, KEY, LOCKED, SECRET, Server
from tests.in_process.command_line import Answer, Place, Printed

FEATURES = ("range", "checksum", "list", "delete", "versions", "lock", "create_only")


@pytest.fixture(autouse=True)
def short_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "LOCK_SECONDS", 3)


def describe(
    place: Place, server: Server, prefix: str, bucket: str = BUCKET, port: int = 0, media: str = "file"
) -> None:
    """Write a configuration with an object store."""
    for name, secret in (("id", KEY), ("secret", SECRET)):
        (place.folder / name).write_text(secret)
        (place.folder / name).chmod(0o600)
    place.configure(
        more=f"""
[storage]
media = "{media}"
endpoint = "http://127.0.0.1:{port or server.port}"
bucket = "{bucket}"
prefix = "{prefix}"
access_key = "file:{place.folder}/id"
secret_key = "file:{place.folder}/secret"
path_style = true
"""
    )


def test_a_check_says_what_the_store_does_and_leaves_nothing(
    place: Place, answer: Answer, printed: Printed, object_server: Server, prefix: str
) -> None:
    describe(place, object_server, prefix)
    told = answer("store", "check")
    assert told["ok"] and tuple(told["features"]) == FEATURES
    assert told["features"]["range"] == (object_server.kind == "moto")
    out, _ = printed("store", "check")
    assert "MD5" in out and "can be used" in out
    assert list(S3(object_server.settings(prefix=prefix)).listing("")) == []


def test_a_bucket_with_locks_is_seen_and_left_clean(
    place: Place, answer: Answer, object_servers: dict[str, Server], prefix: str
) -> None:
    describe(place, object_servers["moto"], prefix, LOCKED)
    features = answer("store", "check")["features"]
    assert features["lock"] and features["versions"]
    assert S3(object_servers["moto"].settings(LOCKED, prefix=prefix)).versions("") == []


def test_a_store_that_cannot_be_used_is_refused(
    place: Place,
    answer: Answer,
    printed: Printed,
    object_servers: dict[str, Server],
    prefix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    describe(place, object_servers["moto"], prefix)
    monkeypatch.setattr(S3, "listing", lambda self, prefix: iter(()))
    assert not answer("store", "check", status=1)["ok"]
    _, err = printed("store", "check", status=1)
    assert "cannot be used" in err


def test_a_store_that_is_away_and_one_that_is_not_described(
    place: Place, printed: Printed, object_servers: dict[str, Server], prefix: str
) -> None:
    _, err = printed("store", "check", status=2)
    assert "endpoint" in err
    describe(place, object_servers["moto"], prefix, port=9)
    _, err = printed("store", "check", status=3)
    assert "object store" in err and SECRET not in err
