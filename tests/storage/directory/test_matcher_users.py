"""The users as the matcher has them in memory: loaded once, kept up with, without rests for whoever waits."""

from dataclasses import replace

import pytest

from storage.customer.customers import Customer
from storage.directory import match_queue
from storage.directory.matcher import UserMatcher
from tests.storage.directory.people import MIRA, TOVE, imported
from tests.storage.directory.test_matcher import matched


async def test_a_deleted_user_matches_nothing_in_any_process(acme: Customer) -> None:
    user = (await imported(acme, MIRA))["Mira"]
    await matched(acme)
    await acme.users.unmap(user.id)
    await matched(acme)
    assert await acme.users.delete(user.id)
    assert await acme.user_matcher.refresh() == 1 and len(acme.user_matcher.who or ()) == 0
    assert await matched(acme) == 0 and not await acme.user_matcher.outstanding()


async def test_a_process_too_far_behind_reloads_all_users(acme: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    await imported(acme, MIRA)
    await matched(acme)
    elsewhere = UserMatcher(
        acme.database, acme.keys, acme.calls, acme.users, acme.rules, "DE", random=lambda count: bytes(count)
    )
    await elsewhere.load()
    monkeypatch.setattr(match_queue, "KEPT_CHANGES", 1)
    for number in range(4):
        await imported(acme, replace(MIRA, account_name=f"m{number}"))
        await matched(acme)
    await imported(acme, TOVE, whole=False)
    await matched(acme)
    assert await elsewhere.refresh() == 2 and len(elsewhere.who or ()) == 2
    assert await elsewhere.refresh() == 0
