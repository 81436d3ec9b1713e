"""`init`: everything once, nothing twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from recorder.cli import init as initialise_
from recorder.cli.init import initialise
from recorder.config.loader import load
from recorder.errors import WrongUse
from recorder.runtime.folders import SHARED_MEMORY
from storage.errors import KeysMissing


def test_live_state_goes_to_a_tmpfs_if_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for memory in (SHARED_MEMORY / "recorder-7-x", None):
        monkeypatch.setattr(initialise_, "memory_folder", lambda config, user, memory=memory: memory)
        config = tmp_path / str(memory is None) / "recorder.toml"
        initialise(config)
        node = load(config, start=True).node
        assert (node.runtime_dir, node.trial) == ((memory, False) if memory else (config.parent / "run", True))
        assert not node.runtime_dir.exists(), "`serve` makes it"


def test_a_trial_installation_is_one_folder(tmp_path: Path) -> None:
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


def test_init_creates_only_missing_files(tmp_path: Path) -> None:
    initialise(tmp_path / "recorder.toml")
    for name in ("tls.crt", "tls.key"):
        (tmp_path / name).unlink()
    assert len(initialise(tmp_path / "recorder.toml").made) == 1


def test_a_lost_root_secret_is_not_replaced(tmp_path: Path) -> None:
    initialise(tmp_path / "recorder.toml")
    root = tmp_path / "root.key"
    root.rename(tmp_path / "elsewhere")
    with pytest.raises(KeysMissing) as told:
        initialise(tmp_path / "recorder.toml")
    assert "restore theirs" in told.value.hint
    assert not root.exists()
    (tmp_path / "elsewhere").rename(root)
    assert initialise(tmp_path / "recorder.toml").made == []


@pytest.mark.parametrize(
    ("file", "key"),
    [("tls.crt", "sip.certificate"), ("tls.key", "sip.private_key"), ("admin.key", "admin_api.private_key")],
)
def test_half_a_pair_is_said_and_neither_kept_nor_made(tmp_path: Path, file: str, key: str) -> None:
    initialise(tmp_path / "recorder.toml")
    (tmp_path / file).unlink()
    with pytest.raises(WrongUse, match=key) as told:
        initialise(tmp_path / "recorder.toml")
    assert "(line " in str(told.value)
    assert not (tmp_path / file).exists()


def test_a_key_of_another_certificate_is_said(tmp_path: Path) -> None:
    initialise(tmp_path / "recorder.toml")
    (tmp_path / "tls.key").write_bytes((tmp_path / "admin.key").read_bytes())
    with pytest.raises(WrongUse, match="belongs to private_key"):
        initialise(tmp_path / "recorder.toml")


@pytest.mark.parametrize(("size", "says"), [(31, "32 random bytes"), (32, "not the one that the keys of acme")])
def test_a_root_secret_that_opens_nothing_is_said(tmp_path: Path, size: int, says: str) -> None:
    initialise(tmp_path / "recorder.toml")
    root = (tmp_path / "root.key").read_bytes()
    (tmp_path / "root.key").write_bytes(bytes(size))
    with pytest.raises(WrongUse, match=says) as told:
        initialise(tmp_path / "recorder.toml")
    assert told.value.status == 2
    (tmp_path / "root.key").write_bytes(root)
    assert initialise(tmp_path / "recorder.toml").made == []
