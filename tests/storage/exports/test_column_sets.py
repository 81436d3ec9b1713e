"""Column sets: saved under a name, found in any spelling of it, sealed, and there again after a lost database."""

import pytest

from storage.database.schema import column_sets
from storage.exports import column_sets as columnsets
from storage.exports.column_sets import NameTaken, TooManySets, folded, pick
from storage.journal import replay
from tests.in_process.storage_node import StorageNode, story

COUNCIL = "Betriebsrat Müller"


def test_a_set_is_made_found_changed_and_deleted(tmp_path):
    async def tell(node, acme):
        sets = acme.column_sets
        made, fresh = await sets.put(COUNCIL, ["id", "party_name"], by="paula")
        assert fresh and made.columns == ("id", "party_name") and made.changed_by == "paula"
        assert pick(await sets.all(), " betriebsrat MU\u0308LLER ") == made == pick(await sets.all(), made.id)
        node.watch.wait(hours=1)
        changed, fresh = await sets.put(COUNCIL.upper(), ["id"], by="anton")
        assert not fresh and (changed.id, changed.name, changed.columns) == (made.id, COUNCIL, ("id",))
        assert await sets.all() == (changed,)
        assert await sets.delete(made.id) and not await sets.delete(made.id)
        assert pick(await sets.all(), COUNCIL) is None and not acme.keys.keeps(made.leaf)

    story(tmp_path, tell)


def test_sets_are_listed_by_name_and_renamed(tmp_path):
    async def tell(node, acme):
        sets = acme.column_sets
        for name in ("zeta", "Alpha", "beta"):
            await sets.put(name, ["id"], by="paula")
        assert [each.name for each in await sets.all()] == ["Alpha", "beta", "zeta"]
        renamed, fresh = await sets.put("beta", ["id"], rename="omega", by="paula")
        assert not fresh and renamed.name == "omega"
        with pytest.raises(NameTaken):
            await sets.put("omega", ["id"], rename="ALPHA", by="paula")
        assert [each.name for each in await sets.all()] == ["Alpha", "omega", "zeta"]

    story(tmp_path, tell)


def test_there_is_an_end(tmp_path, monkeypatch):
    monkeypatch.setattr(columnsets, "MAX_SETS", 1)

    async def tell(node, acme):
        await acme.column_sets.put("one", ["id"], by="paula")
        await acme.column_sets.put("one", ["state"], by="paula")
        with pytest.raises(TooManySets):
            await acme.column_sets.put("two", ["id"], by="paula")

    story(tmp_path, tell)


def test_a_column_set_that_cannot_be_audited_is_not_saved(tmp_path):
    async def tell(node, acme):
        async def refuse(_):
            raise RuntimeError

        with pytest.raises(RuntimeError):
            await acme.column_sets.put("one", ["id"], by="paula", told=refuse)
        assert await acme.column_sets.all() == ()
        made, _ = await acme.column_sets.put("one", ["id"], by="paula")
        with pytest.raises(RuntimeError):
            await acme.column_sets.delete("one", told=refuse)
        assert await acme.column_sets.all() == (made,)

    story(tmp_path, tell)


@pytest.mark.sqlite
def test_a_name_lies_nowhere_in_the_clear(tmp_path):
    async def tell(node, acme):
        await acme.column_sets.put(COUNCIL, ["id", "party_name"], by="paula")
        await acme.database.scrub()
        assert COUNCIL.encode() not in node.raw() and b"party_name" not in node.raw()

    story(tmp_path, tell)


def test_a_lost_database_gets_its_sets_back(tmp_path):
    async def tell(node: StorageNode, acme):
        kept, _ = await acme.column_sets.put("kept", ["id"], by="paula")
        await acme.column_sets.put("gone", ["id"], by="paula")
        await acme.column_sets.delete("gone")
        async with acme.database.writing() as connection:
            await connection.execute(column_sets.delete())
        assert await replay.settle(acme.journal, acme.database) == 1
        assert await acme.column_sets.all() == (kept,)
        assert await replay.differences(acme.journal, acme.database) == {}

    story(tmp_path, tell)


def test_indistinguishable_spellings_are_one_name():
    assert folded(" ＭÜLLER") == folded("mu\u0308ller ") != folded("muller")
