"""The users as a correlation has them in memory: loaded once, kept up with, without rests for whoever waits."""

import asyncio
from dataclasses import replace

import pytest

from storage.customer.customers import Customer
from storage.directory import match_queue
from storage.directory.matcher import Correlation
from storage.timestamps import to_micros
from tests.in_process.storage_node import NOON
from tests.storage.directory.people import HIS, MIRA, TOVE, imported
from tests.storage.directory.test_matcher import matched


async def test_a_caller_waiting_for_users_has_them_loaded_once(acme: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.directory.matcher.AT_ONCE", 1)
    await imported(acme, MIRA, TOVE)
    begun, enough = asyncio.Event(), asyncio.Event()

    async def rest() -> None:
        begun.set()
        await enough.wait()

    count, loads = acme.users.count, []
    monkeypatch.setattr(acme.users, "count", lambda: (loads.append(1), count())[1])
    slow = asyncio.create_task(acme.correlation.load(rest))  # as the daemon does it beside calls
    await begun.wait()
    waiting = asyncio.create_task(acme.correlation.load_now())
    await asyncio.sleep(0)
    assert not acme.correlation.ready
    enough.set()
    await waiting
    who = acme.correlation.who
    assert who is not None and len(who) == 2
    await slow
    await acme.correlation.load_now()
    assert acme.correlation.who is who and len(loads) == 1


async def test_a_deleted_user_matches_nothing_in_any_process(acme: Customer) -> None:
    user = (await imported(acme, MIRA))["Mira"]
    await matched(acme)
    await acme.users.unmap(user.id)
    await matched(acme)
    assert await acme.users.delete(user.id)
    assert await acme.correlation.refresh() == 1 and len(acme.correlation.who or ()) == 0
    assert await matched(acme) == 0 and not await acme.correlation.outstanding()


async def test_a_process_too_far_behind_reloads_all_users(acme: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    await imported(acme, MIRA)
    await matched(acme)
    elsewhere = Correlation(
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


async def test_a_waiting_caller_applies_only_a_few_changes(acme: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await acme.correlation.refresh() == 0 and not acme.correlation.ready
    await imported(acme, MIRA)
    await acme.correlation.load()
    await imported(acme, replace(MIRA, first_name="Mirah"), TOVE)
    assert await acme.correlation.refresh(most=1) == 0 and len(acme.correlation.who or ()) == 1
    assert await acme.correlation.refresh(most=2) == 2 and len(acme.correlation.who or ()) == 2
    monkeypatch.setattr("storage.directory.matcher.MANY", 1)
    await imported(acme, replace(MIRA, numbers=()), replace(TOVE, numbers=()))
    assert await acme.correlation.refresh(most=9) == 0  # everybody is taken anew: that takes long
    assert await acme.correlation.refresh() == 2


async def test_nothing_is_missed_during_a_full_reload(acme: Customer) -> None:
    await imported(acme, MIRA)
    await acme.correlation.load()
    over, refreshing = asyncio.Event(), []

    async def meanwhile() -> None:
        if not refreshing:  # everybody was read; somebody takes a change over, and is slower than the reader
            await imported(acme, replace(MIRA, numbers=(HIS,)))
            refreshing.append(asyncio.create_task(acme.correlation.refresh(over.wait)))
            while (before := acme.correlation.who) is None or not before.party({"number": HIS}, now).user:
                await asyncio.sleep(0.01)

    now = to_micros(NOON)
    await acme.correlation.load(meanwhile)
    over.set()
    await refreshing[0]
    mira = await acme.users.known("csv", MIRA)
    assert mira is not None and acme.correlation.who is not None
    await acme.correlation.refresh()
    assert acme.correlation.who.party({"number": HIS}, now).user == mira.id
