"""The commands for the object store, on real ones."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from recorder.maintenance.verify import LACKING
from recorder.persist.instance_lock import node_lock
from storage.customer.customers import Customer
from storage.objects import probe
from storage.objects.s3 import S3
from storage.vault.object_vault import ObjectVault
from tests.daemon.object_stores import BUCKET, KEY, LOCKED, SECRET, Proxy, Server
from tests.in_process.command_line import Answer, Place, Printed
from tests.in_process.storage_node import record

FEATURES = ("range", "checksum", "list", "delete", "versions", "lock", "create_only")


@pytest.fixture(autouse=True)
def short_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "LOCK_SECONDS", 3)


def describe(
    place: Place,
    server: Server,
    prefix: str,
    bucket: str = BUCKET,
    port: int = 0,
    media: str = "file",
    lock: str = "off",
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
lock = "{lock}"
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


def test_every_store_of_the_configuration_is_tried(
    place: Place, answer: Answer, printed: Printed, object_servers: dict[str, Server], prefix: str
) -> None:
    describe(place, object_servers["rclone"], prefix)
    text = place.config.read_text()
    own = f'endpoint = "http://127.0.0.1:{object_servers["moto"].port}"\nbucket = "{LOCKED}"\n'
    place.config.write_text(text.replace('name = "acme"\n', f'name = "acme"\n{own}', 1))
    told = answer("store", "check")
    assert told["ok"] and [each["bucket"] for each in told["stores"]] == [BUCKET, LOCKED]
    assert told["features"] == told["stores"][0]["features"]
    assert [each["features"]["lock"] for each in told["stores"]] == [False, True]
    out, _ = printed("store", "check")
    assert f"bucket {LOCKED}" in out and "These object stores can be used" in out


def test_a_lock_needs_a_check_that_saw_the_store_keep_one(
    place: Place, answer: Answer, printed: Printed, object_servers: dict[str, Server], prefix: str
) -> None:
    def refused(status: int) -> list[str]:
        told = answer("check-config", "--start", status=status)["faults"]
        return [each["right"] for each in told if each["key"] == "storage.lock" and each["line"]]

    server = object_servers["moto"]
    describe(place, server, prefix, LOCKED, media="s3", lock="compliance")
    assert "store check" in refused(3)[0]
    assert answer("store", "check")["ok"]
    assert refused(0) == []
    describe(place, server, prefix, media="s3", lock="compliance")
    assert refused(3), "another bucket"
    _, err = printed("store", "check", status=1)
    assert "with a lock" in err and refused(3)
    describe(place, server, prefix, media="s3", lock="off")
    assert answer("store", "check")["ok"] and refused(0) == []
    place.configure(more='[storage]\nlock = "governance"\n')
    assert refused(2), "without an object store"


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


def one_call(place: Place) -> tuple[str, bytes]:
    """Record a call of two parts; return its id and everything that its parts hold."""

    async def work(acme: Customer) -> tuple[str, bytes]:
        row = await record(acme)
        return row.id, b"".join(data for ref in acme.vault.parts(row.id, row.leaf) for data in acme.vault.read(ref))

    return place.do(work)


def heard(place: Place, call: str) -> bytes:
    async def work(acme: Customer) -> bytes:
        row = await acme.calls.get(call)
        return b"".join(data for ref in acme.vault.parts(call, row.leaf) for data in acme.vault.read(ref))

    return place.do(work)


def vault_files(place: Place) -> list[Path]:
    found = (place.data / "customers/acme/vault").rglob("*.[cm]1")
    return sorted(path for path in found if path.parent.parent.name != "stored")


def test_recordings_move_there_and_back_and_verify(
    place: Place, answer: Answer, printed: Printed, object_server: Server, prefix: str
) -> None:
    describe(place, object_server, prefix)
    call, sound = one_call(place)
    place.configure()
    describe(place, object_server, prefix, media="s3")
    assert answer("store", "move") == {"parts": 2, "done": 2, "failed": 0}
    assert answer("store", "move") == {"parts": 0, "done": 0, "failed": 0}
    store = S3(object_server.settings(prefix=prefix))
    assert len(list(store.listing("acme/"))) == 2

    async def let_go(acme: Customer) -> None:
        vault = acme.vault
        assert isinstance(vault, ObjectVault)
        await asyncio.to_thread(lambda: [vault.release(ref) for ref in list(vault.stored(1 << 63))])

    place.do(let_go)
    assert all(path.is_symlink() for path in vault_files(place))
    assert heard(place, call) == sound
    for more in ((), ("--sample", "1"), ("--sample", "0")):
        told = answer("verify", *more, status=1)
        assert told["parts"] == (2 if not more else int(more[1]))
        assert [each["kind"] for each in told["defects"]] == [LACKING]  # the row of the test claims more than there is

    gone = next(store.listing("acme/")).name
    store.remove(gone, lambda name: name == gone)
    kinds = [each["kind"] for each in answer("verify", status=1)["defects"]]
    assert kinds.count("the object store lacks it") == 1
    assert answer("store", "move", status=1)["failed"] == 1

    describe(place, object_server, prefix, media="file")
    assert answer("store", "move", status=1)["failed"] == 1  # what is lost stays noted
    assert not any(path.is_symlink() for path in vault_files(place)[1:])


def test_a_vault_comes_back_whole_and_the_store_is_empty(
    place: Place, answer: Answer, printed: Printed, object_server: Server, prefix: str
) -> None:
    describe(place, object_server, prefix, media="s3")
    call, sound = one_call(place)
    answer("store", "move")
    place.configure()
    _, err = printed("check-config", status=2)
    assert "storage.media" in err and "store move" in err
    describe(place, object_server, prefix, media="file")
    assert heard(place, call) == sound
    answer("store", "move")
    assert heard(place, call) == sound
    assert list(S3(object_server.settings(prefix=prefix)).listing("")) == []
    place.configure()
    printed("check-config")
    assert heard(place, call) == sound


def test_a_move_is_refused_until_the_recorder_knows_the_store(
    place: Place, printed: Printed, object_servers: dict[str, Server], prefix: str
) -> None:
    describe(place, object_servers["moto"], prefix, media="s3")
    with node_lock(place.settings()):
        _, err = printed("store", "move", status=3)
    assert "Restart" in err


def test_a_move_stops_when_it_is_told_to(
    place: Place, answer: Answer, object_servers: dict[str, Server], prefix: str
) -> None:
    with closing(Proxy(object_servers["moto"].port)) as proxy:
        describe(place, object_servers["moto"], prefix, media="s3", port=proxy.port)
        call, sound = one_call(place)
        proxy.play(always="slow25")
        command = [sys.executable, "-m", "recorder", "store", "move", "--config", str(place.config)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as moving:
            while not proxy.seen:
                time.sleep(0.05)
            began = time.monotonic()
            moving.send_signal(signal.SIGINT)
            assert moving.wait(20) in (130, 3) and time.monotonic() - began < 10
            assert moving.stderr is not None and "Traceback" not in moving.stderr.read()
        proxy.play()
        assert answer("store", "move")["failed"] == 0 and heard(place, call) == sound


def test_a_store_that_is_away_ends_verify_and_move(
    place: Place, printed: Printed, object_servers: dict[str, Server], prefix: str
) -> None:
    describe(place, object_servers["moto"], prefix, media="s3", port=9)
    one_call(place)
    for command in (("verify",), ("store", "move")):
        _, err = printed(*command, status=3)
        assert "object store" in err
