"""An erasure is asked for, stopped by what may stop it, carried out, and proven."""

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from personal import Personal
from storage.calls.call_index import Calls
from storage.calls.call_row import CallRow, CallState, Query
from storage.cursors import BadCursor
from storage.customer.customers import Customer
from storage.erasure import receipts
from storage.erasure.erasure_rows import State
from storage.erasure.erasures import Held, NoErasure, OwnRequest
from tests.in_process.storage_node import NOBODY, NOON, StorageNode, finish, opens, record

pytestmark = [pytest.mark.both_databases, pytest.mark.usefixtures("waiver")]


async def test_an_erased_call_is_gone_and_the_receipt_proves_it(acme: Customer) -> None:
    gone, stays = await record(acme), await record(acme, name="Tove Lind", number="+4940777888")
    await acme.annotations.add(gone.id, "Mira spells her name Mirah", "paula")
    await acme.attachments.add(gone.id, "chat", "application/json", b"{}", "paula")
    receipt = await finish(acme, calls=[gone.id])
    data = json.dumps(receipt).encode()
    assert receipts.verify(data, "acme", acme.audit.public_key)["calls"] == [gone.id]
    assert not any(word in str(receipt) for word in ("she asked", "Mira", "30123456"))
    assert await acme.calls.get(gone.id) is None and list(acme.vault.parts(gone.id, gone.leaf)) == []
    assert await acme.annotations.of(gone.id) == () and await acme.attachments.of(gone.id) == ()
    assert not acme.keys.keeps(gone.leaf)
    assert [row.id for row in (await acme.calls.find(Query(party=Personal("Tove")))).items] == [stays.id]
    assert opens(acme, stays)
    actions = [entry["action"] for entry in acme.audit.read().items]
    assert {"erasure.cut", "erasure.done"} <= set(actions)


async def test_a_held_id_stops_the_whole_request(acme: Customer) -> None:
    held, free = await record(acme), await record(acme)
    await acme.holds.put(held.id, "court", "paula")
    with pytest.raises(Held) as stopped:
        await acme.erasures.file(calls=[held.id, free.id], reason="x", by="paula")
    assert stopped.value.ids == (held.id,)
    await acme.erasures.work()
    assert opens(acme, held) and opens(acme, free)


async def test_held_calls_of_a_party_wait_until_their_hold_ends(acme: Customer) -> None:
    held, free, other = await record(acme), await record(acme), await record(acme, name="T", number="+4940777888")
    await acme.holds.put(held.id, "court", "paula")
    filed = await acme.erasures.file(party="tel:+49-30-123456", reason="x", by="paula")
    await acme.erasures.work()
    await acme.erasures.work()
    waiting = await acme.erasures.get(filed.id)
    assert waiting and (waiting.state, waiting.receipt) == (State.WAITING, None)
    assert opens(acme, held) and not acme.keys.keeps(free.leaf)
    await acme.holds.remove(held.id)
    assert acme.erasures.wanted.is_set()
    await acme.erasures.work()
    done = await acme.erasures.get(filed.id)
    assert done and done.state == State.DONE and done.receipt
    assert done.receipt["calls"] == sorted([held.id, free.id]) and opens(acme, other)


async def test_a_hold_set_after_the_request_still_wins(acme: Customer, row: CallRow) -> None:
    filed = await acme.erasures.file(calls=[row.id], reason="x", by="paula")
    await acme.holds.put(row.id, "court", "anton")
    await acme.erasures.work()
    found = await acme.erasures.get(filed.id)
    assert found and found.state == State.WAITING and opens(acme, row)


async def test_unknown_erased_and_invalid_ids_are_simply_done(acme: Customer, row: CallRow) -> None:
    first = await finish(acme, calls=[row.id])
    again = await finish(acme, calls=[row.id])
    nobody = await finish(acme, calls=[NOBODY, "Mira Okafor"])
    assert (again["calls"], again["counts"]) == (first["calls"], first["counts"])
    assert nobody["calls"] == [NOBODY]
    assert (await finish(acme, party="+49 30 999999"))["calls"] == []


async def test_finished_erasures_are_read_without_receipts(node: StorageNode, acme: Customer) -> None:
    made = []
    for _ in range(3):
        made.append((await acme.erasures.file(calls=[NOBODY], reason="x", by="paula")).id)
        assert await acme.erasures.work()
        node.watch.wait(days=0.01)
    await acme.erasures.file(calls=[NOBODY], reason="x", by="paula", approval=True)
    newest, cursor = await acme.erasures.done(2, None)
    oldest, end = await acme.erasures.done(2, cursor)
    assert [each.id for each in (*newest, *oldest)] == made[::-1] and end is None
    assert {(each.receipt, each.state) for each in (*newest, *oldest)} == {(None, State.DONE)}
    for wrong in ("", "1", f"x.{NOBODY}", "1.x", f"{'9' * 18}.{NOBODY}"):
        with pytest.raises(BadCursor):
            await acme.erasures.done(2, wrong)


async def test_concurrent_erasures_of_a_call_give_the_same_proof(acme: Customer, row: CallRow) -> None:
    proofs = await asyncio.gather(*(finish(acme, calls=[row.id]) for _ in range(20)))
    assert len({json.dumps([proof[k] for k in ("calls", "counts", "cause", "requested_by")]) for proof in proofs}) == 1
    assert not acme.keys.keeps(row.leaf) and await acme.calls.get(row.id) is None


async def test_a_second_person_approves_and_never_the_first(acme: Customer, row: CallRow) -> None:
    filed = await acme.erasures.file(party="Mira Okafor", reason="x", by="paula", approval=True)
    late = await record(acme)
    await acme.erasures.work()
    assert filed.state == State.APPROVAL and opens(acme, row)
    with pytest.raises(OwnRequest):
        await acme.erasures.approve(filed.id, by="paula")
    with pytest.raises(OwnRequest):
        await acme.erasures.approve(filed.id, by="Paula")  # as another provider spells her
    with pytest.raises(NoErasure):
        await acme.erasures.approve(NOBODY, by="anton")
    assert (await acme.erasures.approve(filed.id, by="anton")).state == State.RUNNING
    await acme.erasures.work()
    done = await acme.erasures.approve(filed.id, by="anton")
    assert done.state == State.DONE and done.receipt
    assert done.receipt["calls"] == sorted([row.id, late.id]) and done.receipt["approved_by"] == "anton"


@pytest.mark.parametrize(
    ("asks", "approves", "may"),
    [
        (("token:1", "nightly"), ("token:2", "nightly"), False),  # made again under the same name
        (("token:1", "nightly"), ("account:9", "n1ghtly"), False),  # who cannot be told from the other
        (("account:9", "anna"), ("account:9", "reports"), False),  # her own token
        (("openid:https://id s-1", "anna"), ("openid:https://id s-1", "anna.acme"), False),  # renamed there
        (("openid:https://id s-1", "anna"), ("openid:https://id s-2", "ben"), True),
        (("", "anna"), ("account:9", "Anna"), False),  # asked for before identities were written down
        (("", "anna"), ("account:8", "ben"), True),
        (("token:1", "nightly"), ("account:9", "anna"), True),
    ],
)
async def test_four_eyes_are_two_identities_and_not_two_names(
    acme: Customer, row: CallRow, asks: tuple[str, str], approves: tuple[str, str], may: bool
) -> None:
    filed = await acme.erasures.file(calls=[row.id], reason="x", identity=asks[0], by=asks[1], approval=True)
    identity, name = approves
    assert await acme.erasures.own(filed.id, by=name, identity=identity) is not may
    if may:
        assert (await acme.erasures.approve(filed.id, by=name, identity=identity)).state == State.RUNNING
    else:
        with pytest.raises(OwnRequest):
            await acme.erasures.approve(filed.id, by=name, identity=identity)
        found = await acme.erasures.get(filed.id)
        assert found.state == State.APPROVAL


async def test_a_query_runs_again_when_it_is_approved(acme: Customer) -> None:
    first, before = await record(acme), await record(acme, ended=NOON - timedelta(hours=5))
    query = Query(party=Personal("Mira Okafor"), since=NOON - timedelta(hours=1), until=NOON, state=CallState.COMPLETE)
    filed = await acme.erasures.file(query=query, reason="x", by="paula", approval=True)
    late, broken = await record(acme), await record(acme, state=CallState.INTERRUPTED)
    await acme.erasures.approve(filed.id, by="anton")
    await acme.erasures.work()
    done = await acme.erasures.get(filed.id)
    assert done and done.receipt and done.receipt["calls"] == sorted([first.id, late.id])
    assert opens(acme, before) and opens(acme, broken)
    wrong: list[dict[str, Any]] = [{}, {"calls": [first.id], "query": query}, {"party": "x", "query": query}]
    for asked in wrong:
        with pytest.raises(ValueError, match="exactly one of calls, party and query"):
            await acme.erasures.file(reason="x", by="paula", **asked)


async def test_an_erasure_can_be_requested_during_another(acme: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = await record(acme), await record(acme, name="Tove Lind", number="+4940777888")
    remove_tokens, filed = acme.calls.remove_tokens, []

    async def meanwhile(day: int) -> bool:  # keys are cut, nothing is indexed anew
        if not filed:
            filed.append(await acme.erasures.file(party="+4940777888", reason="x", by="paula"))
        return await remove_tokens(day)

    monkeypatch.setattr(acme.calls, "remove_tokens", meanwhile)
    await finish(acme, calls=[first.id])
    await acme.erasures.work()
    done = await acme.erasures.get(filed[0].id)
    assert done is not None and done.receipt is not None and done.receipt["calls"] == [second.id]
    assert await acme.calls.get(second.id) is None


async def test_a_live_call_that_would_not_stop_is_stopped_again(acme: Customer) -> None:
    live, other = await record(acme, state=CallState.RECORDING), await record(acme)
    filed = await acme.erasures.file(calls=[live.id, other.id], reason="x", by="paula")
    asked: list[str] = []

    async def stop(call: str) -> None:
        asked.append(call)
        if len(asked) == 1:
            raise TimeoutError
        acme.vault.finish(call, live.leaf, "m1")

    assert not await acme.erasures.work(stop)
    assert acme.keys.keeps(live.leaf) and not acme.keys.keeps(other.leaf)
    running = await acme.erasures.get(filed.id)
    assert running and running.state == State.RUNNING
    assert await acme.erasures.work(stop)
    assert asked == [live.id] * 2 and not acme.keys.keeps(live.leaf)
    await acme.calls.put([live], [["w:mira"]])  # what its end still had to say
    assert await acme.calls.get(live.id) is None


@pytest.mark.parametrize("days", [0, 1], ids=["today", "yesterday"])
async def test_an_unindexed_live_call_is_stopped_and_erased(acme: Customer, days: int) -> None:
    row = await record(acme, state=CallState.RECORDING, ended=NOON - timedelta(days=days))
    await acme.calls.remove([row.id])
    await acme.erasures.file(calls=[row.id], reason="x", by="paula")
    stopped: list[bool] = []

    async def stop(call: str) -> None:
        stopped.append(call == row.id and acme.keys.keeps(row.leaf))

    assert await acme.erasures.work(stop)
    assert stopped == [True]
    assert not acme.keys.keeps(row.leaf) and acme.vault.left_open() == []


async def test_a_live_call_elsewhere_keeps_its_key_until_it_ends(acme: Customer) -> None:
    row, here = await record(acme, state=CallState.RECORDING), await record(acme)
    other = Calls(acme.database, acme.keys, "DE", 2)
    await other.put([row], [()])
    filed = await acme.erasures.file(calls=[row.id, here.id], reason="x", by="paula")
    stopped: list[str] = []

    async def stop(call: str) -> None:
        stopped.append(call)

    for _ in range(2):
        assert not await acme.erasures.work(stop)
        assert not stopped and acme.keys.keeps(row.leaf) and not acme.keys.keeps(here.leaf)
    await other.put([replace(row, state=CallState.COMPLETE, ended_at=NOON)], [()])
    assert await acme.erasures.work(stop)
    done = await acme.erasures.get(filed.id)
    assert done and done.state == State.DONE and not acme.keys.keeps(row.leaf)


@pytest.mark.parametrize("after", [timedelta(0), timedelta(days=-2)])
async def test_a_call_not_yet_back_in_a_lost_index_is_erased(
    node: StorageNode, acme: Customer, after: timedelta
) -> None:
    old, new = await record(acme, ended=NOON - timedelta(days=90)), await record(acme)
    await acme.calls.remove([old.id, new.id])
    await acme.open_database()
    node.watch.at += after  # the clock was set back: it is of a day to come
    for row in (old, new):
        await finish(acme, calls=[row.id])
        assert not acme.keys.keeps(row.leaf)
    assert list(acme.vault.walk()) == []
