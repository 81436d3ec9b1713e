"""Each step does its part, may be done twice, and says so if something is left."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from storage import tables
from storage.customers import Customer
from storage.erasurerows import Doomed
from storage.forgetting import Forgetting, NotErased
from storage.instants import to_micros
from storage.ledger import Ledger
from storage.room import Room
from tests.storage.house import NOON, House, opens, record, story

EXPORT = {"state": "done", "format": "csv", "created_at": 0, "created_by": "a", "expires_at": 0, "sealed": b""}
LATER = NOON + timedelta(days=30)


def steps(house: House, acme: Customer) -> tuple[Forgetting, Ledger]:
    ledger = Ledger(house.data / "keys", "acme")
    return Forgetting(acme.keys, acme.vault, acme.database, acme.calls, ledger, Room(house.data)), ledger


def test_a_past_day_of_which_everything_goes_is_one_cut(tmp_path: Path) -> None:
    async def tell(house: House, acme: Customer) -> None:
        work, ledger = steps(house, acme)
        gone = [await record(acme) for _ in range(4)]
        other = await record(acme, ended=NOON + timedelta(days=1))
        doomed = [Doomed(r.id, r.leaf) for r in gone]
        for _ in range(2):
            await work.cut(doomed, LATER)
        last = ledger.last()
        assert last and (last.days, last.leaves) == ((gone[0].day,), ())
        assert not any(opens(acme, r) for r in gone) and opens(acme, other)
        assert acme.keys.nodes < 40

    story(tmp_path, tell)


@pytest.mark.parametrize("survivor", ["call", "files", "export", "today"])
def test_a_day_on_which_anything_survives_loses_single_leaves_only(tmp_path: Path, survivor: str) -> None:
    async def tell(house: House, acme: Customer) -> None:
        work, ledger = steps(house, acme)
        gone, stays = await record(acme), await record(acme)
        if survivor in ("files", "export"):
            await acme.calls.remove([stays.id])
        if survivor == "export":
            acme.vault.remove(stays.id, stays.leaf)
            async with acme.database.writing() as connection:
                await connection.execute(tables.exports.insert(), {**EXPORT, "id": "x", "leaf": stays.leaf})
        if survivor == "today":
            await acme.calls.remove([stays.id])
            acme.vault.remove(stays.id, stays.leaf)
        await work.cut([Doomed(gone.id, gone.leaf)], NOON + timedelta(hours=6) if survivor == "today" else LATER)
        last = ledger.last()
        assert last and last.days == () and gone.leaf in last.leaves
        assert acme.keys.keeps(stays.leaf) and not acme.keys.keeps(gone.leaf)

    story(tmp_path, tell)


def test_an_export_with_an_erased_call_goes_with_it(tmp_path: Path) -> None:
    async def tell(house: House, acme: Customer) -> None:
        work, _ = steps(house, acme)
        gone, stays = await record(acme), await record(acme)
        leaf = acme.keys.allocate(gone.day)
        async with acme.database.writing() as connection:
            for id, its, call in ("e1", leaf, gone.id), ("e2", acme.keys.allocate(gone.day), stays.id):
                await connection.execute(tables.exports.insert(), {**EXPORT, "id": id, "leaf": its})
                await connection.execute(tables.export_calls.insert(), {"export": id, "call": call})
        derived: list[str] = []

        async def forget(ids: Sequence[str]) -> None:
            derived.extend(ids)

        work.derived = forget
        await work.cut([Doomed(gone.id, gone.leaf)], NOON)
        await work.unlink([Doomed(gone.id, gone.leaf)])
        await work.remove([Doomed(gone.id, gone.leaf)])
        assert derived == [gone.id]
        assert not acme.keys.keeps(leaf)
        async with acme.database.reading() as connection:
            assert list(await connection.scalars(sa.select(tables.exports.c.id))) == ["e2"]
            assert list(await connection.scalars(sa.select(tables.export_calls.c.export))) == ["e2"]

    story(tmp_path, tell)


def test_verification_finds_a_key_a_file_a_row(tmp_path: Path) -> None:
    async def tell(house: House, acme: Customer) -> None:
        work, _ = steps(house, acme)
        row = await record(acme)
        doomed = [Doomed(row.id, row.leaf)]
        with pytest.raises(NotErased, match="key"):
            await work.verify(doomed)
        await work.cut(doomed, NOON)
        with pytest.raises(NotErased, match="files"):
            await work.verify(doomed)
        with pytest.raises(NotErased, match="rows"):
            await work.verify(doomed)
        await work.remove(doomed)
        await work.verify(doomed)
        token = {"day": row.day, "token": 1, "leaf": row.leaf}
        async with acme.database.writing() as connection:
            await connection.execute(tables.call_tokens.insert(), token)
        with pytest.raises(NotErased, match="rows"):
            await work.verify(doomed)

    story(tmp_path, tell)


def test_what_a_backup_brought_back_is_cleared_by_its_dead_keys(tmp_path: Path) -> None:
    async def tell(house: House, acme: Customer) -> None:
        work, _ = steps(house, acme)
        gone, stays = await record(acme), await record(acme, name="Tove Lind")
        acme.keys.cut(gone.leaf)
        assert [d.call for d in await work.clear([gone.day])] == [gone.id]
        assert list(acme.vault.parts(gone.id, gone.leaf)) == [] and opens(acme, stays)
        async with acme.database.reading() as connection:
            assert list(await connection.scalars(sa.select(tables.calls.c.id))) == [stays.id]

    story(tmp_path, tell)


def test_the_request_of_an_erasure_is_forgotten_with_its_last_call(tmp_path: Path) -> None:
    async def tell(house: House, acme: Customer) -> None:
        work, ledger = steps(house, acme)
        row, leaf = await record(acme), acme.keys.allocate(65534)
        asked = {"requested_at": to_micros(NOON), "requested_by": "paula"}
        values = {"id": "e", "state": "running", "cause": "request", **asked}
        call = {"erasure": "e", "call": row.id, "leaf": row.leaf, "step": 1}
        async with acme.database.writing() as connection:
            await connection.execute(tables.erasures.insert(), {**values, "leaf": leaf, "sealed": b"x"})
            await connection.execute(tables.erasure_calls.insert(), call)
        await work.cut([Doomed(row.id, row.leaf)], NOON)
        last = ledger.last()
        assert last and (last.ids, last.erasures[0].calls) == (("e",), (row.id,))
        assert not acme.keys.keeps(leaf)

    story(tmp_path, tell)
