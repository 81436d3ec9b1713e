"""Six libraries that the recorder stands on: required, locked, installed with it, and imported where they serve."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SIX = {
    "aiortc": ("aiortc", {"recorder/simulate"}),
    "asyncio-dgram": ("asyncio_dgram", {"recorder/simulate"}),
    "cryptography": ("cryptography", {"storage/keys", "media/srtp"}),
    "pylibsrtp": ("pylibsrtp", {"media/srtp"}),
    "sqlalchemy": ("sqlalchemy", {"storage/database"}),
    "structlog": ("structlog", {"recorder/observe"}),
}
"""By its name on PyPI: the module, and the rooms that rest on it (docs/decisions/0022)."""
SHIPPED = ("recorder", "admin_api", "media", "personal", "sip", "storage")


def required(lines: list[str]) -> dict[str, str]:
    """Return lower bounds by name."""
    found = [re.match(r"([A-Za-z0-9._-]+?)(?:\[[^]]*\])?\s*>=\s*([0-9.]+)", line) for line in lines]
    return {each[1].lower(): each[2] for each in found if each}


def imported(file: Path) -> Iterator[str]:
    """Yield the top modules that a file imports, wherever in it, but for those that only types need."""
    tree = ast.parse(file.read_text())
    typed = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typed:
            continue
        if isinstance(node, ast.Import):
            yield from (each.name.split(".")[0] for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


def numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


@pytest.mark.parametrize("name", SIX)
def test_it_is_required_and_locked_with_hashes(name: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    least = required(project["dependencies"])[name]
    for lock in ("requirements.lock", "requirements-dev.lock"):
        pinned = re.search(rf"^{name}==([0-9.]+) \\\n    --hash=sha256:[0-9a-f]{{64}}", (ROOT / lock).read_text(), re.M)
        assert pinned and numbers(pinned[1]) >= numbers(least), lock


@pytest.mark.parametrize("name", SIX)
def test_the_installed_recorder_asks_for_it(name: str) -> None:
    lines = importlib.metadata.requires("siprec-recorder") or []
    assert name in required([line for line in lines if "extra ==" not in line])
    assert importlib.metadata.version(name)


@pytest.mark.parametrize("name", SIX)
def test_the_rooms_that_rest_on_it_import_it(name: str) -> None:
    module, rooms = SIX[name]
    files = [file for package in SHIPPED for file in (ROOT / package).rglob("*.py")]
    users = {file.relative_to(ROOT).parent.as_posix() for file in files if module in imported(file)}
    assert rooms <= users


def test_what_records_and_what_only_asks_loads_neither_aiortc_nor_asyncio_dgram() -> None:
    """They bring FFmpeg, which costs a worker 31 MiB."""
    modules = ("recorder.__main__", "recorder.service.daemon", "recorder.workers.process", "recorder.simulate.run")
    told = f"import sys, {', '.join(modules)}; print(*{{each.split('.')[0] for each in sys.modules}})"
    loaded = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert not {"aiortc", "asyncio_dgram", "av"} & set(loaded.split())
