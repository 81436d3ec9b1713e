"""The newest waiver counts, older ones stay, and who signed is sealed."""

from datetime import timedelta
from pathlib import Path

from storage.customer.customers import Customer
from storage.database.schema import waivers
from tests.in_process.storage_node import NOON, SHA, StorageNode, story


def test_the_newest_waiver_counts_until_it_expires(tmp_path: Path) -> None:
    async def tell(node: StorageNode, acme: Customer) -> None:
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

    story(tmp_path, tell)


def test_a_clock_set_back_does_not_bring_an_older_waiver_back(tmp_path: Path) -> None:
    async def tell(node: StorageNode, acme: Customer) -> None:
        for scope in ("first", "second"):
            await acme.waivers.put(
                document_sha256=SHA, signed_by="x", signed_at=NOON, scope=scope, expires_at=None, by="ada"
            )
            node.watch.wait(days=-7)
        found = await acme.waivers.current()
        assert found and found.scope == "second"

    story(tmp_path, tell)
