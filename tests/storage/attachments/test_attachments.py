"""A transcript, chat or correction is stored with its call, sealed, and comes back as it was."""

import pytest

from storage.attachments import annotations
from storage.attachments.attachments import BadAttachment, NoCall
from storage.calls.call_row import CallRow
from storage.customer.customers import Customer
from storage.errors import PartMissing
from storage.vault.vault import PartRef, Vault
from tests.in_process.storage_node import StorageNode, opens, record

VTT = b"WEBVTT\n\n00:00.000 --> 00:01.000\nGuten Tag, Okafor\n" * 500


async def test_attachments_come_back_in_order_and_lie_sealed(node: StorageNode, acme: Customer, row: CallRow) -> None:
    one = await acme.attachments.add(row.id, "transcript", "text/vtt", VTT, "paula", title="Okafor", language="de")
    node.watch.wait(seconds=1)
    two = await acme.attachments.add(row.id, "chat", "application/json", b"", "paula")
    assert await acme.attachments.of(row.id) == (one, two)
    assert await acme.attachments.read(one) == VTT and await acme.attachments.read(two) == b""
    assert (one.title, one.size_bytes, one.part, two.part) == ("Okafor", len(VTT), "a1", "a2")
    assert b"Okafor" not in node.raw() and opens(acme, row)


@pytest.mark.parametrize(("kind", "form"), [("picture", "text/vtt"), ("chat", "text/html")])
async def test_other_things_are_not_taken(acme: Customer, row: CallRow, kind: str, form: str) -> None:
    with pytest.raises(BadAttachment):
        await acme.attachments.add(row.id, kind, form, b"x", "paula")


async def test_an_erased_call_takes_none_and_keeps_none(acme: Customer, row: CallRow) -> None:
    made = await acme.attachments.add(row.id, "chat", "application/json", b"{}", "paula")
    acme.vault.remove(row.id, row.leaf)
    with pytest.raises(PartMissing):
        await acme.attachments.read(made)
    acme.keys.cut(row.leaf)
    assert await acme.attachments.of(row.id) == ()
    with pytest.raises(NoCall):
        await acme.attachments.add(row.id, "chat", "application/json", b"{}", "paula")


async def test_an_erasure_that_comes_in_between_leaves_no_file(acme: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    row, finish = await record(acme), Vault.finish

    def erased(vault: Vault, call: str, leaf: int, part: str) -> PartRef:
        ref = finish(vault, call, leaf, part)
        acme.keys.cut(leaf)
        return ref

    monkeypatch.setattr(Vault, "finish", erased)
    with pytest.raises(NoCall):
        await acme.attachments.add(row.id, "chat", "application/json", b"{}", "paula")
    assert acme.vault.find(row.id, row.leaf, "a1") is None


async def test_corrections_are_kept_in_order_and_sealed(node: StorageNode, acme: Customer, row: CallRow) -> None:
    for text in ("Her name is Mirah.", "No: Mira."):
        note = await acme.annotations.add(row.id, text, "paula")
        assert "Mira" not in repr(note)
        node.watch.wait(seconds=1)
    found = await acme.annotations.of(row.id)
    assert [(n.text, n.created_by) for n in found] == [("Her name is Mirah.", "paula"), ("No: Mira.", "paula")]
    assert (await acme.calls.get(row.id)) == row and b"Mirah" not in node.raw()


async def test_without_a_call_there_is_nothing_to_correct(acme: Customer, row: CallRow) -> None:
    await acme.annotations.add(row.id, "x", "paula")
    acme.keys.cut(row.leaf)
    with pytest.raises(annotations.NoCall):
        await acme.annotations.add(row.id, "x", "paula")
    assert await acme.annotations.of(row.id) == ()
