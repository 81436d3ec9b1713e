"""Secrets that the configuration names: from a file that nobody else may read, or from systemd."""

from __future__ import annotations

from pathlib import Path

import pytest

from recorder.errors import NotPossible, WrongUse
from recorder.runtime.secret_refs import bytes_of, secret_of


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "secret"
    made.write_text("s3cret\n")
    made.chmod(0o600)
    return made


def test_a_secret_is_one_line_without_its_end(file: Path) -> None:
    assert secret_of(f"file:{file}") == "s3cret"
    assert bytes_of(f"file:{file}") == b"s3cret\n"


@pytest.mark.parametrize(
    ("data", "mode", "problem"),
    [
        (b"s3cret", 0o640, "Others may read"),
        (b"", 0o600, "no secret"),
        (b" \n", 0o600, "no secret"),
        (b"\xff", 0o600, "no secret"),
    ],
)
def test_a_file_without_a_secret_is_refused(file: Path, data: bytes, mode: int, problem: str) -> None:
    file.write_bytes(data)
    file.chmod(mode)
    with pytest.raises(WrongUse, match=problem):
        secret_of(f"file:{file}")


def test_a_systemd_credential_is_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(file.parent))
    file.chmod(0o644)
    assert secret_of("credential:secret") == "s3cret"
    with pytest.raises(NotPossible, match="cannot be read"):
        secret_of("credential:other")
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    with pytest.raises(NotPossible, match="handed over no"):
        secret_of("credential:secret")
