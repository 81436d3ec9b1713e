"""The daemon keeps users as the directory has them, and reports where it cannot."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from recorder.maintenance.directory_job import DirectoryJob
from recorder.persist.indexer import NO_THREAD
from tests.recorder.entra import Town, crowd, town_in
from tests.recorder.job_parts import Parts

pytestmark = pytest.mark.anyio


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    (tmp_path / "town").mkdir()
    with town_in(tmp_path / "town") as made:
        yield made


async def turn(node: Parts, town: Town) -> bool:
    """Synchronise once, in a process of its own."""
    settings = town.settings_unchecked()
    job = DirectoryJob(node.customers, node.tasks, node.log, node.incidents, settings)
    return await job.turn(settings.directories[0])


async def states(town: Town) -> list[str]:
    users = await asyncio.to_thread(town.users)
    return [state for state, _, _ in users.values()]


async def test_a_directory_is_imported_in_its_own_process(node: Parts, town: Town) -> None:
    crowd(town.entra, 20)
    assert await turn(node, town)
    assert await states(town) == ["active"] * 20
    (act,) = [act for act in town.acts() if act["action"] == "users.import"]
    assert (act["actor"], act["role"]) == ("recorder", "system")
    for number in range(5):
        town.entra.remove(f"id-{number}")
    assert await turn(node, town), "the brake is no failure to be tried again soon"
    assert node.kinds() == [("directory-brake", None)]
    assert await states(town) == ["active"] * 20


@pytest.mark.parametrize(
    ("step", "problem", "kinds"),
    [
        (
            "create_subprocess_exec",
            BlockingIOError("no process more"),
            [("directory-failed", "sync"), ("directory-credential", "expires")],
        ),
        ("to_thread", RuntimeError(NO_THREAD), [("directory-failed", "sync")]),
    ],
)
async def test_a_process_that_cannot_be_started_is_tried_again(
    node: Parts,
    town: Town,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    problem: Exception,
    kinds: list[tuple[str, str]],
) -> None:
    async def refused(*_: object, **__: object) -> None:
        raise problem

    town.say(f"secret_expires = {datetime.now(UTC).date()}")
    with monkeypatch.context() as patch:
        patch.setattr(asyncio, step, refused)
        assert not await turn(node, town)
    assert node.kinds() == kinds


async def test_a_missing_credential_is_an_incident(node: Parts, town: Town) -> None:
    (town.folder / "secret").unlink()
    assert not await turn(node, town)
    assert node.kinds() == [("directory-failed", "credential")]
