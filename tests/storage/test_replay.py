"""A database that is lost or old comes to the state of today, and what was erased stays erased."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from storage import compaction, erasurerows, journal, replay, tables
from storage.callrows import Query
from storage.customers import Customer
from storage.durable import Disk
from storage.erasurerows import Doomed, State
from storage.errors import NoSpace
from storage.forgetting import Forgetting
from storage.people import Person
from storage.policy import Wins
from storage.rules import Wished
from tests.storage.house import NOON, House, opens, permit, record, story
from tests.storage.onfile import FILE, copied, dump, fill, lose_the_database, put_back, reopened, without_calls


def test_everything_comes_back_as_it_was(tmp_path: Path) -> None:
    async def tell(house: House, acme: Customer) -> None:
        asked = await fill(acme)
        before = without_calls(await dump(acme), asked)
        await acme.close()
        again = await reopened(house)
        assert await dump(again) == before
        assert all(before.values())
        rules = await again.rules.get()
        assert (rules.default_days, rules.wins, [r.wished.name for r in rules.rules]) == (90, Wins.SHORTEST, ["desk"])
        assert (await again.waivers.current()).signed_by == "Dr. Vera Stamm"  # type: ignore[union-attr]  # it is there
        granted = await again.erasures.approve(asked, by="anton")
        assert granted.state == State.RUNNING
        await again.close()
        once_more = await reopened(house)
        assert (await once_more.erasures.get(asked)).approved_by == "anton"  # type: ignore[union-attr]  # it is there
        await once_more.close()

    story(tmp_path, tell)


def test_a_hold_still_stops_an_erasure_after_the_rows_are_built_anew(tmp_path: Path) -> None:
    async def tell(house: House, acme: Customer) -> None:
        row = await record(acme, ended=NOON - timedelta(days=400))
        await permit(acme)
        await acme.holds.put(row.id, "court", "paula")
        await acme.close()
        again = await reopened(house)
        assert await again.holds.get(row.id)
        await again.calls.put([row], [["w:mira"]])
        await again.retention.sweep(house.watch(), 100)
        await again.erasures.work()
        assert opens(again, row) and (await again.holds.get(row.id)).reason == "court"  # type: ignore[union-attr]
        await again.close()

    story(tmp_path, tell)


def test_what_hung_on_an_erased_call_does_not_come_back_and_is_in_no_byte(tmp_path: Path) -> None:
    async def tell(house: House, acme: Customer) -> None:
        row = await record(acme)
        await permit(acme)
        await acme.annotations.add(row.id, "Notary Fettlewick", "paula")
        old = (house.data / FILE).read_bytes()
        await acme.erasures.file(calls=[row.id], reason="because of her divorce", by="paula")
        await acme.erasures.work()
        await acme.close()
        (house.data / FILE).write_bytes(old + (house.data / FILE).read_bytes()[len(old) :])
        again = await reopened(house)
        found = await dump(again)
        assert found["annotations"] == [] and len(found["waivers"]) == 1 and len(found["erasures"]) == 1
        assert all(word not in house.raw() for word in (b"Fettlewick", b"divorce", b"Vera Stamm"))
        await again.close()

    story(tmp_path, tell)


def test_a_database_from_before_the_journal_is_written_down_whole(tmp_path: Path) -> None:
    async def tell(house: House, acme: Customer) -> None:
        asked = await fill(acme)
        before = without_calls(await dump(acme), asked)
        await acme.close()
        (house.data / FILE).unlink()
        await (await house.open()).close()
        again = await reopened(house)
        assert await dump(again) == before
        await again.close()

    story(tmp_path, tell)


def test_a_journal_that_a_crash_kept_from_being_begun_is_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """The process is no more."""

    async def tell(house: House, acme: Customer) -> None:
        asked = await fill(acme)
        before = without_calls(await dump(acme), asked)
        await acme.close()
        (house.data / FILE).unlink()

        def killed(self: Disk, old: Path, new: Path) -> None:
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(journal, "BATCH", 3)
            patch.setattr(Disk, "rename", killed)
            with pytest.raises(Killed):
                await house.open()
        await (await house.open()).close()
        again = await reopened(house)
        assert await dump(again) == before
        await again.close()

    story(tmp_path, tell)


def test_two_processes_give_a_lost_database_its_papers_back_once(tmp_path: Path) -> None:
    async def tell(house: House, acme: Customer) -> None:
        await fill(acme)
        await acme.close()
        await lose_the_database(house)
        both = await asyncio.gather(house.open(), house.open())
        assert await dump(both[0]) == await dump(both[1])
        assert len((await dump(both[0]))["users"]) == 2
        for each in both:
            await each.close()

    story(tmp_path, tell)


async def go_on(acme: Customer, asked: str) -> None:
    """Change everything that `fill` left, and ask for more."""
    (held,) = [row.id for row in (await acme.calls.find(Query(party="Mira Okafor"))).items]
    await acme.holds.remove(held)
    later = await record(acme, name="Uwe Brandt", number="+4940111222")
    await acme.holds.put(later.id, "court", "paula")
    await acme.annotations.add(held, "and again", "paula")
    await acme.rules.put([Wished(7, name="newest")], by="ada", default_days=11, wins=Wins.LONGEST)
    await acme.users.carry_out(await acme.users.plan([Person(object_id="k2", first_name="Tova")], "csv", whole=True))
    (gone,) = [user for user in (await acme.users.listed(9))[0] if user.state == "inactive"]
    assert await acme.users.delete(gone.id)
    await acme.column_sets.delete("for the court")
    await permit(acme)
    await acme.erasures.approve(asked, by="anton")
    await acme.erasures.work()
    waiting = await acme.erasures.file(party="Uwe Brandt", reason="his wish", by="paula")
    await acme.erasures.work()
    assert (await acme.erasures.get(waiting.id)).state == State.WAITING  # type: ignore[union-attr]  # it is there


@pytest.mark.parametrize("compacted", [False, True])
def test_an_old_database_brought_back_alone_comes_to_the_state_of_today(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compacted: bool
) -> None:
    async def tell(house: House, acme: Customer) -> None:
        asked = await fill(acme)
        old = await copied(acme)
        await go_on(acme, asked)
        if compacted:
            monkeypatch.setattr(compaction, "LEAST", 0)
            monkeypatch.setattr(compaction, "TIMES", 0)
            assert await compaction.compact(acme.journal, acme.database)
        today = await dump(acme)
        (waiting,) = await acme.erasures.open()
        receipts = {row[0]: row for row in today["erasures"]}
        await acme.close()
        await put_back(house, old)
        again = await house.open()
        await again.erasures.work()  # it waits again
        assert without_calls(await dump(again), waiting.id) == without_calls(today, waiting.id)
        assert {row[0]: row for row in (await dump(again))["erasures"]} == receipts, "receipts are the original ones"
        assert again.journal.replayed
        assert await replay.differences(again.journal, again.database) == {}
        assert (await again.calls.find(Query(party="Mira Okafor"))).items == ()
        async with again.database.reading() as connection:
            assert not set(await connection.scalars(sa.select(tables.calls.c.id).where(tables.calls.c.hold)))
            assert all(map(again.keys.keeps, await connection.scalars(sa.select(tables.calls.c.leaf))))
        await again.close()
        once_more = await house.open()
        assert not once_more.journal.replayed
        await once_more.close()

    story(tmp_path, tell)


def test_an_old_database_is_known_by_its_number_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def tell(house: House, acme: Customer) -> None:
        await fill(acme)
        await acme.close()
        for name in ("read", "since"):
            monkeypatch.delattr(journal.Journal, name)
        await (await house.open()).close()

    story(tmp_path, tell)


def test_a_line_that_is_just_being_committed_makes_no_database_old(tmp_path: Path) -> None:
    async def tell(house: House, acme: Customer) -> None:
        row = await record(acme)
        await permit(acme)
        written, go_on = asyncio.Event(), asyncio.Event()

        async def writing() -> None:
            async with acme.database.writing():
                await acme.journal.write([journal.dropped(tables.holds, row.leaf, call=row.id)])
                written.set()
                await go_on.wait()

        async def looking() -> bool:
            await written.wait()
            asyncio.get_running_loop().call_later(0.2, go_on.set)
            return await replay.behind(acme.journal, acme.database)

        _, late = await asyncio.gather(writing(), looking())
        assert not late

    story(tmp_path, tell)


def test_a_replay_that_is_killed_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def tell(house: House, acme: Customer) -> None:
        asked = await fill(acme)
        old = await copied(acme)
        await go_on(acme, asked)
        today = await dump(acme)
        (waiting,) = await acme.erasures.open()
        await acme.close()
        for place in ("_changes", "_forget_dead", "set_mark"):
            await put_back(house, old)

            def killed(*_: object) -> None:
                raise RuntimeError("killed here")

            with monkeypatch.context() as patch:
                patch.setattr(replay, place, killed)
                with pytest.raises(RuntimeError):
                    await house.open()
            again = await house.open()
            await again.erasures.work()
            assert without_calls(await dump(again), waiting.id) == without_calls(today, waiting.id)
            await again.close()

    story(tmp_path, tell)


def test_a_journal_older_than_its_database_is_written_anew(tmp_path: Path) -> None:
    async def tell(house: House, acme: Customer) -> None:
        await permit(acme)
        old = (house.data / FILE).read_bytes()
        asked = await fill(acme)
        before = without_calls(await dump(acme), asked)
        await acme.close()
        (house.data / FILE).write_bytes(old)
        await (await house.open()).close()
        again = await reopened(house)
        assert await dump(again) == before
        await again.close()

    story(tmp_path, tell)


def test_retention_under_way_in_an_old_database_is_left_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def tell(house: House, acme: Customer) -> None:
        row = await record(acme, ended=NOON - timedelta(days=400))
        await permit(acme)
        await acme.retention.sweep(house.watch(), 100)
        old = await copied(acme)
        await acme.annotations.add(row.id, "a note", "paula")
        monkeypatch.setattr(compaction, "LEAST", 0)
        monkeypatch.setattr(compaction, "TIMES", 0)
        assert await compaction.compact(acme.journal, acme.database)
        await acme.close()
        await put_back(house, old)
        again = await house.open()
        await again.erasures.work()
        assert not opens(again, row)
        await again.close()

    story(tmp_path, tell)


Killing = Callable[[Customer, str], Awaitable[object]]

KILLED: dict[str, Killing] = {
    "a hold": lambda acme, call: acme.holds.put(call, "court", "paula"),
    "the end of a hold": lambda acme, call: acme.holds.remove(call),
    "a correction": lambda acme, call: acme.annotations.add(call, "her name is Mirah", "paula"),
    "rules": lambda acme, call: acme.rules.put([Wished(30, name="new")], by="ada", default_days=7),
    "a user": lambda acme, call: added(acme),
    "the other name of a user": lambda acme, call: renamed(acme),
}


async def added(acme: Customer) -> None:
    plan = await acme.users.plan([Person(object_id="k9", first_name="Mira")], "csv", whole=False)
    await acme.users.carry_out(plan)


async def renamed(acme: Customer) -> None:
    people = [Person(object_id="k1", first_name="Mirabel"), Person(object_id="k2", first_name="Tove")]
    await acme.users.carry_out(await acme.users.plan(people, "csv", whole=True))


@pytest.mark.parametrize("what", KILLED)
def test_what_was_written_down_but_not_committed_is_done_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    async def tell(house: House, acme: Customer) -> None:
        await fill(acme)
        row = await record(acme)
        if what == "the end of a hold":
            await acme.holds.put(row.id, "court", "paula")
        write = journal.Journal.write

        async def killed(self: journal.Journal, items: Sequence[journal.Item]) -> None:
            await write(self, items)
            raise RuntimeError("killed here")

        with monkeypatch.context() as patch:
            patch.setattr(journal.Journal, "write", killed)
            with pytest.raises(RuntimeError):
                await KILLED[what](acme, row.id)
        assert await replay.differences(acme.journal, acme.database)
        await acme.close()
        again = await house.open()
        assert await replay.differences(again.journal, again.database) == {}
        held = await again.holds.get(row.id) is not None
        assert held is (what == "a hold")
        shown = await again.calls.get(row.id)
        assert shown is not None and shown.hold is held
        before = await dump(again)
        await again.close()
        once_more = await house.open()
        assert await dump(once_more) == before
        await once_more.close()

    story(tmp_path, tell)


def test_a_last_line_that_does_not_fit_the_database_keeps_nobody_out(tmp_path: Path) -> None:
    async def tell(house: House, acme: Customer) -> None:
        await fill(acme)
        before = await dump(acme)
        async with acme.database.reading() as connection:
            (item, *_) = await journal.taken(connection, tables.users)
        await acme.journal.write([replace(item, put={**(item.put or {}), "id": "another"})])
        await acme.close()
        again = await house.open()
        assert await dump(again) == before
        await again.close()

    story(tmp_path, tell)


def test_a_damaged_last_line_keeps_nobody_out(tmp_path: Path) -> None:
    async def tell(house: House, acme: Customer) -> None:
        await permit(acme)
        await acme.close()
        with (house.data / FILE).open("ab") as file:
            file.write(b'{"id":"00","items":[[0,"ffffffffffff","AAAA"]]}\n')
        again = await house.open()
        assert await again.waivers.current()
        await again.close()

    story(tmp_path, tell)


def test_a_request_that_the_audit_log_did_not_take_does_not_come_back(tmp_path: Path) -> None:
    async def refused(_: str) -> None:
        raise NoSpace("the log takes nothing")

    async def tell(house: House, acme: Customer) -> None:
        row = await record(acme)
        await permit(acme)
        with pytest.raises(NoSpace):
            await acme.erasures.file(calls=[row.id], reason="x", by="paula", told=refused)
        asked = (await acme.erasures.file(calls=[row.id], reason="x", by="paula", approval=True)).id
        with pytest.raises(NoSpace):
            await acme.erasures.approve(asked, by="anton", told=refused)
        await acme.close()
        again = await reopened(house)
        await again.erasures.work()
        assert [(each.id, each.state) for each in await again.erasures.open()] == [(asked, State.APPROVAL)]
        assert opens(again, row)
        await again.close()

    story(tmp_path, tell)


def test_a_request_of_many_rounds_goes_on_after_the_first_and_without_its_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def tell(house: House, acme: Customer) -> None:
        calls = [await record(acme, ended=NOON - timedelta(days=days)) for days in (9, 5)]
        await permit(acme)
        await acme.erasures.file(calls=[row.id for row in calls], reason="x", by="paula")
        cut, cuts = Forgetting.cut, list[Sequence[Doomed]]()

        async def once(self: Forgetting, doomed: Sequence[Doomed], now: datetime) -> None:
            cuts.append(doomed)
            if len(cuts) > 1:
                raise NoSpace("killed here")
            await cut(self, doomed, now)

        with monkeypatch.context() as patch:
            patch.setattr(erasurerows.begin, "__defaults__", (1,))
            patch.setattr(Forgetting, "cut", once)
            with pytest.raises(NoSpace):
                await acme.erasures.work()
        await acme.close()
        assert [len(each) for each in cuts][:2] == [1, 1]
        again = await reopened(house)
        await again.erasures.work()
        assert not any(opens(again, row) for row in calls)
        await again.close()

    story(tmp_path, tell)
