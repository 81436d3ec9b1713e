"""Whose calls they are: every one of the person's and no other, over two names and two numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.callrows import Query
from storage.customers import Customer
from tests.seeded_customer import OLD, seed
from tests.storage.house import House, story


@pytest.mark.parametrize("at_once", [False, True])
def test_recall_and_precision_are_whole(tmp_path: Path, at_once: bool) -> None:
    async def tell(house: House, acme: Customer) -> None:
        made = await seed(acme, house.watch, at_once=at_once)
        assert len(made.rows) == 1000 and len(made.calls) == 37 and len(made.colleagues) == 20
        found = [row.id async for row in acme.calls.every(Query(party=made.person))]
        assert len(found) == 37 and set(found) == set(made.calls)
        his = [row.id async for row in acme.calls.every(Query(party=made.colleague))]
        assert set(his) == made.colleagues
        for id, (place, _) in made.calls.items():
            row = await acme.calls.get(id)
            assert row is not None and row.details["parties"][place]["user_id"] == made.person
        person = await acme.users.get(made.person)
        assert person is not None and set(await acme.users.calls_of(person)) == set(made.calls)
        by_number = {row.id async for row in acme.calls.every(Query(party=OLD))}
        assert by_number & set(made.calls) and by_number & made.colleagues  # the number alone cannot tell

    story(tmp_path, tell)


def test_nobody_is_guessed(tmp_path: Path) -> None:
    async def tell(house: House, acme: Customer) -> None:
        made = await seed(acme, house.watch)
        ids = {made.person, made.colleague}
        async for row in acme.calls.every(Query()):
            for party in row.details["parties"]:
                assert not ids & set(party["user_candidates"])
                if party["user_id"] is None:
                    assert party["uri"].endswith("carrier.example")

    story(tmp_path, tell)
