"""`init`: everything once, nothing twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from recorder.initialise import initialise
from recorder.settings_files import load
from storage.errors import KeysMissing


def test_a_trial_keeps_everything_in_one_folder_and_can_be_loaded(tmp_path: Path) -> None:
    made = initialise(tmp_path / "recorder.toml")
    assert made.token
    assert made.kept == []
    assert made.token not in repr(made)
    settings = load(tmp_path / "recorder.toml")
    assert settings.node.data_dir == tmp_path / "data"
    assert made.sentences()[-1].endswith(f"recorder serve --config {tmp_path}/recorder.toml")


def test_a_second_time_keeps_all_and_shows_no_token(tmp_path: Path) -> None:
    initialise(tmp_path / "recorder.toml")
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    again = initialise(tmp_path / "recorder.toml")
    assert again.token is None
    assert again.made == []
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_only_what_is_missing_is_made(tmp_path: Path) -> None:
    initialise(tmp_path / "recorder.toml")
    for name in ("tls.crt", "tls.key"):
        (tmp_path / name).unlink()
    assert len(initialise(tmp_path / "recorder.toml").made) == 1


def test_a_lost_root_secret_is_not_replaced_by_one_that_opens_nothing(tmp_path: Path) -> None:
    initialise(tmp_path / "recorder.toml")
    root = tmp_path / "root.key"
    root.rename(tmp_path / "elsewhere")
    with pytest.raises(KeysMissing) as told:
        initialise(tmp_path / "recorder.toml")
    assert "bring back theirs" in told.value.hint
    assert not root.exists()
    (tmp_path / "elsewhere").rename(root)
    assert initialise(tmp_path / "recorder.toml").made == []
