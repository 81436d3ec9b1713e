"""Finished parts go to the object store by themselves; local copies go only when the index has their call."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from recorder.config.parser import parse
from recorder.maintenance import upload_job
from recorder.maintenance.upload_job import jobs_of
from recorder.observe.metrics import Metrics
from recorder.persist.object_store import store_of
from storage.calls.call_row import CallState
from storage.customer.customers import Customer, CustomerSettings
from storage.vault import object_vault
from storage.vault.container import Sealer
from storage.vault.group_sync import Syncer
from tests.daemon.object_stores import KEY, SECRET, Proxy, Server
from tests.in_process.storage_node import StorageNode, record
from tests.in_process.waiting import until


class Said:
    """A log that remembers its events."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def __getattr__(self, level: str) -> Any:
        return lambda event, *more, **fields: self.events.append(event)


def settings(folder: Path, port: int, prefix: str, keep: str, more: str = "") -> Any:
    for name, secret in (("id", KEY), ("secret", SECRET)):
        (folder / name).write_text(secret)
        (folder / name).chmod(0o600)
    return parse(
        f"""
[sip]
listen = ["udp:127.0.0.1:5060"]
[storage]
media = "s3"
endpoint = "http://127.0.0.1:{port}"
bucket = "parts"
prefix = "{prefix}"
access_key = "file:{folder}/id"
secret_key = "file:{folder}/secret"
path_style = true
keep_local = "{keep}"
[[customer]]
name = "acme"
sources = ["192.0.2.1"]
{more}""".encode()
    )


@asynccontextmanager
async def uploading(folder: Path, port: int, prefix: str, keep: str = "0s") -> AsyncIterator[tuple[Customer, Any]]:
    """Run the job for one customer."""
    configured = settings(folder, port, prefix, keep)
    node = StorageNode(folder / "data", objects=store_of(configured.storage))
    async with node.opened() as acme:
        with closing(Syncer(folder)) as syncer:
            log: Any = Said()
            metrics = Metrics()
            (job,) = jobs_of(configured, {"acme": acme}, syncer, log, metrics)
            running = asyncio.create_task(job.run())
            try:
                yield acme, SimpleNamespace(job=job, log=log, page=lambda: metrics.page().decode())
            finally:
                store_of(configured.storage).requests.close()
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the job look often."""
    monkeypatch.setattr(upload_job, "LOOK_SECONDS", 0.02)


def links(acme: Customer) -> list[bool]:
    return [ref.path.is_symlink() for ref in acme.vault.walk()]


async def test_what_is_finished_and_indexed_ends_in_the_store_alone(
    tmp_path: Path, object_server: Server, prefix: str
) -> None:
    async with uploading(tmp_path, object_server.port, prefix) as (acme, it):
        row = await record(acme)
        await until(lambda: links(acme) == [True, True])
        assert "recorder_parts_waiting 0.0" in it.page()
        assert b"".join(acme.vault.read(acme.vault.parts(row.id, row.leaf)[0])).startswith(b"Mira Okafor")
        assert it.log.events == ["store.ready"]


async def test_what_the_index_lacks_or_what_still_runs_stays_here(
    tmp_path: Path, object_servers: dict[str, Server], prefix: str
) -> None:
    async with uploading(tmp_path, object_servers["moto"].port, prefix) as (acme, it):
        live = await record(acme, state=CallState.RECORDING)
        for part in ("c1", "m1"):
            acme.vault.finish(live.id, live.leaf, part)
        leaf = acme.keys.allocate(live.leaf >> 32)
        made = acme.vault.create("01234567-89ab-4cde-8f01-23456789abcd", leaf, "m1")
        os.write(made.fd, Sealer(made.secret).finish(b"not indexed"))
        os.close(made.fd)
        acme.vault.finish("01234567-89ab-4cde-8f01-23456789abcd", leaf, "m1")
        indexed = await record(acme)
        await until(lambda: sum(links(acme)) == 2 and it.job.waiting() == 0)
        later = await record(acme)
        await until(lambda: sum(links(acme)) == 4)
        assert {ref.call for ref in acme.vault.walk() if ref.path.is_symlink()} == {indexed.id, later.id}


async def test_a_local_copy_stays_as_long_as_it_should(
    tmp_path: Path, object_servers: dict[str, Server], prefix: str
) -> None:
    async with uploading(tmp_path, object_servers["moto"].port, prefix, keep="4s") as (acme, it):
        began = time.monotonic()
        await record(acme)
        await until(lambda: it.log.events and it.job.waiting() == 0 and list(acme.vault.stored(1 << 63)))  # type: ignore[attr-defined]
        assert links(acme) == [False, False] or time.monotonic() - began > 4
        await until(lambda: links(acme) == [True, True])
        assert time.monotonic() - began >= 4


async def test_a_store_that_is_away_is_tried_again_ever_more_rarely(
    tmp_path: Path, object_servers: dict[str, Server], prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(Proxy(object_servers["rclone"].port)) as proxy:
        async with uploading(tmp_path, proxy.port, prefix) as (acme, it):
            await until(lambda: "store.ready" in it.log.events)
            proxy.play(always="403")
            await record(acme)
            await until(lambda: it.job._pause > 1.7)
            assert it.log.events.count("store.away") == 1 and it.job.waiting() == 2
            proxy.play()
            await until(lambda: links(acme) == [True, True])
            assert it.log.events.count("store.back") == 1 and it.job._pause == 0


async def test_parts_that_cannot_be_uploaded_delay_no_others(
    tmp_path: Path, object_servers: dict[str, Server], prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_vault, "LARGEST", 1000)
    async with uploading(tmp_path, object_servers["moto"].port, prefix) as (acme, it):
        long = [await record(acme, name="M" * 100)]
        short = [await record(acme, name="M") for _ in range(3)]
        await until(lambda: sum(links(acme)) == 6)
        assert {ref.call for ref in acme.vault.walk() if ref.path.is_symlink()} == {row.id for row in short}
        await asyncio.sleep(0.5)  # more looks, which find the long ones only
        told = it.log.events.copy()
        await record(acme, name="M")
        await until(lambda: sum(links(acme)) == 8 and it.job.waiting() == 2 * len(long))
        assert it.job._pause == 0 and it.log.events.count("store.failed") == 2 * len(long)
        assert told == it.log.events, "a part that cannot be uploaded is reported once"


async def test_a_store_that_fails_its_trial_gets_nothing(
    tmp_path: Path, object_servers: dict[str, Server], prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload_job, "usable", lambda features, lock: False)
    async with uploading(tmp_path, object_servers["moto"].port, prefix) as (acme, it):
        await record(acme)
        await until(lambda: "store.unusable" in it.log.events)
        assert links(acme) == [False, False] and it.job.waiting() == 2


async def test_a_store_that_is_away_delays_nobody_who_has_another(
    tmp_path: Path, object_servers: dict[str, Server], prefix: str
) -> None:
    with closing(Proxy(object_servers["rclone"].port)) as proxy, closing(Syncer(tmp_path)) as syncer:
        own = f'''
[[customer]]
name = "globex"
sources = ["192.0.2.2"]
endpoint = "http://127.0.0.1:{object_servers["moto"].port}"
prefix = "{prefix}own"
'''
        configured = settings(tmp_path, proxy.port, prefix, "0s", own)
        proxy.play(always="503")
        nodes = {
            each.name: StorageNode(
                tmp_path / each.name,
                settings=CustomerSettings(each.name),
                objects=store_of(configured.storage_of(each)),
            )
            for each in configured.customers
        }
        async with nodes["acme"].opened() as acme, nodes["globex"].opened() as globex:
            log: Any = Said()
            metrics = Metrics()
            jobs = jobs_of(configured, {"acme": acme, "globex": globex}, syncer, log, metrics)
            running = [asyncio.create_task(job.run()) for job in jobs]
            try:
                await record(acme)
                await record(globex)
                await until(lambda: links(globex) == [True, True])
                assert links(acme) == [False, False] and "recorder_parts_waiting 2.0" in metrics.page().decode()
                proxy.play()
                await until(lambda: links(acme) == [True, True])
                names = {each.name.partition("/")[0] for each in nodes["globex"].objects.listing("")}
                assert names == {"globex"}
            finally:
                for node in nodes.values():
                    node.objects.requests.close()
                for task in running:
                    task.cancel()
                await asyncio.gather(*running, return_exceptions=True)


def test_uploads_have_a_lower_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_job, "NICE", 17)  # which nothing else here has
    with ThreadPoolExecutor(1, initializer=upload_job._step_back) as threads:
        assert threads.submit(os.getpriority, os.PRIO_PROCESS, 0).result() == 17
    assert os.getpriority(os.PRIO_PROCESS, 0) < 17
