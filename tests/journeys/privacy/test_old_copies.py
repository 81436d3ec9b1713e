"""A copy of the data made before an erasure, beside all of today's secrets, opens the other calls, not the erased."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from recorder.config.loader import load
from storage.customer import customers
from storage.errors import Forgotten
from storage.keys.key_store import CustomerKeys
from storage.keys.root_secret import load_root
from storage.vault.vault import Vault
from tests.daemon.api import WAIVER, WHY, running
from tests.daemon.coded_calls import record
from tests.daemon.server import Server


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
