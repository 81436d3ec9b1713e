"""Corrections stand beside a call in order, sealed, and only where there is a call."""

from pathlib import Path

import pytest

from storage.attachments.annotations import NoCall
from storage.customer.customers import Customer
from tests.in_process.storage_node import StorageNode, record, story


def test_corrections_are_kept_in_order_and_sealed(tmp_path: Path) -> None:
    async def tell(node: StorageNode, acme: Customer) -> None:
        row = await record(acme)
        for text in ("Her name is Mirah.", "No: Mira."):
            note = await acme.annotations.add(row.id, text, "paula")
            assert "Mira" not in repr(note)
            node.watch.wait(seconds=1)
        found = await acme.annotations.of(row.id)
        assert [(n.text, n.created_by) for n in found] == [("Her name is Mirah.", "paula"), ("No: Mira.", "paula")]
        assert (await acme.calls.get(row.id)) == row and b"Mirah" not in node.raw()

    story(tmp_path, tell)


def test_without_a_call_there_is_nothing_to_correct(tmp_path: Path) -> None:
    async def tell(node: StorageNode, acme: Customer) -> None:
        row = await record(acme)
        await acme.annotations.add(row.id, "x", "paula")
        acme.keys.cut(row.leaf)
        with pytest.raises(NoCall):
            await acme.annotations.add(row.id, "x", "paula")
        assert await acme.annotations.of(row.id) == ()

    story(tmp_path, tell)
