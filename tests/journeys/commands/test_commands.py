"""Every command explains itself with an example, and with --json it prints one document."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.server import Server, command, server
from tests.surface.process import every_help


def test_help_shows_an_example() -> None:
    helps = every_help()
    assert len(helps) > 30
    assert [words for words, text in helps.items() if "Example: recorder" not in " ".join(text.split())] == []


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A place where everything is prepared."""
    with server(tmp_path_factory.mktemp("ready")) as one:
        one.init()
        yield one


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("calls", "--state", "lost"), 2),
        (("calls", "--since", "yesterday"), 2),
        (("calls", "--since", "99999999999999d"), 2),
        (("calls", "--customer", "nobody"), 2),
        (("calls", "--wrong-option"), 2),
        (("export", "11111111-2222-4333-8444-555555555555", "-o", "/nowhere/call.wav"), 1),
        (("export", "11111111-2222-4333-8444-555555555555", "-o", "call.doc"), 2),
        (("verify", "11111111-2222-4333-8444-555555555555"), 1),
        (("token", "revoke", "nobody"), 1),
        (("token", "create", "--customer", "acme", "--role", "king", "--name", "x"), 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_a_failed_command_prints_no_traceback(ready: Server, words: tuple[str, ...], status: int) -> None:
    done = ready.run(*words)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.strip()


def test_an_unwritable_place_for_init(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = command("init", "--config", tmp_path / "file" / "recorder.toml")
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert str(tmp_path / "file") in done.stderr
