"""A customer may have an object store of its own; faults are named by the table and line that says it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from recorder.config import loader, parser
from recorder.config.faults import Fault
from recorder.config.model import Settings

NODE = """[sip]
listen = ["udp:127.0.0.1:5060"]
[storage]
{storage}
[[customer]]
name = "acme"
sources = ["192.0.2.1"]
{acme}
[[customer]]
name = "globex"
sources = ["192.0.2.2"]
{globex}
"""
WHOLE = """media = "s3"
endpoint = "https://s3.example"
bucket = "parts"
access_key = "credential:id"
secret_key = "credential:secret"
"""


def told(storage: str = "", acme: str = "", globex: str = "") -> tuple[Settings, list[Fault]]:
    settings, faults = parser.examine(NODE.format(storage=storage, acme=acme, globex=globex).encode())
    return settings, list(faults)


def test_a_customer_overrides_single_keys_of_the_store() -> None:
    settings, faults = told(WHOLE, 'bucket = "own-parts"\nlock = "compliance"\npart_seconds = 60', 'media = "file"')
    assert faults == []
    acme, globex = settings.customers
    assert settings.storage_of(acme) == replace(
        settings.storage, bucket="own-parts", lock="compliance", part_seconds=60
    )
    assert settings.storage_of(globex).media == "file" and len(settings.stores) == 3
    settings, faults = told("", WHOLE)
    assert faults == [] and settings.storage.media == "file"
    assert [settings.storage_of(each).media for each in settings.customers] == ["s3", "file"]


@pytest.mark.parametrize(
    ("storage", "acme", "keys"),
    [
        ("", 'media = "s3"', ["endpoint", "bucket", "access_key", "secret_key"]),
        ("", WHOLE.replace('bucket = "parts"\n', ""), ["bucket"]),
        (WHOLE, 'endpoint = "http://elsewhere.example"', ["endpoint"]),
        ("", 'lock = "governance"', ["lock"]),
        (WHOLE, 'lock = "always"', ["lock"]),
        (WHOLE, 'bucket = "No"', ["bucket"]),
    ],
)
def test_a_fault_of_a_customers_store_is_named_there(storage: str, acme: str, keys: list[str]) -> None:
    _, faults = told(storage, "", acme)
    assert [fault.key for fault in faults] == [f"customer[1].{key}" for key in keys]
    assert all(fault.line and fault.line > 8 for fault in faults)


def test_a_fault_of_the_common_store_is_told_once() -> None:
    _, faults = told(WHOLE.replace('bucket = "parts"\n', ""), "part_seconds = 60", 'keep_local = "1d"')
    assert [fault.key for fault in faults] == ["storage.bucket"]


def written(folder: Path, **text: str) -> Path:
    config = folder / "recorder.toml"
    config.write_text(NODE.format(**{"storage": "", "acme": "", "globex": "", **text}).replace(
        "[sip]", f'[node]\ndata_dir = "{folder}"\nruntime_dir = "{folder}"\ntrial = true\n[sip]'
    ))  # fmt: skip
    return config


def test_a_missing_file_of_its_store_affects_only_that_customer(tmp_path: Path) -> None:
    own = WHOLE.replace("credential:id", f"file:{tmp_path}/nothing")
    _, faults = loader.examine(written(tmp_path, globex=own))
    assert [(fault.key, fault.line) for fault in faults if "customer" in fault.key] == [("customer[1].access_key", 19)]
    assert loader._OWN_FILE.fullmatch("customer[1].access_key")


def test_stored_objects_without_a_described_store_are_a_fault(tmp_path: Path) -> None:
    (tmp_path / "customers" / "globex" / "vault" / "stored").mkdir(parents=True)
    for own, place in (("", "storage.media"), ('media = "file"', "customer[1].media")):
        _, faults = loader.examine(written(tmp_path, globex=own))
        assert place in [fault.key for fault in faults]
    _, faults = loader.examine(written(tmp_path, globex=WHOLE.replace('"s3"', '"file"')))
    assert not [fault for fault in faults if fault.key.endswith(".media")]


def test_a_lock_is_a_fault_of_the_table_that_asks_for_it(tmp_path: Path) -> None:
    locks = WHOLE + 'lock = "governance"'
    for tables, place in (({"storage": locks}, "storage.lock"), ({"globex": locks}, "customer[1].lock")):
        _, faults = loader.examine(written(tmp_path, **tables), start=True)
        assert [fault.key for fault in faults if fault.key.endswith("lock")] == [place]
