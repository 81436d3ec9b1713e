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


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Return the configuration of a trial installation."""
    config = tmp_path / "recorder.toml"
    initialise(config)
    return config


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("memory", [SHARED_MEMORY / "recorder-7-x", None])
def test_live_state_goes_to_a_tmpfs_if_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: Path | None
) -> None:
    monkeypatch.setattr(initialise_, "memory_folder", lambda config, user: memory)
    initialise(tmp_path / "recorder.toml")
    node = load(tmp_path / "recorder.toml", start=True).node
    assert (node.runtime_dir, node.trial) == ((memory, False) if memory else (tmp_path / "run", True))
    assert not node.runtime_dir.exists(), "`serve` makes it"


def test_a_second_run_keeps_all_and_shows_no_token(tmp_path: Path) -> None:
    config = tmp_path / "recorder.toml"
    first, before = initialise(config), files(tmp_path)
    assert first.token and first.token not in repr(first) and first.kept == []
    assert load(config).node.data_dir == tmp_path / "data"
    assert first.sentences()[-1].endswith(f"recorder serve --config {config}")
    again = initialise(config)
    assert again.sentences()[-2:] == ["", first.sentences()[-1]]
    assert (again.token, again.made) == (None, []) and files(tmp_path) == before


def test_the_customer_has_the_name_that_was_asked_for(tmp_path: Path) -> None:
    config = tmp_path / "recorder.toml"
    with pytest.raises(WrongUse, match="cannot be the name") as told:
        initialise(config, "Globex SE")
    assert "a to z" in told.value.hint and not config.exists()
    assert initialise(config, "globex").customer == "globex"
    assert [each.name for each in load(config).customers] == ["globex"]
    assert initialise(config, "globex").made == [] and initialise(config).made == []
    with pytest.raises(WrongUse, match="has no customer acme") as told:
        initialise(config, "acme")
    assert "recorder customer add acme" in told.value.hint


def test_init_creates_only_missing_files(made: Path) -> None:
    for name in ("tls.crt", "tls.key"):
        (made.parent / name).unlink()
    assert len(initialise(made).made) == 1


def test_a_lost_root_secret_is_not_replaced(made: Path) -> None:
    root, aside = made.parent / "root.key", made.parent / "elsewhere"
    root.rename(aside)
    with pytest.raises(KeysMissing) as told:
        initialise(made)
    assert "restore theirs" in told.value.hint and not root.exists()
    aside.rename(root)
    assert initialise(made).made == []


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("tls.crt", None, r"sip\.certificate.*\(line "),
        ("tls.key", None, r"sip\.private_key.*\(line "),
        ("admin.key", None, r"admin_api\.private_key.*\(line "),
        ("tls.key", "admin.key", "belongs to private_key"),
        ("root.key", bytes(31), "32 random bytes"),
        ("root.key", bytes(32), "not the one that the keys of acme"),
    ],
)
def test_an_unusable_key_or_certificate_is_named_and_kept(
    made: Path, file: str, content: bytes | str | None, says: str
) -> None:
    place = made.parent / file
    if content is None:
        place.unlink()
    else:
        place.write_bytes(content if isinstance(content, bytes) else (made.parent / content).read_bytes())
    before = files(made.parent)
    with pytest.raises(WrongUse, match=says) as told:
        initialise(made)
    assert told.value.status == 2 and files(made.parent) == before
