"""The directory becomes the customer's users: added, renamed, gone, back; and a broken filter does no harm."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from recorder.config.faults import SettingsError
from recorder.config.parser import parse
from recorder.directory import factory
from recorder.directory.token import from_certificate, from_secret
from recorder.errors import NotPossible
from storage.directory.delta_link import FILE_NAME, DirectoryLink, Link
from storage.directory.sync_pages import FILE_NAME as PAGES
from tests.in_process.certificates import application
from tests.recorder.entra import CLIENT, SECRET, TENANT, Entra, Town, crowd, town_in


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    with town_in(tmp_path) as made:
        yield made


def test_the_life_of_people_in_the_directory(town: Town) -> None:
    crowd(town.entra)
    assert town.sync() == 0
    before = town.users()
    assert len(before) == 50 and {state for state, _, _ in before.values()} == {"active"}

    town.entra.asked.clear()
    town.entra.partial = True
    town.entra.put("id-1", mail="married@x.example")
    town.entra.remove("id-2", "changed")
    town.entra.put("new", givenName="Nora")
    assert town.sync() == 0
    assert sum("/delta" in path for path in town.entra.asked) == 1  # only what has changed
    after = town.users()
    assert after["P1"] == ("active", before["P1"][1], ["p1@x.example"])
    assert after["P2"][0] == "inactive" and after["Nora"][0] == "active" and len(after) == 51

    town.entra.partial = False
    town.entra.put("id-2", givenName="P2", mail="p2@x.example")  # out of the recycle bin
    assert town.sync() == 0
    assert town.users()["P2"] == ("active", before["P2"][1], ["p2@x.example"])  # what was theirs until they left


SYNC = ("directory", "sync", "--customer", "acme")


def test_a_killed_synchronisation_resumes_at_its_page(town: Town) -> None:
    crowd(town.entra, 10)
    town.entra.put("id-8", mobilePhone="+49 170 8")  # of a change it would be asked what other numbers there are
    town.entra.stops_at = "skiptoken=0.6"
    words = [sys.executable, "-m", "recorder", *SYNC, "--config", str(town.config)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as first:
        assert town.entra.stopped.wait(60)
        first.kill()
    kept = (town.folder / "data" / "customers" / "acme" / PAGES).read_bytes()
    assert b"x.example" not in kept
    town.entra.stops_at = ""
    town.entra.goes_on.set()
    town.entra.asked.clear()
    assert town.sync() == 0
    assert [path.rpartition("=")[2] for path in town.entra.asked if "/users" in path] == ["0.6", "0.9"]
    assert len(town.users()) == 10
    assert not (town.folder / "data" / "customers" / "acme" / PAGES).exists()


def test_a_page_that_the_directory_forgot_begins_anew(town: Town) -> None:
    crowd(town.entra, 10)
    town.entra.statuses["skiptoken=0.6"] = 500
    assert town.sync() == 3
    town.entra.statuses["skiptoken=0.6"] = 410
    town.entra.asked.clear()
    assert town.sync() == 3  # in this place it is no answer of a directory even for a synchronisation that began anew
    at, then = [path for path in town.entra.asked if "/delta" in path][:2]
    assert "skiptoken=0.6" in at and "skiptoken" not in then
    town.entra.statuses.clear()
    assert town.sync() == 0 and len(town.users()) == 10


def test_a_link_that_is_too_old_means_a_whole_synchronisation(town: Town, capsys: Any) -> None:
    crowd(town.entra)
    assert town.sync() == 0
    town.entra.remove("id-7", "deleted")
    town.entra.forgotten = 1000
    capsys.readouterr()
    assert town.sync("--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["whole"] is True and told["unmapped"] == 1 and told["unchanged"] == 49
    assert town.users()["P7"][0] == "inactive"


def test_a_mass_removal_needs_confirmation(town: Town, capsys: Any) -> None:
    crowd(town.entra)
    assert town.sync("--dry-run") == 0
    assert not (town.data / "customers" / "acme" / PAGES).exists() and town.users() == {}
    assert town.sync() == 0
    for number in range(10):
        town.entra.remove(f"id-{number}")
    for words, status in (((), 1), (("--whole",), 1), (("--dry-run",), 0)):
        assert town.sync(*words) == status
    shown = capsys.readouterr().err
    assert "10 of 50" in shown and "--yes" in shown
    assert {state for state, _, _ in town.users().values()} == {"active"}
    assert town.sync("--yes") == 0
    assert sum(state == "inactive" for state, _, _ in town.users().values()) == 10


def test_an_interrupted_sync_is_repeated_without_duplicates(town: Town) -> None:
    crowd(town.entra, 10)
    town.entra.permitted = False
    assert town.sync() == 3 and town.users() == {}
    town.entra.permitted = True
    assert town.sync() == 0
    (town.data / "customers" / "acme" / FILE_NAME).unlink()  # died before it was written
    assert town.sync() == 0
    assert len(town.users()) == 10
    acts = [act["reason"] for act in town.acts() if act["action"] == "users.import"]
    assert acts == ["10 added, 0 changed, 0 unmapped, 0 unchanged"]
    assert "p1@x" not in json.dumps(town.acts())
    raw = b"".join(path.read_bytes() for path in town.data.rglob("*") if path.is_file())
    assert b"p7@x.example" not in raw and b"deltatoken" not in raw


def test_two_at_once_are_one_after_the_other(town: Town, capsys: Any) -> None:
    with DirectoryLink(town.data / "customers" / "acme", town.open(), "entra").alone() as alone:
        assert alone and town.sync() == 3
    assert "already" in capsys.readouterr().err


def test_a_damaged_link_costs_a_whole_synchronisation_only(town: Town) -> None:
    keys = town.open()
    folder = town.data / "customers" / "acme"
    link = DirectoryLink(folder, keys, "entra")
    assert link.read() is None
    link.write(Link("https://x/users/delta", "2026-03-01T00:00:00Z"))
    assert link.read() == Link("https://x/users/delta", "2026-03-01T00:00:00Z")
    assert DirectoryLink(folder, keys, "other").read() is None
    for wrong in (b"", b"{}", b"[]", b'{"version": 1, "sealed": "AAAA"}', b'{"version": 9}'):
        (folder / FILE_NAME).write_bytes(wrong)
        assert link.read() is None


def test_directory_check_names_what_is_missing(town: Town, capsys: Any) -> None:
    def check(status: int, *words: str, customer: str = "acme") -> Any:
        assert town.run("directory", "check", "--customer", customer, *words) == status
        return capsys.readouterr()

    assert "unknown" in check(0).out
    town.entra.put("id-1", givenName="P1", mail="p1@x.example")
    shown = check(0)
    assert "0 have a number, 0 a SIP address, 1 e-mail" in shown.out and "None of them has a number" in shown.err
    last = (datetime.now(UTC) + timedelta(days=10)).date()
    town.say(f"secret_expires = {last}")
    told = json.loads(check(0, "--json").out)
    left = {10, (last - datetime.now(UTC).date()).days}  # it may be midnight just now
    assert told["credential_expires"] == last.isoformat() and any(f"{n} days" in told["warning"] for n in left)
    assert told["looked_at"] == {"users": 1, "numbers": 0, "sip": 0, "mail": 1}
    town.entra.permitted = False
    assert "User.Read.All" in check(3).err
    (town.folder / "secret").chmod(0o644)
    check(2)
    (town.folder / "secret").unlink()
    assert "directory[0].secret" in check(2).err
    check(2, customer="beta")


def test_credentials_are_announced_thirty_days_before_expiry() -> None:
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)
    for days, words in ((31, ""), (30, "in 30 days"), (0, "in 0 days"), (-1, "has expired")):
        credential = from_secret(b"x", now + timedelta(days=days, hours=1))
        assert words in factory.warning(credential, now)
        assert bool(factory.warning(credential, now)) == bool(words)
    assert factory.warning(from_secret(b"x", None), now) == ""
    both, _ = application(days=3)
    assert "certificate" in factory.warning(from_certificate(both), datetime.now(UTC))


def test_credentials_come_from_systemd_too(town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both, _ = application()
    (tmp_path / "entra-certificate").write_bytes(both)
    town.say()
    text = town.config.read_text().replace(f'secret = "file:{town.folder}/secret"', "")
    town.config.write_text(text.replace("login =", 'certificate = "credential:entra-certificate"\nlogin =', 1))
    directory = town.settings().directories[0]
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(NotPossible, match="systemd"):
        factory.credential_of(directory)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert factory.credential_of(directory).certificate is not None


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("login =", 'certificate = "file:/x"\nlogin =', "not both"),
        ("login =", 'cloud = "moon"\nlogin =', "directory[0].cloud"),
        ("login =", 'secret_expires = "soon"\nlogin =', "a date without quotes"),
        ("login =", "secret_expires = 2027-03-31T10:00:00Z\nlogin =", "a date"),
        ("login =", "sync_minutes = -1\nlogin =", "directory[0].sync_minutes"),
        ("login =", "brake_percent = 101\nlogin =", "directory[0].brake_percent"),
        ("login =", "colour = 1\nlogin =", "no such key"),
        ("login =", "# login =", "go together"),
        ('customer = "acme"', 'customer = "beta"', "the name of a [[customer]]"),
        (f'tenant = "{TENANT}"', 'tenant = "a b"', "directory[0].tenant"),
        (f'client = "{CLIENT}"', 'client = "acme"', "an id such as"),
        ('secret = "file:', 'secret = "', "credential:NAME"),
        ("graph =", 'graph = "http://x"\n# ', "an https address"),
        ("[[directory]]", "[directory]", "double brackets"),
    ],
)
def test_wrong_settings_are_named_without_the_secret(tmp_path: Path, old: str, new: str, words: str) -> None:
    town = Town(tmp_path, Entra(address="https://127.0.0.1:9"), tmp_path / "root.key")
    text = town.config.read_text()
    assert old in text
    with pytest.raises(SettingsError) as caught:
        parse(text.replace(old, new).encode())
    assert words in caught.value.sentence() and SECRET not in caught.value.sentence()
