"""Processes of ours are of our files, whoever put others into the folder in which somebody started the first."""

import os
import subprocess
from pathlib import Path

import pytest

from recorder.runtime import python_command
from recorder.workers import messages
from recorder.workers.pool import Workers
from tests.in_process.worker_call import run

#: All modules of ours that are started as processes.
MODULES = ["recorder", "recorder.workers.process", "recorder.exports.render_worker", "recorder.simulate.engine"]
PLANTED = "open(%r, 'w').close()\n"


def planted(folder: Path) -> Path:
    """Put modules of ours, and of the interpreter's, into a folder; give the file that they make once they are run."""
    trap = folder / "trap"
    for name in ("recorder", "recorder/workers", "recorder/exports", "media", "media/stream"):
        (folder / name).mkdir()
        for each in ("__init__", "__main__", "process", "render_worker"):
            (folder / name / f"{each}.py").write_text(PLANTED % str(trap))
    for name in ("asyncio", "contextlib", "ctypes", "json", "sitecustomize", "usercustomize"):
        (folder / f"{name}.py").write_text(PLANTED % str(trap))
    return trap


@pytest.mark.parametrize("module", MODULES)
def test_code_in_the_working_directory_is_not_run(tmp_path: Path, module: str) -> None:
    trap = planted(tmp_path)
    command, environment = python_command.command(module, "--help"), python_command.environment()
    subprocess.run(command, env=environment, cwd=tmp_path, input=b"", capture_output=True, check=False, timeout=60)
    assert not trap.exists()


def test_media_workers_run_nothing_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    trap = planted(tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")

    async def story() -> None:
        events: list[object] = []
        workers = Workers(1, tmp_path / "run", events.append)
        await workers.start()
        assert workers.well and not any(isinstance(event, messages.WorkerDied) for event in events)
        await workers.stop()

    run(story())
    assert not trap.exists()


def test_the_administrators_python_path_follows_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/srv/more")
    assert python_command.environment()["PYTHONPATH"] == os.pathsep.join((str(python_command.HOME), "/srv/more"))
    assert python_command.environment({})["PYTHONPATH"] == str(python_command.HOME)
