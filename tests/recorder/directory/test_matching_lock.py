"""A command looks at the calls itself, unless the daemon is at it or does it better."""

from __future__ import annotations

import pytest

from recorder.directory.matching_lock import importing, look, matching
from storage.customer.customers import Customer
from storage.directory.user import Person
from tests.in_process.storage_node import record

pytestmark = pytest.mark.anyio
MIRA = Person("Mira", account_name="mira", numbers=("+4930123456",))


def nothing(done: int, of: int) -> None:
    """Take the progress that nobody watches."""


async def imported(acme: Customer) -> None:
    plan = await acme.users.plan([MIRA], "csv", whole=True)
    await acme.users.carry_out(plan)


async def test_it_looks_and_says_how_far_it_is(acme: Customer) -> None:
    assert await look(acme, nothing) == 0
    await record(acme)
    await imported(acme)
    shown: list[tuple[int, int]] = []
    assert await look(acme, lambda done, of: shown.append((done, of))) == 1
    assert shown[-1] == (1, 1) and await look(acme, nothing) == 0


async def test_little_work_among_many_users_is_the_daemons(acme: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    await record(acme)
    await imported(acme)
    monkeypatch.setattr("recorder.directory.matching_lock.FEW_USERS", 0)
    assert await look(acme, nothing) is None and await acme.user_matcher.outstanding()
    monkeypatch.setattr("recorder.directory.matching_lock.MUCH_CALLS", 0)
    assert await look(acme, nothing) == 1


async def test_only_one_matching_and_one_import_run_at_a_time(acme: Customer) -> None:
    with matching(acme) as ours, matching(acme) as also, importing(acme) as imports, importing(acme) as beside:
        assert (ours, also, imports, beside) == (True, False, True, False)
    with matching(acme) as again:
        assert again
