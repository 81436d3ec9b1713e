"""keys rotate, backup, restore: what they print, what they refuse, and what stands in the audit log."""

from __future__ import annotations

import shutil

import pyrage

from recorder.maintenance.cli_audit import actor
from recorder.persist.backup_time import backed_up_at
from recorder.persist.instance_lock import node_lock
from tests.in_process.command_line import Answer, Place, Printed


def test_rotation_makes_a_missing_file_and_names_the_next_step(place: Place, printed: Printed) -> None:
    to = f"file:{place.folder}/second.key"
    assert f'root = "{to}"' in printed("keys", "rotate", "--to", to)[0]
    assert "root secret" in printed("calls", status=3)[1]
    place.configure("second.key")
    assert place.run("calls") == 0
    assert place.run("keys", "rotate", "--from", f"file:{place.folder}/root.key", "--json") == 0
    first = place.acts()[0]
    assert (first["actor"], first["role"], first["action"]) == (actor().name, "operator", "keys.rotate")
    assert place.run("audit", "verify") == 0


def test_rotation_needs_two_secrets_and_a_stopped_daemon(place: Place, printed: Printed) -> None:
    assert place.run("keys", "rotate") == 2
    assert place.run("keys", "rotate", "--from", f"file:{place.folder}/root.key") == 2
    with node_lock(place.settings()):
        assert "Stop it first" in printed("keys", "rotate", "--to", f"file:{place.folder}/second.key", status=3)[1]
    assert not (place.folder / "second.key").exists()
    assert not place.acts()


def test_a_backup_brings_lost_keys_back(place: Place, answer: Answer, printed: Printed) -> None:
    identity = pyrage.x25519.Identity.generate()
    key, file = place.folder / "key.txt", place.folder / "keys.age"
    key.write_text(f"# a key\n{identity}\n")
    secret = place.open().secret(7, "media")
    to = ["keys", "backup", "--recipient", str(identity.to_public()), "-o", str(file)]
    back = ["keys", "restore", str(file), "--identity", str(key)]
    assert backed_up_at(place.data) is None
    with node_lock(place.settings()):  # the daemon may run
        assert answer(*to)["customers"] == ["acme"]
    assert backed_up_at(place.data) is not None
    assert file.stat().st_mode & 0o777 == 0o600
    assert bytes(range(32)) not in file.read_bytes()
    assert place.run(*to) == 2  # an existing file is kept
    assert answer(*back) == {"restored": [], "kept": ["acme"]}
    shutil.rmtree(place.keys)
    (place.folder / "root.key").unlink()
    with node_lock(place.settings_unchecked()):
        assert place.run(*back) == 3
    assert "Restored: acme" in printed(*back)[0]
    assert place.open().secret(7, "media") == secret
    assert [act["action"] for act in place.acts()] == ["keys.backup", "keys.restore"]
    assert place.run("audit", "verify") == 0


def test_an_invalid_recipient_file_or_identity_fails(place: Place, printed: Printed) -> None:
    assert place.run("keys", "backup", "--recipient", "age1wrong", "-o", str(place.folder / "x")) == 2
    assert place.run("keys", "restore", str(place.folder / "none"), "-i", str(place.config)) == 3
    _, err = printed("keys", "restore", str(place.config), "-i", str(place.config), status=2)
    assert "AGE-SECRET-KEY-1" in err and not place.acts()
