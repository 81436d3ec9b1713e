"""Older keys that come back open nothing that was forgotten since, whatever it was: a call, a name, a file, a rule."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from recorder.maintenance.key_backup import pack
from recorder.maintenance.key_rotation import gather, restore
from storage.customer.customers import Customer
from storage.directory.sync_pages import DirectoryPages
from storage.exports.exports import Request
from storage.retention.rules import RuleSpec
from storage.subject_requests.cases import Asked, Kind, Step
from tests.in_process.command_line import Place
from tests.in_process.storage_node import NOBODY, NOON, finish, permit, record
from tests.storage.directory.people import MIRA, imported

EXPORT = Request("json", ("id",), "she asked for it", calls=(NOBODY,))


async def call(acme: Customer) -> None:
    await permit(acme)
    await finish(acme, calls=[(await record(acme)).id])


async def reason_of_an_erasure(acme: Customer) -> None:
    """Nothing but the request is cut: nobody knows the call."""
    await permit(acme)
    await finish(acme, calls=[NOBODY])


async def account(acme: Customer) -> None:
    accounts = acme.accounts
    accounts.remove(accounts.create("anna", ["admin"], NOON).account.id)


async def pages_of_a_directory(acme: Customer) -> None:
    pages = DirectoryPages(acme.folder, acme.keys, "entra")
    await pages.keep([], "https://x/2", whole=True, now=NOON)
    await pages.forget()


async def user(acme: Customer) -> None:
    mira = (await imported(acme, MIRA))["Mira"]
    await acme.users.unmap(mira.id)
    assert await acme.users.delete(mira.id)


async def export(acme: Customer) -> None:
    await acme.exports.drop([(await acme.exports.file(EXPORT, "paula")).id])


async def column_set(acme: Customer) -> None:
    await acme.column_sets.put("for Mira Okafor", ["id"], by="paula")
    assert await acme.column_sets.delete("for Mira Okafor")


async def rule(acme: Customer) -> None:
    await acme.rules.put([RuleSpec(7, party="+4930123456", name="Mira Okafor")], by="paula")
    await acme.rules.put([], by="paula")


async def subject_request(acme: Customer) -> None:
    asked = Asked(("Mira Okafor",), None, "letter of the seventh", "send me everything")
    case = await acme.requests.file((Kind.ACCESS,), asked, received_at=NOON, by="paula")
    await acme.requests.close(case.id, Step.REFUSED, "unfounded", by="paula")


FORGOTTEN = (
    call, reason_of_an_erasure, account, pages_of_a_directory, user, export, column_set, rule, subject_request,
)  # fmt: skip


async def leaves_of(acme: Customer, forgotten: Callable[[Customer], Awaitable[None]]) -> tuple[list[int], list[int]]:
    """Make something and forget it; return the leaves that were allocated for it, those that are cut and the others."""
    given, allocate = list[int](), acme.keys.allocate

    def noted(day: int) -> int:
        given.append(allocate(day))
        return given[-1]

    acme.keys.allocate = noted  # type: ignore[method-assign]  # to see which leaves it takes
    await forgotten(acme)
    return [leaf for leaf in given if not acme.keys.keeps(leaf)], [leaf for leaf in given if acme.keys.keeps(leaf)]


@pytest.mark.parametrize("forgotten", FORGOTTEN)
def test_restored_keys_open_nothing_that_was_forgotten(
    tmp_path: Path, forgotten: Callable[[Customer], Awaitable[None]]
) -> None:
    place = Place(tmp_path)
    before = pack(place.root().secret, gather(place.settings(), place.root()), 0)
    cut, kept = place.do(lambda acme: leaves_of(acme, forgotten))
    assert cut
    for path in place.keys.glob("acme.[ft]*"):  # the keys are lost; the cut log beside them is not
        path.unlink()
    restore(place.settings(), before, older=True)
    again = place.open()
    assert not any(again.keeps(leaf) for leaf in cut)
    assert all(again.keeps(leaf) for leaf in kept)
