"""The daemon keeps users as the directory has them, and says where it cannot."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from recorder.calls.context import Node
from recorder.config.loader import load
from recorder.maintenance.directory_job import DirectoryJob
from recorder.persist.indexer import NO_THREAD
from storage.directory.user import UserState
from tests.in_process.recorder_node import CONFIG, stage
from tests.recorder.entra import CLIENT, SECRET, TENANT, Entra, serving

DIRECTORY = """
[[directory]]
customer = "acme"
tenant = "{tenant}"
client = "{client}"
secret = "file:{folder}/secret"
secret_expires = {expires}
login = "{address}"
graph = "{address}"
proxy_ca = "{ca}"
"""


@pytest.fixture
def entra(tmp_path: Path) -> Iterator[Entra]:
    (tmp_path / "tls").mkdir()
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "secret").chmod(0o600)
    found = Entra()
    with serving(found, tmp_path / "tls"):
        yield found


Tell = Callable[[Node, DirectoryJob], Awaitable[None]]


def story(folder: Path, entra: Entra, tell: Tell, expires: str = "2999-01-01") -> None:
    facts = {"tenant": TENANT, "client": CLIENT, "address": entra.address, "expires": expires}
    text = CONFIG + DIRECTORY.replace("{folder}", str(folder)).format(**facts, ca=folder / "tls" / "entra.crt")

    async def run() -> None:
        async with stage(folder, text) as one:
            node = one.node
            ports = node.settings.media.ports
            config = folder / "recorder.toml"
            config.write_text(text.format(folder=folder, first=ports.first, last=ports.last))
            node.settings = load(config)
            job = DirectoryJob(node.customers, node.tasks, node.log, node.incidents, node.settings)
            await tell(node, job)

    asyncio.run(run())


def kinds(node: Node) -> list[tuple[str, Any]]:
    return [(each["kind"], each.get("reason")) for each in node.incidents.of("acme")]


def test_a_directory_is_imported_in_its_own_process(tmp_path: Path, entra: Entra) -> None:
    for number in range(20):
        entra.put(f"id-{number}", givenName=f"P{number}")

    async def tell(node: Node, job: DirectoryJob) -> None:
        acme, directory = node.customers["acme"], node.settings.directories[0]
        assert await job.turn(directory)
        users, _ = await acme.users.listed(100)
        assert len(users) == 20 and {user.state for user in users} == {UserState.ACTIVE}
        (act,) = [act for act in acme.audit.read().items if act["action"] == "users.import"]
        assert (act["actor"], act["role"]) == ("recorder", "system")
        for number in range(5):
            entra.remove(f"id-{number}")
        assert await job.turn(directory), "the brake is no failure to be tried again soon"
        assert kinds(node) == [("directory-brake", None)]
        users, _ = await acme.users.listed(100)
        assert {user.state for user in users} == {UserState.ACTIVE}

    story(tmp_path, entra, tell)


def test_a_directory_that_refuses_is_an_incident(tmp_path: Path, entra: Entra) -> None:
    entra.permitted = False

    async def tell(node: Node, job: DirectoryJob) -> None:
        directory = node.settings.directories[0]
        assert not await job.turn(directory)
        assert kinds(node) == [("directory-failed", "sync")]
        (tmp_path / "secret").unlink()
        assert not await job.turn(directory)
        assert ("directory-failed", "credential") in kinds(node)

    story(tmp_path, entra, tell)


def test_a_credential_that_ends_is_an_incident(tmp_path: Path, entra: Entra) -> None:
    async def tell(node: Node, job: DirectoryJob) -> None:
        assert await job.turn(node.settings.directories[0])
        assert kinds(node) == [("directory-credential", "expires")]

    story(tmp_path, entra, tell, expires=datetime.now(UTC).date().isoformat())


@pytest.mark.parametrize(
    ("step", "problem"),
    [("create_subprocess_exec", BlockingIOError("no process more")), ("to_thread", RuntimeError(NO_THREAD))],
)
def test_a_process_that_cannot_be_started_is_tried_again(
    tmp_path: Path, entra: Entra, monkeypatch: pytest.MonkeyPatch, step: str, problem: Exception
) -> None:
    async def refused(*_: object, **__: object) -> None:
        raise problem

    async def tell(node: Node, job: DirectoryJob) -> None:
        monkeypatch.setattr(asyncio, step, refused)
        assert not await job.turn(node.settings.directories[0])
        assert kinds(node) == [("directory-failed", "sync")]
        monkeypatch.undo()

    story(tmp_path, entra, tell)
