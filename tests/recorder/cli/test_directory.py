"""`recorder directory import`: what would change is shown, a broken filter is stopped, everything is audited."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest

from storage.customer.customers import Customer
from storage.directory.user_store import Users
from tests.in_process.command_line import Answer, Place, Printed
from tests.in_process.storage_node import record

HEAD = "upn,first_name,numbers\n"


def importing(place: Place, text: str, *more: str) -> tuple[str, ...]:
    """Write a file; return the words of the command that imports it."""
    file = place.folder / "people.csv"
    file.write_text(HEAD + text)
    return ("directory", "import", str(file), "--customer", "acme", *more)


def kept(place: Place) -> dict[str, str]:
    """Return the users and their states, and check that nobody is named in the audit log."""

    async def look(acme: Customer) -> dict[str, str]:
        users, _ = await acme.users.listed(100)
        return {user.person.upn: user.state.value for user in users}

    assert "Mira" not in str(place.acts()) and "m@x" not in str(place.acts())
    found: dict[str, str] = place.do(look)
    return found


def test_people_are_imported_and_changed(place: Place, answer: Answer, printed: Printed) -> None:
    _, err = printed(*importing(place, "m@x,Mira,\n", "--dry-run"))
    assert "Nothing was changed." in err and kept(place) == {}
    assert "added      2" in printed(*importing(place, "m@x,Mira,+491\nt@x,Tove,\n"))[0]
    assert kept(place) == {"m@x": "active", "t@x": "active"}
    assert answer(*importing(place, "m@x,Maria,+491\nt@x,Tove,\n")) == {
        "customer": "acme", "done": True, "whole": True,
        "added": 0, "changed": 1, "unmapped": 0, "unchanged": 1, "calls_changed": 0,
    }  # fmt: skip
    assert place.run(*importing(place, "t@x,Tove,\n")) == 0, "a single one may leave"
    assert kept(place) == {"m@x": "inactive", "t@x": "active"}


def test_earlier_calls_get_their_users(place: Place, printed: Printed) -> None:
    place.do(partial(record, number="+4930123456"))
    for changed in ("1 got or lost a user", "0 got"):
        assert f"calls      {changed}" in printed(*importing(place, "m@x,Mira,030 123456\n"))[0]


def test_a_broken_filter_is_stopped(place: Place, printed: Printed) -> None:
    printed(*importing(place, "m@x,Mira,\nt@x,Tove,\nu@x,Una,\n"))
    rest = "t@x,Tove,\n"
    assert "2 of 3 users" in printed(*importing(place, rest), status=1)[1]
    assert kept(place)["m@x"] == "active"
    assert place.run(*importing(place, rest, "--partial")) == 0
    assert kept(place)["m@x"] == "active"
    assert place.run(*importing(place, rest, "--yes")) == 0
    assert kept(place) == {"m@x": "inactive", "t@x": "active", "u@x": "inactive"}


def test_the_second_of_two_simultaneous_imports_is_refused(
    place: Place, printed: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    carry_out, second = Users.carry_out, list[int]()

    async def meanwhile(*about: Any) -> Any:
        if not second:
            second.append(-1)
            words = importing(place, "m@x,Mira,\nt@x,Tove,\n")
            second[0] = await asyncio.to_thread(place.run, *words)
        return await carry_out(*about)

    monkeypatch.setattr(Users, "carry_out", meanwhile)
    _, err = printed(*importing(place, "m@x,Mira,\n"))
    assert second == [3] and "imported already" in err
    assert kept(place) == {"m@x": "active"}
    acts = [act["reason"] for act in place.acts() if act["action"] == "users.import"]
    assert acts == ["1 added, 0 changed, 0 unmapped, 0 unchanged"]


def test_an_unreadable_import_file_fails_without_its_data(place: Place, printed: Printed) -> None:
    assert "Mira" not in printed(*importing(place, ",Mira,\n"), status=2)[1]
    for file, customer, status in (("none", "acme", 2), (".", "acme", 3), ("recorder.toml", "beta", 2)):
        assert place.run("directory", "import", str(place.folder / file), "--customer", customer) == status
