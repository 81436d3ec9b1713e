"""What exists only in the database is written beside it, line by line, sealed under what it belongs to."""

import asyncio
import base64
import json
from pathlib import Path

import pytest

from storage import journal, tables
from storage.callrows import Query
from storage.customers import Customer, Customers
from storage.errors import NoSpace, SealBroken
from tests.storage.house import NOON, ROOT, House, permit, record, story
from tests.storage.onfile import FILE


def test_a_line_that_a_crash_cut_off_never_was(tmp_path: Path) -> None:
    async def tell(house: House, acme: Customer) -> None:
        await permit(acme)
        whole = (house.data / FILE).read_bytes()
        await permit(acme)
        both = (house.data / FILE).read_bytes()
        await acme.close()
        for cut in range(len(whole), len(both), 37):
            (house.data / FILE).write_bytes(both[:cut])
            assert len(journal.Journal(house.data / "customers/acme", acme.keys).read()["waivers"]) == 1

    story(tmp_path, tell)


def test_a_line_that_was_changed_is_refused(tmp_path: Path) -> None:
    async def tell(house: House, acme: Customer) -> None:
        await permit(acme)
        path = house.data / FILE
        line = json.loads(path.read_bytes())
        number, leaf, box = line["items"][0]
        flipped = bytearray(base64.b64decode(box))
        flipped[20] ^= 1
        wrong = [
            {**line, "id": "00"},
            {**line, "items": [[number + 1, leaf, box]]},
            {**line, "items": [[number, "0000fffe0000", box]]},
            {**line, "items": [[number, leaf, base64.b64encode(flipped).decode()]]},
            {**line, "items": 7},
            [],
        ]
        for each in wrong:
            path.write_text(json.dumps(each) + "\n")
            with pytest.raises(SealBroken):
                journal.Journal(path.parent, acme.keys).read()

    story(tmp_path, tell)


def test_what_cannot_be_written_down_is_not_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def tell(house: House, acme: Customer) -> None:
        row = await record(acme)
        await permit(acme)

        async def full(_: object) -> None:
            raise NoSpace("no space")

        monkeypatch.setattr(journal.Journal, "write", lambda self, items: full(items))
        with pytest.raises(NoSpace, match="no space"):
            await acme.holds.put(row.id, "court", "paula")
        with pytest.raises(NoSpace, match="no space"):
            await acme.erasures.file(calls=[row.id], reason="x", by="paula")
        assert await acme.holds.get(row.id) is None and await acme.erasures.open() == ()
        assert (await acme.calls.find(Query())).items[0].hold is False

    story(tmp_path, tell)


def test_the_journal_of_one_customer_opens_for_no_other(tmp_path: Path) -> None:
    async def run() -> None:
        from storage.customers import CustomerSettings

        names = [CustomerSettings("acme"), CustomerSettings("beta")]
        both = await Customers.open(tmp_path, ROOT, names, database="sqlite", now=lambda: NOON)
        await permit(both["acme"])
        (tmp_path / "customers/beta/papers.journal").write_bytes((tmp_path / FILE).read_bytes())
        with pytest.raises(SealBroken):
            journal.Journal(tmp_path / "customers/beta", both["beta"].keys).read()
        await both.close()

    asyncio.run(run())


def test_every_table_that_is_no_index_is_in_the_journal() -> None:
    index = {*"about calls call_tokens days exports export_calls journal_mark user_changes matching".split()}
    assert {table.name for table in journal.TABLES} | index >= set(tables.metadata.tables)
