"""A transcript or chat is stored with its call, sealed, and comes back as it was."""

from pathlib import Path

import pytest

from storage.attachments.attachments import Attachments, BadAttachment, NoCall
from storage.customer.customers import Customer
from storage.errors import PartMissing
from storage.journal.journal import JournaledDatabase
from storage.vault.vault import PartRef
from tests.in_process.storage_node import StorageNode, opens, record, story

VTT = b"WEBVTT\n\n00:00.000 --> 00:01.000\nGuten Tag, Okafor\n" * 500


def test_attachments_come_back_in_order_and_lie_sealed(tmp_path: Path) -> None:
    async def tell(node: StorageNode, acme: Customer) -> None:
        row = await record(acme)
        one = await acme.attachments.add(row.id, "transcript", "text/vtt", VTT, "paula", title="Okafor", language="de")
        node.watch.wait(seconds=1)
        two = await acme.attachments.add(row.id, "chat", "application/json", b"", "paula")
        assert await acme.attachments.of(row.id) == (one, two)
        assert await acme.attachments.read(one) == VTT and await acme.attachments.read(two) == b""
        assert (one.title, one.size_bytes, one.part, two.part) == ("Okafor", len(VTT), "a1", "a2")
        assert b"Okafor" not in node.raw() and opens(acme, row)

    story(tmp_path, tell)


@pytest.mark.parametrize(("kind", "form"), [("picture", "text/vtt"), ("chat", "text/html")])
def test_other_things_are_not_taken(tmp_path: Path, kind: str, form: str) -> None:
    async def tell(node: StorageNode, acme: Customer) -> None:
        row = await record(acme)
        with pytest.raises(BadAttachment):
            await acme.attachments.add(row.id, kind, form, b"x", "paula")

    story(tmp_path, tell)


def test_an_erased_call_takes_none_and_keeps_none(tmp_path: Path) -> None:
    async def tell(node: StorageNode, acme: Customer) -> None:
        row = await record(acme)
        made = await acme.attachments.add(row.id, "chat", "application/json", b"{}", "paula")
        acme.vault.remove(row.id, row.leaf)
        with pytest.raises(PartMissing):
            await acme.attachments.read(made)
        acme.keys.cut(row.leaf)
        assert await acme.attachments.of(row.id) == ()
        with pytest.raises(NoCall):
            await acme.attachments.add(row.id, "chat", "application/json", b"{}", "paula")

    story(tmp_path, tell)


def test_an_erasure_that_comes_in_between_leaves_no_file(tmp_path: Path) -> None:
    async def tell(node: StorageNode, acme: Customer) -> None:
        row = await record(acme)

        class Slow(Attachments):
            def _store(self, call: str, leaf: int, data: bytes) -> PartRef:
                part = super()._store(call, leaf, data)
                acme.keys.cut(leaf)
                return part

        store = JournaledDatabase(acme.database, acme.keys, acme.journal, acme.now)
        with pytest.raises(NoCall):
            await Slow(store, acme.vault).add(row.id, "chat", "application/json", b"{}", "paula")
        assert acme.vault.find(row.id, row.leaf, "a1") is None

    story(tmp_path, tell)
