"""A daemon whose recordings go to an object store: they play from there, and a store in trouble loses none of them."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from recorder.simulate.plan import Plan
from storage.objects.s3 import S3
from tests.daemon.api import WAIVER, WHY, Api, running, until
from tests.daemon.coded_calls import in_order, nothing_lost, place, record, wishes
from tests.daemon.kills import kill, kill_main, worker_of
from tests.daemon.object_stores import BUCKET, KEY, LOCKED, SECRET, Proxy, Server, object_store


def parts(api: Api) -> list[Path]:
    """Return every finished part, or its pointer."""
    vault = api.one.data / "customers" / "acme" / "vault"
    return [path for path in vault.glob("[0-9]*/*") if path.name.count(".") == 2]


def only_there(api: Api, count: int) -> bool:
    """Return whether so many parts exist and the store alone has them."""
    found = parts(api)
    return len(found) == count and all(path.is_symlink() for path in found)


@contextmanager
def recorder(
    folder: Path, endpoint: int, prefix: str, keep: str = "0s", media: str = "s3", bucket: str = BUCKET, more: str = "",
    start: bool = True, **node: Any,
) -> Iterator[Api]:  # fmt: skip
    """Run a daemon with an object store."""
    with running(folder, start=False, **node) as api:
        for name, secret in (("id", KEY), ("secret", SECRET)):
            (api.one.folder / name).write_text(secret)
            (api.one.folder / name).chmod(0o600)
        api.one.replace(
            "[keys]",
            f"""[storage]
media = "{media}"
endpoint = "http://127.0.0.1:{endpoint}"
bucket = "{bucket}"
prefix = "{prefix}"
access_key = "file:{api.one.folder}/id"
secret_key = "file:{api.one.folder}/secret"
path_style = true
keep_local = "{keep}"
{more}
[keys]""",
        )
        if start:
            api.one.start()
        yield api


@pytest.fixture
def store(object_server: Server, prefix: str) -> S3:
    return S3(object_server.settings(prefix=prefix))


def objects(store: S3) -> list[str]:
    return sorted(each.name for each in store.listing("acme/"))


def doctor(api: Api) -> list[dict[str, str]]:
    """Return what the doctor finds."""
    found: list[dict[str, str]] = json.loads(api.one.run("doctor", "--json").stdout)["checks"]
    return found


def test_recordings_play_verify_and_are_erased_from_the_store(
    tmp_path: Path, object_server: Server, prefix: str, store: S3
) -> None:
    with recorder(tmp_path / "one", object_server.port, prefix) as api:
        (first,), (second,) = record(api), record(api)
        until(lambda: only_there(api, 4))
        assert len(objects(store)) == 4 and api.figure("recorder_parts_waiting") == 0
        sounds = {call["id"]: api.sound(call["id"]) for call in (first, second)}
        assert all(sounds.values())
        assert api.get(f"/calls/{first['id']}/media?format=flac").status_code == 200
        told = json.loads(api.one.run("verify", "--json").stdout)
        assert told["ok"] and told["parts"] == 4
        api.one.stop(signal.SIGKILL)
        for file in (api.one.data / "customers" / "acme").glob("index.sqlite3*"):
            file.unlink()
        api.one.start()
        until(lambda: len(api.calls()) == 2)  # rebuilt from parts that only the store has
        assert api.sound(first["id"]) == sounds[first["id"]]
        assert api.ask("PUT", "/waiver", json=WAIVER).status_code == 200
        asked = api.ask("POST", "/erasures", json={"calls": [first["id"]], **WHY}, role="privacy").json()
        until(lambda: api.get(f"/erasures/{asked['id']}").json()["state"] == "done")
        assert len(objects(store)) == 2 and len(parts(api)) == 2
        assert api.gone(first["id"]) and api.sound(second["id"]) == sounds[second["id"]]
        assert not {"store.away", "store.failed", "task.failed"} & set(api.one.events())


@pytest.mark.parametrize(
    "fault", ["flip", *(pytest.param(each, marks=pytest.mark.torture) for each in ("503", "reset", "swallow", "lost"))]
)
def test_a_failing_store_loses_nothing_and_gets_nothing_twice(
    tmp_path: Path, object_servers: dict[str, Server], prefix: str, fault: str
) -> None:
    server = object_servers["rclone"]
    store = S3(server.settings(prefix=prefix))
    proxy = Proxy(server.port)
    try:
        with recorder(tmp_path / "one", proxy.port, prefix) as api:
            until(lambda: "store.ready" in api.one.events())
            proxy.play(always=fault)
            (first,) = record(api)
            until(lambda: api.figure("recorder_parts_waiting") == 2 and "store.away" in api.one.events())
            assert api.health("/readyz") == 200
            sound = api.sound(first["id"])
            api.one.stop(signal.SIGKILL)
            api.one.start()
            (second,) = record(api)
            assert sum(not path.is_symlink() for path in parts(api)) == 4
            assert api.sound(first["id"]) == sound
            proxy.play()
            until(lambda: only_there(api, 4), 90)
            assert {name.rsplit("-", 1)[0] for name in objects(store)} == {
                f"acme/{path.name[37:49]}/{path.name[:36]}{path.name[49:]}" for path in parts(api)
            }
            assert len(objects(store)) == 4
            assert api.sound(first["id"]) == sound and api.sound(second["id"])
            assert SECRET not in api.one.log.read_text() and str(proxy.port) not in api.one.log.read_text()
    finally:
        proxy.close()


def test_an_absent_store_gives_503_and_does_not_delay_a_stop(
    tmp_path: Path, object_servers: dict[str, Server], prefix: str
) -> None:
    proxy = Proxy(object_servers["moto"].port)
    try:
        with recorder(tmp_path / "one", proxy.port, prefix) as api:
            (call,) = record(api)
            until(lambda: only_there(api, 2))
            assert "ok" in [check["state"] for check in doctor(api) if check["name"] == "object-store"]
            proxy.play(always="503")
            answer = api.get(f"/calls/{call['id']}/media?format=wav")
            assert answer.status_code == httpx2.codes.SERVICE_UNAVAILABLE
            (seen,) = [check for check in doctor(api) if check["name"] == "object-store"]
            assert (seen["state"], seen["remedy"] != "") == ("fail", True)
            assert "object store" in answer.json()["detail"]
            assert api.get(f"/calls/{call['id']}").status_code == 200
            proxy.play(always="slow60")
            record(api)
            until(lambda: any(first.startswith("PUT") for first, _, _ in proxy.seen))
            began = time.monotonic()
            assert api.one.stop() == 0
            assert time.monotonic() - began < 40  # it waits for no answer of the store
            proxy.play()
            api.one.start()
            until(lambda: only_there(api, 4), 90)
            assert api.sound(call["id"])
    finally:
        proxy.close()


def test_a_vault_moves_there_and_back_while_calls_are_recorded(
    tmp_path: Path, object_servers: dict[str, Server], prefix: str
) -> None:
    server = object_servers["rclone"]
    store = S3(server.settings(prefix=prefix))
    with recorder(tmp_path / "one", server.port, prefix, keep="7d", media="file") as api:
        (first,) = record(api)
        sound = api.sound(first["id"])
        assert "uploads" not in api.one.log.read_text() and objects(store) == []
        text = api.one.config.read_text()
        api.one.config.write_text(text.replace('media = "file"', 'media = "s3"').replace('"7d"', '"0s"'))
        assert api.one.run("store", "move").returncode == 3, "the daemon that runs knows nothing of the store"
        api.one.stop()
        api.one.start()
        (second,) = record(api)
        assert api.one.run("store", "move").returncode == 0
        until(lambda: only_there(api, 4))
        assert api.sound(first["id"]) == sound and len(objects(store)) == 4
        api.one.config.write_text(text)
        api.one.stop()
        api.one.start()
        (third,) = record(api)
        assert api.sound(first["id"]) == sound
        moved = json.loads(api.one.run("store", "move", "--json").stdout)
        assert moved == {"parts": 4, "done": 4, "failed": 0}
        assert objects(store) == [] and not any(path.is_symlink() for path in parts(api))
        api.one.config.write_text("\n".join(line for line in text.splitlines() if "endpoint" not in line))
        api.one.stop()
        api.one.start()
        assert api.sound(first["id"]) == sound and api.sound(second["id"]) and api.sound(third["id"])
        assert json.loads(api.one.run("verify", "--json").stdout)["ok"]


def test_without_a_store_none_of_its_code_is_loaded(tmp_path: Path) -> None:
    with running(tmp_path / "one") as api:
        record(api)
        assert api.one.process is not None
        assert "obstore" not in Path(f"/proc/{api.one.process.pid}/maps").read_text()
        assert not (api.one.data / "customers" / "acme" / "vault" / "stored").exists()
        assert "recorder_parts_waiting 0.0" in httpx2.get(f"{api.url}/metrics").text
    everything = "import recorder.service.daemon, recorder.service.background, storage.customer.wiring, sys"
    asked = "print([each for each in sys.modules if 'object' in each and each.startswith('storage')])"
    told = subprocess.run([sys.executable, "-c", f"{everything}; {asked}"], capture_output=True, text=True, check=True)
    assert told.stdout == "[]\n"


def uploaded(store: S3, part: str) -> set[str]:
    """Return the calls of which the store has this part."""
    return {name.split("/")[2].split(".")[0] for name in objects(store) if f".{part}-" in name}


class Burnt(Exception):
    """The machine is gone."""


LIVE = "part_seconds = 1"


@pytest.mark.torture
def test_live_calls_are_uploaded_part_by_part_and_are_whole(
    tmp_path: Path, object_servers: dict[str, Server], prefix: str
) -> None:
    server, calls = object_servers["rclone"], 4
    store = S3(server.settings(prefix=prefix))
    with recorder(tmp_path / "one", server.port, prefix, more=LIVE, calls=calls) as api:

        async def meanwhile() -> None:
            await api.talking(calls)
            live = {call["id"] for call in api.calls()}
            await api.until(lambda: uploaded(store, "c1") == uploaded(store, "m2") == live)
            assert {call["state"] for call in api.calls()} == {"recording"}

        nothing_lost(api, place(wishes(api.one, calls, 16.0, 0.8), meanwhile))
        ids = {call["id"] for call in api.calls()}
        until(lambda: uploaded(store, "m3") == ids and only_there(api, len(parts(api))))
        assert all(api.sound(call) for call in ids) and len(objects(store)) == len(parts(api))
        assert api.get(f"/calls/{min(ids)}/media?format=flac").status_code == 200
        api.one.run("verify")
        in_order(api)


@pytest.mark.torture
@pytest.mark.parametrize("seed", range(6))
def test_live_parts_survive_kills_of_any_process(
    tmp_path: Path, object_servers: dict[str, Server], prefix: str, seed: int
) -> None:
    chance, calls = random.Random(seed), 6
    server = object_servers["rclone"]
    with recorder(tmp_path / "one", server.port, prefix, more=LIVE, calls=calls, kept=True) as api:

        async def meanwhile() -> None:
            await api.talking(calls)
            for _ in range(3):
                await asyncio.sleep(chance.uniform(0.5, 2))
                if chance.random() < 0.5:
                    kill(worker_of(api))
                else:
                    await kill_main(api)
                    await asyncio.to_thread(api.one.start)

        nothing_lost(api, place(wishes(api.one, calls, 20.0, 0.8), meanwhile))
        until(lambda: only_there(api, len(parts(api))), 60)
        in_order(api)


def test_an_erased_live_call_leaves_nothing_in_the_store(
    tmp_path: Path, object_servers: dict[str, Server], prefix: str
) -> None:
    server = object_servers["rclone"]
    store = S3(server.settings(prefix=prefix))
    with recorder(tmp_path / "one", server.port, prefix, more=LIVE, calls=2) as api:
        assert api.ask("PUT", "/waiver", json=WAIVER).status_code == 200

        async def meanwhile() -> None:
            await api.talking(2)
            await api.until(lambda: len(uploaded(store, "m2")) == 2)
            gone = api.calls()[0]["id"]
            asked = api.ask("POST", "/erasures", json={"calls": [gone], **WHY}, role="privacy").json()
            await api.until(lambda: api.get(f"/erasures/{asked['id']}").json()["state"] == "done")
            assert gone not in {name.split("/")[2].split(".")[0] for name in objects(store)} and api.gone(gone)

        place(wishes(api.one, 2, 12.0), meanwhile)
        (kept,) = api.ended()
        until(lambda: only_there(api, len(parts(api))))
        assert {path.name[:36] for path in parts(api)} == {kept["id"]} and api.sound(kept["id"])


def test_a_lost_disk_costs_a_live_call_only_its_last_part(
    tmp_path: Path, object_servers: dict[str, Server], prefix: str
) -> None:
    server = object_servers["rclone"]
    store = S3(server.settings(prefix=prefix))
    with recorder(tmp_path / "one", server.port, prefix, more=LIVE, calls=1) as api:

        async def meanwhile() -> None:
            await api.talking(1)
            await api.until(lambda: len(uploaded(store, "m2")) == len(uploaded(store, "c2")) == 1)
            worker = worker_of(api)
            await asyncio.to_thread(api.one.stop, signal.SIGKILL)
            kill(worker)
            raise Burnt  # nobody waits for the client's time-outs

        with pytest.raises(Burnt):
            place([Plan(to=api.one.uri(), seconds=14.0)], meanwhile)
        acme = api.one.data / "customers" / "acme"
        shutil.rmtree(acme / "vault")
        for file in (*acme.glob("index.sqlite3*"), *(api.one.folder / "run" / "live").iterdir()):
            file.unlink()
        assert json.loads(api.one.run("store", "move", "--json").stdout)["failed"] == 0
        api.one.start()
        (call,) = api.ended()
        assert (call["state"], call["end_reason"]) == ("interrupted", "crash")
        assert call["streams"][0]["packets"] >= 50 and api.sound(call["id"])
        assert json.loads(api.one.run("verify", "--json").stdout)["ok"]


FAULTS = ("503", "403", "reset", "lost", "flip", "swallow", "slow1", "pass")


@pytest.mark.torture
@pytest.mark.parametrize("seed", range(4))
def test_faults_and_kills_of_recorder_and_store_lose_nothing(tmp_path: Path, seed: int) -> None:
    """Whatever the store does and whoever is killed when: each part ends in the store once, and every call plays."""
    chance = random.Random(seed)
    with (
        object_store("rclone", tmp_path / "store") as server,
        closing(Proxy(server.port)) as proxy,
        recorder(tmp_path / "one", proxy.port, "") as api,
    ):
        calls: list[str] = []
        for _ in range(10):
            proxy.play(*chance.choices(FAULTS, k=chance.randrange(12)), always=chance.choice(FAULTS))
            calls += [call["id"] for call in record(api)]
            if chance.random() < 0.5:
                api.one.stop(signal.SIGKILL)
                time.sleep(chance.random())
                api.one.start()
            if chance.random() < 0.3:
                server.kill()
                time.sleep(chance.random() * 3)
                server.start()
        proxy.play()
        until(lambda: only_there(api, 2 * len(calls)), 120)
        assert all(api.sound(call) for call in calls)
        assert len(objects(S3(server.settings()))) == 2 * len(calls)
        assert json.loads(api.one.run("verify", "--json").stdout)["ok"]


@pytest.mark.torture
def test_a_receipt_names_what_a_lock_keeps_of_an_erased_call(
    tmp_path: Path, object_servers: dict[str, Server], prefix: str
) -> None:
    server = object_servers["moto"]
    lock = {"bucket": LOCKED, "more": 'lock = "compliance"', "start": False}
    with recorder(tmp_path / "one", server.port, prefix, **lock) as api:  # type: ignore[arg-type]
        refused = api.one.run("serve")
        assert refused.returncode == 3 and "store check" in refused.stderr
        assert json.loads(api.one.run("store", "check", "--json").stdout)["ok"]
        api.one.start()
        (gone,), (kept,) = record(api), record(api)
        until(lambda: only_there(api, 4), 90)
        assert api.ask("PUT", f"/calls/{kept['id']}/hold", json=WHY).status_code in (200, 204)
        held = api.one.data / "customers/acme/vault/stored/held"
        until(lambda: held.is_dir() and len(list(held.iterdir())) == 2)
        assert api.ask("PUT", "/waiver", json=WAIVER).status_code == 200
        asked = api.ask("POST", "/erasures", json={"calls": [gone["id"]], **WHY}, role="privacy").json()
        until(lambda: api.get(f"/erasures/{asked['id']}").json()["state"] == "done")
        receipt = api.get(f"/erasures/{asked['id']}").json()["receipt"]
        locked = receipt["locked"]
        assert {each["call"] for each in locked} == {gone["id"]} and len(locked) == 2
        assert {each["object"] for each in locked} < set(objects(S3(server.settings(LOCKED, prefix=prefix))))
        due = api.get(f"/calls/{kept['id']}").json()["erase_after"]
        assert {each["until"] for each in locked} <= {f"{day}T00:00:00.000000Z" for day in days_after(due)}
        assert api.gone(gone["id"]) and api.sound(kept["id"])
        assert json.loads(api.one.run("verify", "--json").stdout)["ok"], "what a lock keeps is no defect"
        proof = api.one.folder / "receipt.json"
        proof.write_text(json.dumps(receipt))
        assert api.one.run("audit", "verify", "--customer", "acme", "--receipt", str(proof)).returncode == 0
        assert not {"store.lock_failed", "store.failed", "task.failed"} & set(api.one.events())


def days_after(due: str) -> list[date]:
    """Return the day after a time, and the one after that, as the other call ended a moment earlier."""
    day = datetime.fromisoformat(due).date()
    return [day, day + timedelta(days=1)]


def give_to_customer(api: Api) -> None:
    """Write what [storage] says of the object store into the customer's table."""
    text = api.one.config.read_text()
    own = text.partition("[storage]\n")[2].partition("[keys]")[0]
    text = text.replace(f"[storage]\n{own}", "").replace('name = "acme"\n', f'name = "acme"\n{own}', 1)
    api.one.config.write_text(text)


def test_removing_a_customer_empties_its_own_store(
    tmp_path: Path, object_servers: dict[str, Server], prefix: str
) -> None:
    server = object_servers["moto"]
    store = S3(server.settings(prefix=prefix))
    with recorder(tmp_path / "one", server.port, prefix, start=False) as api:
        give_to_customer(api)
        api.one.start()
        record(api)
        until(lambda: only_there(api, 2))
        assert len(objects(store)) == 2
        assert [check["detail"] for check in doctor(api) if check["name"] == "object-store"] == ["it answers"]
        remove(api)
        assert objects(store) == []


def remove(api: Api) -> None:
    """Have the customer removed."""
    assert api.ask("PUT", "/waiver", json=WAIVER).status_code == 200
    assert api.one.run("customer", "add", "globex", "--source", "192.0.2.0/24").returncode == 0
    assert api.one.run("customer", "close", "acme").returncode == 0
    api.one.stop()
    done = api.one.run("customer", "remove", "acme", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert api.one.run("audit", "verify").returncode == 0


def test_removing_a_customer_leaves_nothing_in_the_common_store(
    tmp_path: Path, object_server: Server, prefix: str, store: S3
) -> None:
    with recorder(tmp_path / "one", object_server.port, prefix) as api:
        record(api)
        until(lambda: only_there(api, 2))
        assert len(objects(store)) == 2
        remove(api)
        assert objects(store) == []
