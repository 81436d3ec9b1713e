"""A copy of the data made before an erasure, beside all of today's secrets, opens the other calls, not the erased."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from recorder.config.loader import load
from recorder.persist.customers import open_customers
from storage.customer import customers
from storage.errors import Forgotten
from storage.keys.key_files import ForgetSecret, generation_of, open_tree
from storage.keys.key_store import CustomerKeys
from storage.keys.root_secret import load_root
from storage.vault.vault import Vault
from tests.daemon.api import SECONDS, WAIVER, WHY, running, until
from tests.daemon.coded_calls import record
from tests.daemon.server import Server
from tests.in_process import storage_node as node


def test_an_old_copy_decrypts_nothing_that_was_erased(tmp_path: Path) -> None:
    with running(tmp_path / "one") as api:
        one = api.one
        erased, kept = (call["id"] for call in record(api, 2))
        heard = api.sound(kept)
        assert one.stop() == 0
        old = tmp_path / "old"
        shutil.copytree(one.data, old, ignore=shutil.ignore_patterns("keys"))
        one.start()

        refused = api.ask("POST", "/erasures", "privacy", json={"calls": [erased], **WHY})
        assert refused.status_code == 409
        assert refused.headers["content-type"] == "application/problem+json"
        assert api.get("/waiver", "approver").json()["active"] is False
        assert api.ask("PUT", "/waiver", json=WAIVER).json()["active"] is True
        exported = api.export(calls=[erased, kept], format="csv")
        done = api.erase(calls=[erased])
        assert api.gone(erased) and api.sound(kept) == heard
        assert {api.get(f"/exports/{exported}{path}").status_code for path in ("", "/file")} == {404}
        assert done["receipt"]["calls"] == [erased]
        assert "Planted" not in json.dumps(done)
        assert not [path for path in one.data.rglob("*") if erased in path.name]
        assert one.stop() == 0

        receipt = tmp_path / "receipt.json"
        receipt.write_text(json.dumps(done["receipt"]))
        assert json.loads(one.run("audit", "verify", "--receipt", receipt, "--json").stdout)["ok"] is True
        receipt.write_text(json.dumps({**done["receipt"], "calls": [kept]}))
        assert one.run("audit", "verify", "--receipt", receipt, "--json").returncode == 1
        assert one.run("export", erased, "-o", tmp_path / "x.wav").returncode == 1

        shutil.copytree(one.data / "keys", old / "keys")
        script(one, old, {erased}, {kept})
        one.data = old
        one.write()
        one.start()
        assert api.gone(erased)
        assert api.sound(kept) == heard


def script(one: Server, old: Path, erased: set[str], kept: set[str]) -> None:
    """Try the old files with all secrets of today, past the daemon and every check of it."""
    root = load_root(load(one.config).keys.root)
    folder = customers.customer_folder(old, "acme")
    keys = CustomerKeys.open(old / "keys", folder, "acme", root)
    vault = Vault(folder / customers.VAULT, "acme", keys)
    refs = list(vault.walk())
    assert {ref.call for ref in refs} == erased | kept, "the old copy has the files of all"
    for ref in refs:
        if ref.call in kept:
            assert b"".join(vault.read(ref))
        else:
            with pytest.raises(Forgotten):
                list(vault.read(ref))


def opens_old_tree(root: bytes, state: bytes, secrets: Path) -> bool:
    """Say whether any 32 bytes that lie in a folder open a sealed key tree, together with the root secret."""
    generation = generation_of(state)
    seen = {bytes(32)}
    for path in secrets.rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        for at in range(len(data) - 31):
            secret = data[at : at + 32]
            if secret not in seen and open_tree(root, "acme", ForgetSecret(generation, secret), state) is not None:
                return True
            seen.add(secret)
    return False


def test_a_day_ended_by_retention_is_as_gone_from_an_old_copy(tmp_path: Path) -> None:
    with running(tmp_path / "one") as api:
        one = api.one
        (today,) = record(api, 1)
        heard = api.sound(today["id"])
        assert one.stop() == 0
        ended, held = asyncio.run(of_long_ago(one))
        old, keys_then = tmp_path / "old", tmp_path / "keys-then"
        shutil.copytree(one.data, old, ignore=shutil.ignore_patterns("keys"))
        shutil.copytree(one.data / "keys", keys_then)
        one.replace("[keys]", "[retention]\nbrake_percent = 100\n[keys]")
        one.start()
        one.until("retention.sweep", seconds=SECONDS)
        until(lambda: {call["id"] for call in api.calls()} == {today["id"], held})
        assert one.stop() == 0
        (cut,) = (json.loads(line) for line in (one.data / "keys/acme.erasures").read_bytes().splitlines())
        assert len(cut["days"]) == 1, "the day without a hold ended by one cut"

        root = load_root(load(one.config).keys.root).secret
        state = (old / "customers/acme/tree.state").read_bytes()
        assert opens_old_tree(root, state, keys_then), "this way of looking finds a secret that is there"
        assert not opens_old_tree(root, state, one.data / "keys")
        shutil.copytree(one.data / "keys", old / "keys")
        script(one, old, ended, {today["id"], held})
        shutil.copytree(old / "customers/acme/vault", one.data / "customers/acme/vault", dirs_exist_ok=True)
        for data in (one.data, old):
            one.data = data
            one.config.write_text(re.sub(r'data_dir = ".*"', f'data_dir = "{data}"', one.config.read_text()))
            one.start()
            assert all(api.gone(call) for call in ended)
            assert api.sound(today["id"]) == heard
            assert api.get(f"/calls/{held}").status_code == 200
            assert one.stop() == 0


async def of_long_ago(one: Server) -> tuple[set[str], str]:
    """Put recordings of two long past days beside the others, one of them held; return those that will end."""
    everybody = await open_customers(load(one.config))
    acme, noon = everybody["acme"], datetime.now(UTC).replace(hour=12)  # so that no midnight lies between them
    doomed = {(await node.record(acme, ended=noon - timedelta(days=400, seconds=n))).id for n in range(3)}
    doomed.add((await node.record(acme, ended=noon - timedelta(days=300))).id)
    held = (await node.record(acme, ended=noon - timedelta(days=300))).id
    await acme.holds.put(held, "court", "paula")
    await everybody.close()
    return doomed, held
