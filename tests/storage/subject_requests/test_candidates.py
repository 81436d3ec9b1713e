"""Every call of a person is found, in any spelling and role and over renames, and no call of anybody else."""

from dataclasses import replace

import pytest

from storage.directory.user import Person
from storage.search_forms import stored_of
from storage.subject_requests import candidates
from storage.subject_requests.candidates import TooManyCalls
from storage.subject_requests.case_rows import Asked
from tests.in_process.storage_node import record

ANNA = {"name": "Anna Schmidt", "number": "+49301234567", "uri": "sip:+49301234567@pbx.example"}
BOB = {"name": "Bob Berg", "number": "+4940777777", "uri": "sip:bob@pbx.example"}


async def call(acme, *parties, **more):
    """Record a call of these people, matched with the directory as it is now."""
    row = await record(acme, **more)
    await acme.calls.remove([row.id])
    row = replace(row, details={**row.details, "parties": list(parties)})
    await acme.calls.put([row], [stored_of(parties, "DE")])
    return row


async def known(acme, **members):
    """Import one user; return it."""
    person = Person(object_id=members.pop("object_id", "o1"), **members)
    await acme.users.carry_out(await acme.users.plan([person], "csv", whole=False))
    users, _ = await acme.users.listed(100)
    return next(user for user in users if user.person.object_id == person.object_id)


async def found(acme, *identities, user=None):
    return await acme.candidates.find(Asked(identities, user))


async def test_candidates_match_every_spelling_with_a_reason(node, acme):
    first = await call(acme, BOB, ANNA)
    node.watch.wait(hours=1)
    second = await call(acme, {"name": None, "number": "030 1234567", "uri": None}, ended=node.watch.at)
    await call(acme, BOB)
    one, two = await found(acme, "0049 (30) 123 4567")
    assert [one.row.id, two.row.id] == [second.id, first.id]
    assert one.sure and two.sure and (one.parties, two.parties) == ((0,), (1,))
    (match,) = two.matches
    assert (match.claim.text, match.claim.kind, match.claim.directory) == ("0049 (30) 123 4567", "number", False)
    assert await found(acme, "+49 30 7654321") == []


async def test_a_user_is_found_by_former_numbers_and_names(node, acme):
    await known(acme, first_name="Anna", last_name="Schmidt", numbers=("+49301234567",))
    before = await call(acme, ANNA)
    node.watch.wait(days=2)
    user = await known(acme, first_name="Anna", last_name="Weber", numbers=("+49309999999",))
    node.watch.wait(hours=1)
    later = await call(acme, {"name": "A. W.", "number": "+49309999999"}, ended=node.watch.at)
    two, one = await found(acme, user=user.id)
    assert (one.row.id, two.row.id) == (before.id, later.id) and one.sure and two.sure
    assert (one.known_as, two.known_as) == ("Anna Schmidt", "Anna Weber")
    assert any(match.claim.until is not None for match in one.matches)


async def test_a_colleagues_number_belonged_to_the_person_then(node, acme):
    number = "+49301234567"
    await known(acme, first_name="Anna", last_name="Schmidt", numbers=(number,))
    hers = await call(acme, {"name": None, "number": number})
    node.watch.wait(days=2)
    anna = await known(acme, first_name="Anna", last_name="Schmidt", numbers=("+49309999999",))
    bob = await known(acme, first_name="Bob", last_name="Berg", numbers=(number,), object_id="o2")
    node.watch.wait(days=2)
    his = await call(acme, {"name": None, "number": number}, ended=node.watch.at)
    assert [one.row.id for one in await found(acme, user=anna.id)] == [hers.id]
    assert [one.row.id for one in await found(acme, number, user=anna.id)] == [hers.id]
    assert [one.row.id for one in await found(acme, user=bob.id)] == [his.id]
    both = await found(acme, number)
    assert {one.row.id for one in both} == {hers.id, his.id} and not any(one.sure for one in both)


async def test_of_several_who_may_be_the_person_none_is(acme):
    await call(acme, ANNA, {"name": "Anna Schmidt", "number": "+4940888"})
    (one,) = await found(acme, "Anna Schmidt")
    assert one.parties == () and not one.sure
    (one,) = await found(acme, "Anna Schmidt", "+4940888")
    assert one.parties == (1,) and one.sure


async def test_an_erased_call_is_no_candidate_and_there_is_an_end(acme, monkeypatch):
    row, other = await call(acme, ANNA), await call(acme, ANNA)
    acme.keys.cut(row.leaf)
    assert [one.row.id for one in await found(acme, ANNA["number"])] == [other.id]
    monkeypatch.setattr(candidates, "MAX_CALLS", 0)
    with pytest.raises(TooManyCalls):
        await found(acme, ANNA["number"])


async def test_which_parties_of_one_call_may_be_the_person_now(acme):
    row = await call(acme, BOB, ANNA, {**ANNA, "number": None, "uri": "sip:someone@pbx.example"})
    asked = Asked(("+49 30 1234567", "Anna Schmidt"), None)
    assert await acme.candidates.parties(asked, row) == {1, 2}
    moved = replace(row, details={**row.details, "parties": [ANNA, BOB]})
    assert await acme.candidates.parties(asked, moved) == {0}
    assert await acme.candidates.parties(Asked(("+49 30 7654321",), None), row) == frozenset()


async def test_a_calls_matched_user_counts_as_evidence(acme):
    anna = await known(acme, first_name="Anna", last_name="Schmidt", numbers=("+49301234567",))
    other = "22222222-0000-4000-8000-000000000002"
    await call(acme, {**ANNA, "name": "Bob Berg", "user_id": other})
    named = await call(acme, {**ANNA, "user_id": other})
    mine = await call(acme, {"name": None, "number": None, "user_id": anna.id})
    doubt = await call(acme, {**ANNA, "user_candidates": [anna.id, other]})
    judged = {one.row.id: one.sure for one in await found(acme, user=anna.id)}
    assert judged == {mine.id: True, doubt.id: False, named.id: False}
