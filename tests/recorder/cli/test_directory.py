"""`recorder directory import`: what would change is shown, a broken filter is stopped, everything is written down."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from recorder.cli import directory
from recorder.cli.main import run
from recorder.config.loader import load
from recorder.persist.customers import open_customer
from tests.in_process.storage_node import record
from tests.recorder.cli.test_privacy import Place

HEAD = "upn,first_name,numbers\n"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def imported(place: Place, text: str, *more: str) -> int:
    file = place.folder / "people.csv"
    file.write_text(HEAD + text)
    where = ["--customer", "acme", "--config", str(place.config)]
    return run(["directory", "import", str(file), *where, *more])


def kept(place: Place) -> dict[str, str]:
    """Return the users and their states, and check that nobody is named in the audit log."""

    async def look() -> dict[str, str]:
        settings = load(place.config)
        acme = await open_customer(settings, settings.customers[0])
        users, _ = await acme.users.listed(100)
        assert "Mira" not in str(acme.audit.read().items) and "m@x" not in str(acme.audit.read().items)
        await acme.close()
        return {user.person.upn: user.state.value for user in users}

    return asyncio.run(look())


def test_people_are_taken_over(place: Place, capsys: Any) -> None:
    assert imported(place, "m@x,Mira,+491\nt@x,Tove,\n") == 0
    assert "added      2" in capsys.readouterr().out
    assert kept(place) == {"m@x": "active", "t@x": "active"}
    assert imported(place, "m@x,Maria,+491\nt@x,Tove,\n", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "customer": "acme",
        "done": True,
        "whole": True,
        "added": 0,
        "changed": 1,
        "unmapped": 0,
        "unchanged": 1,
        "calls_changed": 0,
    }


def test_a_dry_run_changes_nothing(place: Place, capsys: Any) -> None:
    assert imported(place, "m@x,Mira,\n", "--dry-run") == 0
    assert kept(place) == {}
    shown = capsys.readouterr()
    assert "Nothing was changed." in shown.err and "calls" not in shown.out


def test_calls_of_before_get_their_users(place: Place, capsys: Any) -> None:
    called(place, "+4930123456")
    assert imported(place, "m@x,Mira,030 123456\n") == 0
    assert "calls      1 got or lost a user" in capsys.readouterr().out
    assert imported(place, "m@x,Mira,030 123456\n") == 0
    assert "calls      0 got" in capsys.readouterr().out


def called(place: Place, number: str) -> None:
    """Have a call in the index."""

    async def write() -> None:
        settings = load(place.config)
        acme = await open_customer(settings, settings.customers[0])
        await record(acme, number=number)
        await acme.close()

    asyncio.run(write())


def test_a_broken_filter_is_stopped(place: Place, capsys: Any) -> None:
    imported(place, "m@x,Mira,\nt@x,Tove,\nu@x,Una,\n")
    assert imported(place, "t@x,Tove,\n") == 1
    assert "2 of 3 users" in capsys.readouterr().err
    assert kept(place)["m@x"] == "active"
    assert imported(place, "t@x,Tove,\n", "--partial") == 0
    assert kept(place)["m@x"] == "active"
    assert imported(place, "t@x,Tove,\n", "--yes") == 0
    assert kept(place) == {"m@x": "inactive", "t@x": "active", "u@x": "inactive"}


def test_the_second_of_two_simultaneous_imports_is_refused(
    place: Place, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted, second = directory._noted, []

    async def meanwhile(*about: Any) -> None:
        with monkeypatch.context() as alone:
            alone.setattr(directory, "_noted", noted)
            second.append(await asyncio.to_thread(imported, place, "m@x,Mira,\nt@x,Tove,\n"))
        await noted(*about)

    monkeypatch.setattr(directory, "_noted", meanwhile)
    assert (imported(place, "m@x,Mira,\n"), second) == (0, [3])
    assert "imported already" in capsys.readouterr().err
    assert kept(place) == {"m@x": "active"}
    assert acts(place) == ["1 added, 0 changed, 0 unmapped, 0 unchanged"]


def acts(place: Place) -> list[str]:
    """Return what the audit log says of imports."""

    async def look() -> list[str]:
        settings = load(place.config)
        acme = await open_customer(settings, settings.customers[0])
        told = [act["reason"] for act in acme.audit.read().items if act["action"] == "users.import"]
        await acme.close()
        return told

    return asyncio.run(look())


def test_a_single_one_may_leave(place: Place) -> None:
    imported(place, "m@x,Mira,\nt@x,Tove,\n")
    assert imported(place, "t@x,Tove,\n") == 0
    assert kept(place) == {"m@x": "inactive", "t@x": "active"}


def test_an_unreadable_import_file_fails_without_its_data(place: Place, capsys: Any) -> None:
    assert imported(place, ",Mira,\n") == 2
    for file, status in ((place.folder / "none", 2), (place.folder, 3)):
        words = ["directory", "import", str(file), "--customer", "acme", "--config", str(place.config)]
        assert run(words) == status
    assert run(["directory", "import", str(place.config), "--customer", "beta", "--config", str(place.config)]) == 2
    assert "Mira" not in capsys.readouterr().err
