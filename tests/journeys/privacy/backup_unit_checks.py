"""Backup, verification and keys on a machine with the units of config/: played by test_backup.py, as root there.

The root secret is first a credential, then a file. Whatever root runs, the files of the service stay the service's.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyrage
import pytest

from tests.daemon import documents
from tests.daemon.api import Api
from tests.daemon.coded_calls import record
from tests.journeys.crashes.systemd_unit_checks import (
    CREDENTIALS,
    HERE,
    ROOT_CREDENTIAL,
    ROOT_FILE,
    Unit,
    journal,
    systemctl,
)

DATA, BACKUP, SECRET = Path("/var/lib/recorder"), Path("/var/backups/recorder"), Path("/etc/recorder/root.key")


@pytest.fixture(scope="module")
def it(tmp_path_factory: pytest.TempPathFactory) -> Api:
    """The running service with one call, and its units."""
    unit = Unit(tmp_path_factory.mktemp("unit"), DATA, media=20_000, ports=400, udp=5060, tls=5061)
    for path in HERE.glob("config/recorder-*.*"):
        shutil.copy(path, "/etc/systemd/system")
    unit.install()
    CREDENTIALS.mkdir()
    hand_over(SECRET)
    systemctl("start", "recorder")
    api = Api(unit)
    record(api, 1)
    return api


def hand_over(secret: Path) -> None:
    """Give commands of the service's user the credential."""
    shutil.copy(secret, CREDENTIALS / "recorder-root-key")
    for path in (CREDENTIALS, CREDENTIALS / "recorder-root-key"):
        shutil.chown(path, "recorder")


def as_root(*words: object, credential: bool = False, status: int = 0) -> str:
    """Run a command as root, by default without the credential; return what it prints."""
    line = [sys.executable, "-m", "recorder", *map(str, words), "--config", "/etc/recorder/recorder.toml"]
    environment = {**os.environ, **({"CREDENTIALS_DIRECTORY": str(CREDENTIALS)} if credential else {})}
    done = subprocess.run(line, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def of_the_service(place: Path = DATA) -> None:
    """Nothing below a folder belongs to anybody but the service's user."""
    assert {path.owner() for path in [place, *place.rglob("*")]} == {"recorder"}


def heard(it: Api) -> bytes:
    (call,) = it.calls()
    return it.sound(call["id"])


def started_again(it: Api, sound: bytes) -> None:
    of_the_service()
    systemctl("start", "recorder")
    assert heard(it) == sound
    assert it.one.run("verify").returncode == 0, it.one.run("verify").stdout
    of_the_service()


def test_the_timers_run_their_commands_beside_the_service(it: Api) -> None:
    before = sorted(path.name for path in Path("/run/recorder").rglob("*"))
    for name in ("recorder-backup", "recorder-verify"):
        systemctl("enable", "--now", f"{name}.timer")
        systemctl("start", name)
        assert systemctl("show", "--property", "Result", "--value", name).strip() == "success", journal()
    assert (BACKUP / "generations/1/manifest.jsonl").exists()
    assert (DATA / ".verified").exists()
    of_the_service()
    of_the_service(BACKUP)
    assert sorted(path.name for path in Path("/run/recorder").rglob("*")) == before
    assert systemctl("is-active", "recorder").strip() == "active"
    assert {"recorder-backup.timer", "recorder-verify.timer"} <= set(systemctl("list-timers", "--no-legend").split())


def test_a_secret_that_is_a_credential_is_changed_by_root(it: Api) -> None:
    sound = heard(it)
    systemctl("stop", "recorder")
    new = SECRET.with_name("root-2.key")
    refused = it.one.run("keys", "rotate", "--to", f"file:{new}")
    assert refused.returncode == 3 and "/etc/recorder belongs to root" in refused.stderr
    assert "user recorder" in refused.stderr and "root-2.key" in refused.stderr
    said = as_root("keys", "rotate", "--from", f"file:{SECRET}", "--to", f"file:{new}")
    assert f"LoadCredential=recorder-root-key:{new}" in said
    assert (new.owner(), new.stat().st_mode & 0o777) == ("root", 0o600)
    new.rename(SECRET)
    hand_over(SECRET)
    started_again(it, sound)


def test_lost_keys_and_a_lost_credential_are_restored_by_root(it: Api, tmp_path: Path) -> None:
    identity = pyrage.x25519.Identity.generate()
    key, file = tmp_path / "key.txt", tmp_path / "keys.age"
    key.write_text(f"{identity}\n")
    sound = heard(it)
    as_root("keys", "backup", "--recipient", str(identity.to_public()), "-o", file, credential=True)
    of_the_service()
    systemctl("stop", "recorder")
    shutil.rmtree(DATA / "keys")
    SECRET.unlink()
    (CREDENTIALS / "recorder-root-key").unlink()
    assert "--to file:PATH" in as_root("keys", "restore", file, "--identity", key, status=3)
    as_root("keys", "restore", file, "--identity", key, "--to", f"file:{SECRET}")
    assert (SECRET.owner(), SECRET.stat().st_mode & 0o777) == ("root", 0o600)
    hand_over(SECRET)
    started_again(it, sound)


def test_a_secret_that_is_a_file_is_changed_by_root(it: Api) -> None:
    sound = heard(it)
    systemctl("stop", "recorder")
    it.one.config.write_text(it.one.config.read_text().replace(ROOT_CREDENTIAL, ROOT_FILE))
    shutil.chown(SECRET, "recorder")
    new = SECRET.with_name("root-3.key")
    as_root("keys", "rotate", "--to", f"file:{new}")
    assert (new.owner(), new.stat().st_mode & 0o777) == ("recorder", 0o600), "the service reads it itself"
    it.one.config.write_text(it.one.config.read_text().replace(ROOT_FILE, f"file:{new}"))
    started_again(it, sound)


SHELL = """
recorder() { /opt/recorder/.venv/bin/recorder "$@"; }
recorderctl() {
    systemd-run --quiet --pipe --wait --uid=recorder -p LoadCredential=recorder-root-key:/etc/recorder/root.key \\
        /opt/recorder/.venv/bin/recorder "$@"
}
"""
"""What stands for the commands of the package."""


def typed(*words: str) -> None:
    """Run the block of docs/operations.md that has these words, as root types it."""
    (block,) = (each for each in documents.blocks("docs/operations.md") if all(word in each.text for word in words))
    done = subprocess.run(["bash", "-ec", SHELL + block.script({})], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{block}{done.stdout}{done.stderr}"
    for promise in block.promises:
        assert re.search(promise, done.stdout), f"{block}{done.stdout}"


def test_the_documented_restore_by_root(it: Api) -> None:
    sound = heard(it)
    typed("recorderctl backup ")
    of_the_service(BACKUP)
    typed("recorder restore ", "audit accept")
    assert heard(it) == sound
    of_the_service()


def test_the_timers_take_an_encrypted_credential_too(it: Api) -> None:
    sound = heard(it)
    named = it.one.config.read_text()
    (current,) = re.findall(r'root = "file:(.*)"', named)
    Path(current).replace(SECRET)
    it.one.config.write_text(named.replace(f"file:{current}", ROOT_CREDENTIAL))
    systemctl("stop", "recorder")
    sealed = SECRET.with_name("root.cred")
    subprocess.run(["systemd-creds", "encrypt", "--name=recorder-root-key", SECRET, sealed], check=True)
    SECRET.unlink()
    changed = "[Service]\nLoadCredential=\nLoadCredentialEncrypted=recorder-root-key:/etc/recorder/root.cred\n"
    for name in ("recorder.service.d", "recorder-.service.d"):
        folder = Path("/etc/systemd/system", name)
        folder.mkdir()
        (folder / "credential.conf").write_text(changed)
    systemctl("daemon-reload")
    systemctl("start", "recorder")
    assert heard(it) == sound
    systemctl("start", "recorder-verify")
    systemctl("start", "recorder-backup")
    of_the_service()
