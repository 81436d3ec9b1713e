"""What is erased opens nowhere any more, in no copy of before, and is in no byte."""

from datetime import timedelta
from pathlib import Path

from personal import Personal
from storage.calls.call_row import Query
from storage.customer.customers import Customer
from storage.erasure.erasure_rows import State
from tests.in_process.storage_node import NOON, StorageNode, finish, opens, permit, record


async def test_an_old_copy_with_todays_keys_decrypts_nothing_erased(
    node: StorageNode, acme: Customer, tmp_path: Path
) -> None:
    gone, stays = await record(acme), [await record(acme, name=f"Person {n}") for n in range(5)]
    ended = [await record(acme, ended=NOON - timedelta(days=200)) for _ in range(3)]
    await permit(acme)
    node.backup(tmp_path / "old")
    await finish(acme, calls=[gone.id])
    await acme.retention.sweep(node.watch(), 100)
    await acme.erasures.work()
    await acme.close()
    (node.data / "keys").rename(tmp_path / "old" / "keys")
    files = {path.name: path.read_bytes() for path in (tmp_path / "old").rglob("*.m1")}
    async with StorageNode(tmp_path / "old").opened() as again:
        for row in (gone, *ended):
            for name in (f"{row.id}.{row.leaf:012x}.{part}" for part in ("c1", "m1")):
                (folder := tmp_path / "old/customers/acme/vault" / str(row.day)).mkdir(exist_ok=True)
                (folder / name).write_bytes(files.get(name, b""))  # as if nobody had cleared it away
            assert not opens(again, row) and await again.calls.get(row.id) is None
        assert (await again.calls.find(Query(party=Personal("Mira Okafor")))).items == ()
        for row in stays:
            assert opens(again, row) and await again.calls.get(row.id) == row
            assert len((await again.calls.find(Query(party=row.details["parties"][0]["name"]))).items) == 1


async def test_no_planted_name_is_in_any_byte_before_or_after(node: StorageNode, acme: Customer) -> None:
    planted = ("Quendrith", "4917655544433", "because of her divorce", "Notary Fettlewick")
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
