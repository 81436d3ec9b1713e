"""A database that is lost loses nothing that was only in it, and what was erased stays erased."""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from storage import erasurerows, journal, tables
from storage.callrows import Query
from storage.customers import Customer, Customers
from storage.erasurerows import Doomed, State
from storage.errors import NoSpace, SealBroken
from storage.forgetting import Forgetting
from storage.lines import LineFile
from storage.people import Person
from storage.policy import Wins
from storage.rules import Wished
from storage.users import Plan
from tests.storage.house import NOON, ROOT, House, emptied, opens, permit, record, story

FILE = "customers/acme/papers.journal"


async def lose_the_database(house: House) -> None:
    """Take the database away, as a broken disk or a backup without it does; a server loses all rows."""
    if house.database != "sqlite":
        await (await emptied(house.database, house.settings.name, house.data)).close()
    for path in (house.data / "customers" / "acme").glob("index.sqlite3*"):
        path.unlink()


async def reopened(house: House) -> Customer:
    """Open the house again without its database."""
    await lose_the_database(house)
    return await house.open()


async def dump(acme: Customer) -> dict[str, list[tuple[object, ...]]]:
    """Return all rows of everything that the journal is for."""
    async with acme.database.reading() as connection:
        found = {t.name: [tuple(r) for r in await connection.execute(t.select())] for t in journal.TABLES}
    return {name: sorted(found[name], key=repr) for name in found}


async def fill(acme: Customer) -> str:
    """Put one of everything into the database; returns a request that waits for approval."""
    held, free = await record(acme), await record(acme, name="Tove Lind", number="+4940777888")
    await permit(acme)
    await acme.holds.put(held.id, "litigation", "paula")
    await acme.holds.put(free.id, "a mistake", "paula")
    await acme.holds.remove(free.id)
    await acme.annotations.add(held.id, "her name is Mirah", "paula")
    await acme.attachments.add(held.id, "chat", "application/json", b"{}", "paula", title="talk")
    await acme.rules.put([Wished(30, party="+49301", name="old")], by="ada", default_days=90, wins=Wins.SHORTEST)
    await acme.rules.put([Wished(3650, source="192.0.2.0/24", name="desk")], by="ada")
    people = [Person(object_id="k1", first_name="Mira"), Person(object_id="k2", first_name="Tove")]
    await acme.users.carry_out(await acme.users.plan(people, "csv", whole=True))
    renamed = [Person(object_id="k1", first_name="Mirah")]
    await acme.users.carry_out(await acme.users.plan(renamed, "csv", whole=True))
    done = await acme.erasures.file(calls=[free.id], reason="x", by="paula")
    await acme.erasures.work()
    assert (await acme.erasures.get(done.id)).state == State.DONE  # type: ignore[union-attr]  # it is there
    return (await acme.erasures.file(party="Mira Okafor", reason="her wish", by="paula", approval=True)).id


def test_everything_comes_back_as_it_was(tmp_path: Path) -> None:
    async def tell(house: House, acme: Customer) -> None:
        asked = await fill(acme)
        before = await dump(acme)
        # calls of a request that is done are in its receipt, so their rows need not come back
        before["erasure_calls"] = [row for row in before["erasure_calls"] if row[0] == asked]
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
        before = await dump(acme)
        before["erasure_calls"] = [row for row in before["erasure_calls"] if row[0] == asked]
        await acme.close()
        (house.data / FILE).unlink()
        await (await house.open()).close()
        again = await reopened(house)
        assert await dump(again) == before
        await again.close()

    story(tmp_path, tell)


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


def test_a_journal_that_a_crash_kept_from_being_begun_is_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """The process is no more."""

    async def tell(house: House, acme: Customer) -> None:
        asked = await fill(acme)
        before = await dump(acme)
        before["erasure_calls"] = [row for row in before["erasure_calls"] if row[0] == asked]
        await acme.close()
        (house.data / FILE).unlink()
        append, written = LineFile.append, list[bytes]()

        def once(self: LineFile, line: bytes) -> None:
            if b'"items"' in line:
                if written:
                    raise Killed
                written.append(line)
            append(self, line)

        with monkeypatch.context() as patch:
            patch.setattr(journal, "BATCH", 3)
            patch.setattr(LineFile, "append", once)
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


Killing = Callable[[Customer, str], Awaitable[object]]

KILLED: dict[str, Killing] = {
    "a hold": lambda acme, call: acme.holds.put(call, "court", "paula"),
    "the end of a hold": lambda acme, call: acme.holds.remove(call),
    "a correction": lambda acme, call: acme.annotations.add(call, "her name is Mirah", "paula"),
    "rules": lambda acme, call: acme.rules.put([Wished(30, name="new")], by="ada", default_days=7),
    "a user": lambda acme, call: acme.users.carry_out(added(acme)),
    "the other name of a user": lambda acme, call: renamed(acme),
}


def added(acme: Customer) -> Plan:
    plan = Plan("csv")
    plan.added.append(Person(object_id="k9", first_name="Mira"))
    return plan


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
        assert await journal.differences(acme.journal, acme.database)
        await acme.close()
        again = await house.open()
        assert await journal.differences(again.journal, again.database) == {}
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
    index = {"about", "calls", "call_tokens", "days", "exports", "export_calls", "alembic_version"}
    assert {table.name for table in journal.TABLES} | index >= set(tables.metadata.tables)
