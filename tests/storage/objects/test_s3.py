"""An object store is written, read, listed and emptied, on two real servers; what fails says so and tells no secret."""

import hashlib
import os
import re
import sys
import threading
import time
from pathlib import Path

import pytest

from storage import extras
from storage.errors import DriverMissing, NoSpace, ObjectMissing, StoreAway
from storage.objects import s3
from storage.objects.s3 import S3
from storage.objects.store import Features, StoredObject
from tests.daemon.object_stores import KEY, LOCKED, SECRET, Proxy, Server, client, object_store
from tests.in_process.certificates import Authority

TRUSTED = Features(range=True, checksum=True, list=True, delete=True, versions=False, lock=False, create_only=False)
WITHOUT_RANGES = Features(
    range=False, checksum=False, list=True, delete=True, versions=False, lock=False, create_only=False
)


def everything(name: str) -> bool:
    return True


def read(store: S3, name: str, size: int) -> bytes:
    got: list[bytes] = []
    store.read(name, size, got.append)
    return b"".join(got)


@pytest.fixture
def store(object_server: Server, prefix: str) -> S3:
    return S3(object_server.settings(prefix=prefix), WITHOUT_RANGES if object_server.kind == "rclone" else None)


@pytest.fixture
def behind(object_server: Server, proxy: Proxy, prefix: str) -> S3:
    return S3(object_server.settings(prefix=prefix, port=proxy.port), WITHOUT_RANGES)


@pytest.mark.parametrize("size", [1, 100_000, 3 * s3.CHUNK + 17])
def test_what_is_written_is_read_and_proved_by_its_etag(store: S3, size: int) -> None:
    data = os.urandom(size)
    assert store.put("acme/1/m1", data)
    assert store.size("acme/1/m1") == size
    assert read(store, "acme/1/m1", size) == data


def test_an_object_is_one_request_of_any_size(behind: S3, proxy: Proxy) -> None:
    for size in (1, 16 << 20):
        proxy.play()
        behind.put("acme/1/m1", bytes(size))
        assert [first.split()[0] for first, _, _ in proxy.seen] == ["PUT"]
        assert proxy.seen[0][1]["x-amz-checksum-sha256"]


def test_a_listing_takes_any_beginning_of_a_name(store: S3) -> None:
    for name in ("acme/4e20000001/m1", "acme/4e20000002/m1", "acme/4e21000001/m1", "beta/4e20000001/m1"):
        store.put(name, b"x")
    assert sorted(each.name for each in store.listing("acme/4e20")) == ["acme/4e20000001/m1", "acme/4e20000002/m1"]
    assert [*store.listing("beta/4e20000001/")] == [StoredObject("beta/4e20000001/m1", 1)]
    assert [*store.listing("gamma/")] == []


def test_what_is_removed_is_gone_and_nothing_else(store: S3) -> None:
    for name in ("acme/1/m1", "acme/1/m2", "acme/10/m1"):
        store.put(name, b"x")
    assert store.remove("acme/1/", lambda name: not name.endswith("m2")) == (1, ())
    assert store.remove("acme/1/", lambda name: not name.endswith("m2")) == (0, ())
    assert sorted(each.name for each in store.listing("acme/")) == ["acme/1/m2", "acme/10/m1"]
    assert store.kept("acme/2/", everything) == ()


def test_all_versions_are_removed_and_delete_markers(object_servers: dict[str, Server], prefix: str) -> None:
    store = S3(object_servers["moto"].settings(LOCKED, prefix=prefix))
    for _ in range(1002):  # more than one page
        store.put("acme/1/m1", b"x")
    client(store.settings).delete_object(Bucket=LOCKED, Key=f"{prefix}acme/1/m1")
    assert store.remove("acme/1/", everything) == (1003, ())
    assert store.versions("acme/1/") == []


def test_what_is_missing_is_missing(store: S3) -> None:
    assert store.size("nothing") is None
    for size in (10, 2 * s3.CHUNK):
        with pytest.raises(ObjectMissing):
            read(store, "nothing", size)


@pytest.mark.parametrize(("fault", "proved"), [("flip", False), ("swallow", False), ("pass", True)])
def test_a_success_alone_proves_nothing(behind: S3, proxy: Proxy, fault: str, proved: bool) -> None:
    proxy.play(fault)
    assert behind.put("acme/1/m1", b"bytes" * 100) is proved


def test_a_store_that_checks_sums_is_believed(object_server: Server, proxy: Proxy, prefix: str) -> None:
    store = S3(object_server.settings(prefix=prefix, port=proxy.port), TRUSTED)
    proxy.play("swallow")
    assert store.put("acme/1/m1", b"bytes")


@pytest.mark.parametrize("fault", ["503", "500", "429", "reset", "lost"])
def test_a_brief_fault_is_hidden_and_a_lasting_one_reported(behind: S3, proxy: Proxy, fault: str) -> None:
    data = os.urandom(50_000)
    proxy.play(fault)
    assert behind.put("acme/1/m1", data) or fault == "lost"
    assert read(behind, "acme/1/m1", len(data)) == data
    proxy.play(always=fault)
    with pytest.raises(StoreAway):
        behind.put("acme/1/m2", data)
    assert len(proxy.seen) == 1 + s3.RETRIES
    if fault != "lost":
        for ask in (lambda: read(behind, "acme/1/m1", len(data)), lambda: list(behind.listing("acme/"))):
            with pytest.raises(StoreAway):
                ask()


def test_an_error_holds_neither_address_nor_answer_nor_secret(object_server: Server, proxy: Proxy, prefix: str) -> None:
    settings = object_server.settings(prefix=prefix, port=proxy.port)
    store = S3(settings)
    proxy.play(always="403")
    for ask in (lambda: store.put("acme/1/m1", b"x"), lambda: store.remove("acme/1/", everything)):
        with pytest.raises(StoreAway) as caught:
            ask()
        told = str(caught.value) + repr(caught.value) + caught.value.hint
        assert caught.value.__suppress_context__
        assert not any(word in told for word in (SECRET, KEY, "127.0.0.1", "Slow", "acme/1"))
        assert "access_key" in caught.value.hint
    assert SECRET not in repr(settings) + repr(store)


def test_replaced_secrets_are_read_after_a_refusal(object_servers: dict[str, Server], prefix: str) -> None:
    secrets = [(KEY, "wrong"), (KEY, SECRET)]
    server = object_servers["rclone"]
    store = S3(server.settings(prefix=prefix, secrets=lambda: secrets.pop(0)))
    with pytest.raises(StoreAway):
        store.put("acme/1/m1", b"x")
    assert store.put("acme/1/m1", b"x")


def test_an_error_of_the_reader_is_not_taken_for_the_stores(store: S3) -> None:
    store.put("acme/1/m1", b"bytes")

    def full(data: bytes) -> None:
        raise NoSpace("the disk is full")

    with pytest.raises(NoSpace):
        store.read("acme/1/m1", 5, full)


def test_a_store_that_is_not_there(tmp_path: Path, object_server: Server) -> None:
    store = S3(object_server.settings(port=9))
    with pytest.raises(StoreAway):
        store.put("acme/1/m1", b"x")
    with pytest.raises(StoreAway, match="no such bucket"):
        S3(object_server.settings("never-made")).put("acme/1/m1", b"x")


def test_packages_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch, object_server: Server) -> None:
    for module in ("obstore", "obstore.store", "boto3"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DriverMissing) as caught:
        S3(object_server.settings()).put("acme/1/m1", b"x")
    assert caught.value.hint == extras.how_to_install(extras.S3)
    with pytest.raises(DriverMissing):
        S3(object_server.settings()).remove("acme/1/", everything)


def test_a_recorder_that_stops_waits_for_no_store(behind: S3, proxy: Proxy) -> None:
    proxy.play(always="slow30")
    began = time.monotonic()
    threading.Timer(0.3, behind.requests.close).start()
    with pytest.raises(StoreAway, match="stopping"):
        behind.put("acme/1/m1", b"x")
    with pytest.raises(StoreAway, match="stopping"):
        behind.size("acme/1/m1")
    assert time.monotonic() - began < 20 and behind.requests.running == 1


def test_a_store_behind_an_authority_of_its_own(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    both = authority.issue("127.0.0.1")
    (tmp_path / "data").mkdir()
    with object_store("rclone", tmp_path / "data", (both, both)) as server:
        known = S3(server.settings(ca=authority.file))
        assert known.put("acme/1/m1", b"bytes") and read(known, "acme/1/m1", 5) == b"bytes"
        assert known.remove("acme/1/", everything) == (1, ())
        for unknown in (S3(server.settings()), S3(server.settings(ca=tmp_path / "missing"))):
            with pytest.raises(StoreAway):
                unknown.put("acme/1/m1", b"bytes")
        with pytest.raises(StoreAway):
            S3(server.settings()).remove("acme/1/", everything)


def test_a_time_out_grows_with_the_body(object_server: Server) -> None:
    store = S3(object_server.settings())
    assert store._store(1) is store._store(s3.LEAST_TIME)
    for size in (1, 1 << 30):
        options = store._store(size).client_options
        assert options is not None
        given = re.findall(r"(\d+)(h|m|s)", str(options["timeout"]))
        seconds = sum(int(number) * {"h": 3600, "m": 60, "s": 1}[unit] for number, unit in given)
        assert seconds >= s3.LEAST_TIME and seconds * s3.SLOWEST >= size


def test_the_sum_is_of_the_bytes(behind: S3, proxy: Proxy) -> None:
    import base64

    proxy.play()
    behind.put("acme/1/m1", b"bytes")
    sent = proxy.seen[0][1]["x-amz-checksum-sha256"]
    assert base64.b64decode(sent) == hashlib.sha256(b"bytes").digest()
