"""The newest waiver counts, older ones stay, and who signed is sealed."""

from datetime import timedelta

import pytest

from storage.calls.call_row import CallRow
from storage.customer.customers import Customer
from storage.database.schema import waivers
from storage.erasure.erasures import NoWaiver
from tests.in_process.storage_node import NOBODY, NOON, SHA, StorageNode, opens, permit


async def test_the_newest_waiver_counts_until_it_expires(node: StorageNode, acme: Customer) -> None:
    assert await acme.waivers.current() is None
    end = NOON + timedelta(days=2)
    for scope, expires in (("all", None), ("chats only", end)):
        signed = {"document_sha256": SHA, "signed_by": "Dr. Vera Stamm", "signed_at": NOON}
        await acme.waivers.put(**signed, scope=scope, expires_at=expires, by="ada")  # type: ignore[arg-type]  # as told
    found = await acme.waivers.current()
    assert found and (found.scope, found.signed_by, found.put_by) == ("chats only", "Dr. Vera Stamm", "ada")
    assert found.active(end - timedelta(seconds=1)) and not found.active(end)
    assert "Stamm" not in repr(found)
    async with acme.database.reading() as connection:
        assert len((await connection.execute(waivers.select())).all()) == 2
    assert b"Stamm" not in node.raw()


async def test_a_clock_set_back_does_not_bring_an_older_waiver_back(node: StorageNode, acme: Customer) -> None:
    for scope in ("first", "second"):
        await acme.waivers.put(
            document_sha256=SHA, signed_by="x", signed_at=NOON, scope=scope, expires_at=None, by="ada"
        )
        node.watch.wait(days=-7)
    found = await acme.waivers.current()
    assert found and found.scope == "second"


async def test_nothing_is_filed_or_approved_without_an_active_waiver(
    node: StorageNode, acme: Customer, row: CallRow
) -> None:
    with pytest.raises(NoWaiver):
        await acme.erasures.file(calls=[row.id], reason="x", by="paula")
    paper = {"document_sha256": "0" * 64, "signed_by": "Dr. Vera Stamm", "scope": "all", "by": "admin"}
    await acme.waivers.put(signed_at=NOON, expires_at=NOON + timedelta(hours=1), **paper)
    filed = await acme.erasures.file(calls=[row.id], reason="x", by="paula", approval=True)
    node.watch.wait(hours=2)
    for more in (
        acme.erasures.file(calls=[NOBODY], reason="x", by="paula"),
        acme.erasures.approve(filed.id, by="anton"),
    ):
        with pytest.raises(NoWaiver):
            await more
    await acme.erasures.work()
    assert opens(acme, row)
    await permit(acme)
    await acme.erasures.approve(filed.id, by="anton")
    await acme.erasures.work()
    assert not opens(acme, row)
