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


def test_a_file_that_others_may_read_is_refused(file: Path) -> None:
    file.chmod(0o640)
    with pytest.raises(WrongUse, match="Others may read"):
        secret_of(f"file:{file}")


@pytest.mark.parametrize("data", [b"", b" \n", b"\xff"])
def test_an_empty_secret_is_none(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    with pytest.raises(WrongUse, match="no secret"):
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
