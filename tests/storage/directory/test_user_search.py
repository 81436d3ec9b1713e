"""Users are found by what they are and were called, in memory and before that, page by page."""

from dataclasses import replace

import pytest

from storage.customer.customers import Customer
from storage.directory import user_store
from storage.directory.user import Person, User, UserState
from storage.directory.user_search import find
from tests.storage.directory.people import MIRA, TOVE, imported

pytestmark = pytest.mark.both_databases


async def names(acme: Customer, text: str, state: UserState | None = None) -> list[str]:
    found, more = await find(acme.users, acme.user_matcher.who, text, "DE", limit=50, state=state)
    assert more is None
    return sorted(user.person.first_name for user in found)


async def paged(acme: Customer, text: str | None, limit: int) -> list[User]:
    """Find users, page by page."""
    seen: list[User] = []
    after: str | None = ""
    while after is not None:
        found, after = await find(acme.users, acme.user_matcher.who, text, "DE", limit=limit, after=after)
        seen += found
    return seen


@pytest.mark.parametrize("ready", [False, True])
async def test_they_are_found_in_any_spelling(acme: Customer, ready: bool) -> None:
    await imported(acme, MIRA, TOVE)
    await imported(acme, replace(MIRA, last_name="Lind", numbers=("+4930999999",)), TOVE)
    if ready:
        await acme.user_matcher.load()
    assert await names(acme, "LIND") == ["Mira", "Tove"]
    assert await names(acme, "lind, mira") == ["Mira"]
    assert await names(acme, "030/999999") == ["Mira"] and await names(acme, "tove@X.example") == ["Tove"]
    assert await names(acme, "030/123456") == ["Mira"]  # hers before
    assert await names(acme, "nobody") == []
    await imported(acme, TOVE)
    await acme.user_matcher.refresh()
    assert await names(acme, "lind", UserState.INACTIVE) == ["Mira"]
    assert await names(acme, "lind", UserState.ACTIVE) == ["Tove"]


@pytest.mark.parametrize("ready", [False, True])
async def test_a_word_prefix_finds_a_user(acme: Customer, ready: bool) -> None:
    await imported(
        acme,
        Person("Jürgen", "Müller", "jm"),
        Person("Anna", "Mulligan", "am"),
        Person("Bo", "Mu", "bm"),
        Person("Anna-Lena", "Schmidt", "als", "schmieder@x.example"),
        Person("Zoe", "O'Hara", "zo", upn="odd.one@x.example"),
    )
    if ready:
        await acme.user_matcher.load()
    assert await names(acme, "Mül") == ["Anna", "Jürgen"]  # written without its points it may be either
    assert await names(acme, "muel") == await names(acme, "Müller") == await names(acme, "MULLER") == ["Jürgen"]
    assert await names(acme, "mulli") == ["Anna"] and await names(acme, "müllerin") == []
    assert await names(acme, "ann") == ["Anna", "Anna-Lena"] and await names(acme, "ann sch") == ["Anna-Lena"]
    assert await names(acme, "schmi") == ["Anna-Lena"] and await names(acme, "schme") == []
    assert await names(acme, "mu") == await names(acme, "m") == ["Anna", "Bo", "Jürgen"]
    assert await names(acme, "j mü") == ["Jürgen"] and await names(acme, "x") == await names(acme, "mx") == []
    assert await names(acme, "o'har") == ["Zoe"] and await names(acme, "odd.one@x.example") == ["Zoe"]
    assert await names(acme, "odd.one@x") == []  # of an address nothing less than all of it


async def test_a_single_person_is_planned_like_an_import(acme: Customer) -> None:
    users, person = acme.users, replace(MIRA, object_id="", upn="")
    await users.carry_out(await users.one(person, "api"))
    mira = await users.known("api", person)
    assert mira is not None and mira.source == "api" and await users.known("csv", person) is None
    assert not (await users.one(person, "api", mira)).size
    renamed = replace(person, email="other@x.example")
    await users.carry_out(await users.one(renamed, "api", mira))
    again = await users.known("api", renamed)  # she is told apart by her address
    assert again is not None and again.id == mira.id and await users.known("api", person) is None
    await users.unmap(mira.id)
    gone = await users.get(mira.id)
    assert gone is not None and (await users.one(renamed, "api", gone)).size == 1


@pytest.mark.parametrize("most", [20_000, 3])
@pytest.mark.parametrize("text", [None, "lind"])
async def test_lists_stand_by_name_over_all_pages(
    acme: Customer, monkeypatch: pytest.MonkeyPatch, text: str | None, most: int
) -> None:
    """Of more than can be sorted every one comes once."""
    monkeypatch.setattr(user_store, "MOST_SORTED", most)
    firsts = ["Zoe", "anna", "Ämilie", "Bo", "Østen", "Émile", "Carl", "Ada"]

    people = [Person(first, "Lind", f"account {n}") for n, first in enumerate(firsts)]
    await imported(acme, *people)
    for ready in (False, True):
        if ready:
            await acme.user_matcher.load()
        for limit in (1, 3, 50):
            found = [user.person.first_name for user in await paged(acme, text, limit)]
            if most == 3:
                assert sorted(found) == sorted(firsts)
            else:
                assert found == ["Ada", "Ämilie", "anna", "Bo", "Carl", "Émile", "Zoe", "Østen"]
    await imported(acme, *people, Person("Aaron", "Lind", "aaron"))
    await acme.user_matcher.refresh()
    found = [user.person.first_name for user in await paged(acme, text, 2)]
    assert "Aaron" in found and (most == 3 or found[0] == "Aaron")
