"""keys rotate, backup, restore: what they print, what they refuse, and what stands in the audit log."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from recorder.maintenance.cli_audit import actor
from recorder.persist.instance_lock import node_lock
from tests.in_process.command_line import Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_rotation_makes_a_missing_file_and_says_the_next_step(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    to = f"file:{place.folder}/second.key"
    assert place.run("keys", "rotate", "--to", to) == 0
    assert f'root = "{to}"' in capsys.readouterr().out
    assert place.run("calls") == 3
    assert "root secret" in capsys.readouterr().err
    place.configure("second.key")
    assert place.run("calls") == 0
    assert place.run("keys", "rotate", "--from", f"file:{place.folder}/root.key", "--json") == 0
    first = place.acts()[0]
    assert (first["actor"], first["role"], first["action"]) == (actor().name, "operator", "keys.rotate")
    assert place.run("audit", "verify") == 0


def test_rotation_needs_two_secrets_and_the_node_alone(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.run("keys", "rotate") == 2
    assert place.run("keys", "rotate", "--from", f"file:{place.folder}/root.key") == 2
    with node_lock(place.settings()):
        assert place.run("keys", "rotate", "--to", f"file:{place.folder}/second.key") == 3
    assert "Stop it first" in capsys.readouterr().err
    assert not (place.folder / "second.key").exists()
    assert not place.acts()


def test_a_backup_brings_lost_keys_back(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    x25519 = pytest.importorskip("pyrage").x25519
    identity = x25519.Identity.generate()
    key, file = place.folder / "key.txt", place.folder / "keys.age"
    key.write_text(f"# a key\n{identity}\n")
    secret = place.open().secret(7, "media")
    to = ["keys", "backup", "--recipient", str(identity.to_public()), "-o", str(file)]
    with node_lock(place.settings()):  # the daemon may run
        assert place.run(*to, "--json") == 0
    assert json.loads(capsys.readouterr().out)["customers"] == ["acme"]
    assert file.stat().st_mode & 0o777 == 0o600
    assert bytes(range(32)) not in file.read_bytes()
    assert place.run(*to) == 2  # an existing file is kept
    back = ["keys", "restore", str(file), "--identity", str(key)]
    assert place.run(*back, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"restored": [], "kept": ["acme"]}
    shutil.rmtree(place.keys)
    (place.folder / "root.key").unlink()
    with node_lock(place.settings_unchecked()):
        assert place.run(*back) == 3
    assert place.run(*back) == 0
    assert "Restored: acme" in capsys.readouterr().out
    assert place.open().secret(7, "media") == secret
    assert [act["action"] for act in place.acts()] == ["keys.backup", "keys.restore"]
    assert place.run("audit", "verify") == 0


def test_an_invalid_recipient_file_or_identity_fails(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pyrage")
    assert place.run("keys", "backup", "--recipient", "age1wrong", "-o", str(place.folder / "x")) == 2
    assert place.run("keys", "restore", str(place.folder / "none"), "-i", str(place.config)) == 3
    assert place.run("keys", "restore", str(place.config), "-i", str(place.config)) == 2
    assert "AGE-SECRET-KEY-1" in capsys.readouterr().err
    assert not place.acts()
