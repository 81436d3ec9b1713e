"""What is erased opens nowhere any more, in no copy of before, and is in no byte; on both kinds of database."""

import asyncio
from datetime import timedelta
from pathlib import Path

from storage.calls.call_row import Query
from storage.customer.customers import Customer, CustomerSettings
from storage.erasure.erasure_rows import State
from tests.in_process.storage_node import NOON, StorageNode, finish, opens, permit, record, story


def test_an_old_copy_with_todays_keys_decrypts_nothing_erased(tmp_path: Path) -> None:
    kept = []

    async def tell(node: StorageNode, acme: Customer) -> None:
        gone, stays = await record(acme), [await record(acme, name=f"Person {n}") for n in range(5)]
        ended = [await record(acme, ended=NOON - timedelta(days=200)) for _ in range(3)]
        await permit(acme)
        node.backup(tmp_path / "old")
        await finish(acme, calls=[gone.id])
        await acme.retention.sweep(node.watch(), 100)
        await acme.erasures.work()
        kept.append((gone, stays, ended))

    async def bring_back() -> None:
        (tmp_path / "data" / "keys").rename(tmp_path / "old" / "keys")
        gone, stays, ended = kept[0]
        files = {path.name: path.read_bytes() for path in (tmp_path / "old").rglob("*.m1")}
        acme = await StorageNode(tmp_path / "old").open()
        for row in (gone, *ended):
            for name in (f"{row.id}.{row.leaf:012x}.{part}" for part in ("c1", "m1")):
                (folder := tmp_path / "old/customers/acme/vault" / str(row.day)).mkdir(exist_ok=True)
                (folder / name).write_bytes(files.get(name, b""))  # as if nobody had cleared it away
            assert not opens(acme, row) and await acme.calls.get(row.id) is None
        assert (await acme.calls.find(Query(party="Mira Okafor"))).items == ()
        for row in stays:
            assert opens(acme, row) and await acme.calls.get(row.id) == row
            assert len((await acme.calls.find(Query(party=row.details["parties"][0]["name"]))).items) == 1
        await acme.close()

    story(tmp_path, tell)
    asyncio.run(bring_back())


def test_no_planted_name_is_in_any_byte_before_or_after(tmp_path: Path) -> None:
    planted = ("Quendrith", "4917655544433", "because of her divorce", "Notary Fettlewick")

    async def tell(node: StorageNode, acme: Customer) -> None:
        row = await record(acme, name="Zelda Quendrith", number="+4917655544433")
        await permit(acme)
        await acme.annotations.add(row.id, "Notary Fettlewick wrote", "paula")
        filed = await acme.erasures.file(party="Zelda Quendrith", reason="because of her divorce", by="paula")
        before = node.raw()
        await acme.erasures.work()
        done = await acme.erasures.get(filed.id)
        assert done and done.state == State.DONE
        for raw in (before, node.raw()):
            for text in planted:
                plain = text.encode()
                for form in (plain, plain[::-1], plain.hex().encode(), text.encode("utf-16-le")):
                    assert form.lower() not in raw.lower()

    story(tmp_path, tell)


def test_postgresql_forgets_in_the_same_way(tmp_path: Path, postgresql: str) -> None:
    async def tell(node: StorageNode, acme: Customer) -> None:
        gone, held = await record(acme), await record(acme)
        stays = await record(acme, name="Tove Lind", number="+4940777888")
        old = await record(acme, ended=NOON - timedelta(days=200))
        await permit(acme)
        await acme.holds.put(held.id, "court", "paula")
        await acme.rules.put([], by="ada", default_days=100)
        await acme.retention.refresh()
        assert (await acme.calls.get(stays.id)).erase_after == NOON + timedelta(100)  # type: ignore[union-attr]  # there
        filed = await acme.erasures.file(party="Mira Okafor", reason="x", by="paula")
        await acme.retention.sweep(NOON, 100)
        await acme.erasures.work()
        assert [e.state for e in await acme.erasures.open()] == [State.WAITING]
        await acme.holds.remove(held.id)
        await acme.erasures.work()
        done = await acme.erasures.get(filed.id)
        assert done and done.receipt and set(done.receipt["calls"]) >= {gone.id, held.id}
        assert [row.id for row in (await acme.calls.find(Query())).items] == [stays.id]
        assert not acme.keys.keeps(old.leaf) and opens(acme, stays)
        await acme.annotations.add(stays.id, "x", "paula")
        await acme.attachments.add(stays.id, "chat", "application/json", b"{}", "paula")

    story(tmp_path, tell, database=postgresql, settings=CustomerSettings("forgetful"))
