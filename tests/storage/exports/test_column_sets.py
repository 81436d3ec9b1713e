"""Column sets: saved under a name, found in any spelling of it, sealed, and there again after a lost database."""

import pytest

from storage.exports import column_sets as columnsets
from storage.exports.column_sets import NameTaken, TooManySets, folded, pick

COUNCIL = "Betriebsrat Müller"


async def test_a_set_is_made_found_changed_and_deleted(node, acme):
    sets = acme.column_sets
    made, fresh = await sets.put(COUNCIL, ["id", "party_name"], by="paula")
    assert fresh and made.columns == ("id", "party_name") and made.changed_by == "paula"
    assert pick(await sets.all(), " betriebsrat MU\u0308LLER ") == made == pick(await sets.all(), made.id)
    await acme.database.scrub()
    assert COUNCIL.encode() not in node.raw() and b"party_name" not in node.raw()
    node.watch.wait(hours=1)
    changed, fresh = await sets.put(COUNCIL.upper(), ["id"], by="anton")
    assert not fresh and (changed.id, changed.name, changed.columns) == (made.id, COUNCIL, ("id",))
    assert await sets.all() == (changed,)
    assert await sets.delete(made.id) and not await sets.delete(made.id)
    assert pick(await sets.all(), COUNCIL) is None and not acme.keys.keeps(made.leaf)


async def test_sets_are_listed_by_name_renamed_and_limited(acme, monkeypatch):
    sets = acme.column_sets
    monkeypatch.setattr(columnsets, "MAX_SETS", 3)
    for name in ("zeta", "Alpha", "beta"):
        await sets.put(name, ["id"], by="paula")
    assert [each.name for each in await sets.all()] == ["Alpha", "beta", "zeta"]
    renamed, fresh = await sets.put("beta", ["id"], rename="omega", by="paula")
    assert not fresh and renamed.name == "omega"
    with pytest.raises(NameTaken):
        await sets.put("omega", ["id"], rename="ALPHA", by="paula")
    with pytest.raises(TooManySets):
        await sets.put("another", ["id"], by="paula")
    assert [each.name for each in await sets.all()] == ["Alpha", "omega", "zeta"]
    assert folded(" ＭÜLLER") == folded("mu\u0308ller ") != folded("muller")


async def test_a_column_set_that_cannot_be_audited_is_not_saved(acme):
    async def refuse(_):
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await acme.column_sets.put("one", ["id"], by="paula", told=refuse)
    assert await acme.column_sets.all() == ()
    made, _ = await acme.column_sets.put("one", ["id"], by="paula")
    with pytest.raises(RuntimeError):
        await acme.column_sets.delete("one", told=refuse)
    assert await acme.column_sets.all() == (made,)
