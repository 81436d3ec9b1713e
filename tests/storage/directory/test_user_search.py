"""Users are found by what they are and were called, in memory and before that, page by page."""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from storage.customer.customers import Customer
from storage.directory import user_store
from storage.directory.user import Person, UserState
from storage.directory.user_lookup import UserLookup
from storage.directory.user_search import find
from tests.in_process.storage_node import StorageNode, story

MIRA = Person("Mira", "Okafor", "mira", "mira@x.example", numbers=("+4930123456",))
TOVE = Person("Tove", "Lind", "tove", "tove@x.example", numbers=("+4940777888",))


async def imported(acme: Customer, *people: Person) -> None:
    plan = await acme.users.plan(people, "csv", whole=True)
    await acme.users.carry_out(plan)


async def names(acme: Customer, text: str, state: UserState | None = None) -> list[str]:
    found, more = await find(acme.users, acme.correlation.who, text, "DE", limit=50, state=state)
    assert more is None
    return sorted(user.person.first_name for user in found)


@pytest.mark.parametrize("ready", [False, True])
def test_they_are_found_in_any_spelling(tmp_path: Path, ready: bool) -> None:
    async def tell(node: StorageNode, acme: Customer) -> None:
        await imported(acme, MIRA, TOVE)
        await imported(acme, replace(MIRA, last_name="Lind", numbers=("+4930999999",)), TOVE)
        if ready:
            await acme.correlation.load()
        assert await names(acme, "LIND") == ["Mira", "Tove"]
        assert await names(acme, "lind, mira") == ["Mira"]
        assert await names(acme, "030/999999") == ["Mira"] and await names(acme, "tove@X.example") == ["Tove"]
        assert await names(acme, "030/123456") == ["Mira"]  # hers before
        assert await names(acme, "nobody") == []
        await imported(acme, TOVE)
        await acme.correlation.refresh()
        assert await names(acme, "lind", UserState.INACTIVE) == ["Mira"]
        assert await names(acme, "lind", UserState.ACTIVE) == ["Tove"]

    story(tmp_path, tell)


@pytest.mark.parametrize("ready", [False, True])
def test_a_word_prefix_finds_a_user(tmp_path: Path, ready: bool) -> None:
    async def tell(node: StorageNode, acme: Customer) -> None:
        await imported(
            acme,
            Person("Jürgen", "Müller", "jm"),
            Person("Anna", "Mulligan", "am"),
            Person("Bo", "Mu", "bm"),
            Person("Anna-Lena", "Schmidt", "als", "schmieder@x.example"),
            Person("Zoe", "O'Hara", "zo", upn="odd.one@x.example"),
        )
        if ready:
            await acme.correlation.load()
        assert await names(acme, "Mül") == ["Anna", "Jürgen"]  # written without its points it may be either
        assert await names(acme, "muel") == await names(acme, "Müller") == await names(acme, "MULLER") == ["Jürgen"]
        assert await names(acme, "mulli") == ["Anna"] and await names(acme, "müllerin") == []
        assert await names(acme, "ann") == ["Anna", "Anna-Lena"] and await names(acme, "ann sch") == ["Anna-Lena"]
        assert await names(acme, "schmi") == ["Anna-Lena"] and await names(acme, "schme") == []
        assert await names(acme, "mu") == await names(acme, "m") == ["Anna", "Bo", "Jürgen"]
        assert await names(acme, "j mü") == ["Jürgen"] and await names(acme, "x") == await names(acme, "mx") == []
        assert await names(acme, "o'har") == ["Zoe"] and await names(acme, "odd.one@x.example") == ["Zoe"]
        assert await names(acme, "odd.one@x") == []  # of an address nothing less than all of it

    story(tmp_path, tell)


def test_a_search_for_a_common_letter_blocks_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looking, seen = UserLookup.find, set[int]()

    def noted(who: UserLookup, alternatives: Iterable[Sequence[str]]) -> tuple[str, ...]:
        seen.add(threading.get_ident())
        return looking(who, alternatives)

    monkeypatch.setattr(UserLookup, "find", noted)

    async def tell(node: StorageNode, acme: Customer) -> None:
        await imported(acme, MIRA, TOVE)
        await acme.correlation.load()
        assert await names(acme, "m") == ["Mira"]
        assert seen and threading.get_ident() not in seen, "the loop answers everybody"

    story(tmp_path, tell)


@pytest.mark.parametrize("ready", [False, True])
def test_page_by_page(tmp_path: Path, ready: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.directory.user_search.BATCH", 3)

    async def tell(node: StorageNode, acme: Customer) -> None:
        await imported(acme, *(Person("Same", account_name=f"a{number}") for number in range(8)), TOVE)
        if ready:
            await acme.correlation.load()
        seen: list[str] = []
        after: str | None = ""
        while after is not None:
            found, after = await find(acme.users, acme.correlation.who, "same", "DE", limit=3, after=after)
            seen += [user.id for user in found]
        assert len(seen) == len(set(seen)) == 8 and seen == sorted(seen)

    story(tmp_path, tell)


def test_a_single_person_is_planned_like_an_import(tmp_path: Path) -> None:
    async def tell(node: StorageNode, acme: Customer) -> None:
        users = acme.users
        await users.carry_out(await users.one(MIRA, "api"))
        mira = await users.known("api", MIRA)
        assert mira is not None and mira.source == "api" and await users.known("csv", MIRA) is None
        assert not (await users.one(MIRA, "api", mira)).size
        renamed = replace(MIRA, email="other@x.example")
        await users.carry_out(await users.one(renamed, "api", mira))
        again = await users.known("api", renamed)  # she is told apart by her address
        assert again is not None and again.id == mira.id and await users.known("api", MIRA) is None
        await users.unmap(mira.id)
        gone = await users.get(mira.id)
        assert gone is not None and (await users.one(renamed, "api", gone)).size == 1

    story(tmp_path, tell)


@pytest.mark.parametrize("most", [20_000, 3])
@pytest.mark.parametrize("text", [None, "lind"])
def test_lists_stand_by_name_over_all_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, most: int
) -> None:
    """Of more than can be sorted every one comes once."""
    monkeypatch.setattr(user_store, "MOST_SORTED", most)
    firsts = ["Zoe", "anna", "Ämilie", "Bo", "Østen", "Émile", "Carl", "Ada"]

    async def listed(acme: Customer, limit: int) -> list[str]:
        seen: list[str] = []
        after = ""
        while True:
            found, more = await find(acme.users, acme.correlation.who, text, "DE", limit=limit, after=after)
            seen += [user.person.first_name for user in found]
            if more is None:
                return seen
            after = more

    async def tell(node: StorageNode, acme: Customer) -> None:
        people = [Person(first, "Lind", f"account {n}") for n, first in enumerate(firsts)]
        await imported(acme, *people)
        for ready in (False, True):
            if ready:
                await acme.correlation.load()
            for limit in (1, 3, 50):
                found = await listed(acme, limit)
                if most == 3:
                    assert sorted(found) == sorted(firsts)
                else:
                    assert found == ["Ada", "Ämilie", "anna", "Bo", "Carl", "Émile", "Zoe", "Østen"]
        await imported(acme, *people, Person("Aaron", "Lind", "aaron"))
        await acme.correlation.refresh()
        found = await listed(acme, 2)
        assert "Aaron" in found and (most == 3 or found[0] == "Aaron")

    story(tmp_path, tell)
