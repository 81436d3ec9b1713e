"""A customer of whom everything is known: 1,000 calls, 37 of them of one person, who was renamed twice and moved.

    made = await seed(acme, watch)              watch.at is set to each moment in turn, at last to TODAY
    made.person, made.calls                     her id, and the ids of her calls
    made.colleague, made.colleagues             who has her old number today, and his calls
    made.others                                 names and numbers of everybody else: in no report of hers

    2 January   first import: Anna Berger, +49 30 5550 100
    2 March     she marries: Anna Novak, other addresses
    2 May       she moves to +49 30 5550 200; Bernd Kowal gets her old number, and had another one before
    2 July      Anna Berger-Novak, other addresses again

There are another Anna Novak, a number with the same last digits in another town, and a switchboard that thirty share.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Protocol

from storage.calls.call_row import CallRow, CallState
from storage.customer.customers import Customer
from storage.directory.user import Person
from storage.search_forms import stored_of
from storage.timestamps import day_of

SEED = 37
DOMAIN = "house.example"
FIRST = datetime(2026, 1, 2, tzinfo=UTC)
MARRIED = datetime(2026, 3, 2, tzinfo=UTC)
MOVED = datetime(2026, 5, 2, tzinfo=UTC)
AGAIN = datetime(2026, 7, 2, tzinfo=UTC)
TODAY = datetime(2026, 9, 1, 12, tzinfo=UTC)
BEGIN = datetime(2025, 12, 1, tzinfo=UTC)
OLD, NEW, HIS = "+49305550100", "+49305550200", "+49305550300"
SWITCHBOARD = "+49305550000"
COLLEAGUES = 20
ROLES = ("caller", "callee", "answered", "redirected_by", "redirected_to", "participant")
GIVEN = "Bodo Cem Dörte Emre Fatma Günther Hélène Ines Jörg Kaja Łukasz Mira Noël Olga Pia Rui Søren Tove Uwe".split()
FAMILY = "Abel Brandt Çelik Dorn Ernst Falk Graf Horn Ilić Jahn Kern Lang Maas Noll Otto Pohl Quint Roth".split()


class Clock(Protocol):
    """A clock that is set."""

    at: datetime


@dataclass
class Seeded:
    """What is in it."""

    person: str = ""
    """Id of the user who is asked for."""
    colleague: str = ""
    """Id of the user who has her old number today."""
    calls: dict[str, tuple[int, datetime]] = field(default_factory=dict)
    """Her calls: number of her party, and when each began."""
    colleagues: set[str] = field(default_factory=set)
    """Calls that her old number was in once it was his, and those of his number before."""
    others: set[str] = field(default_factory=set)
    """Names and numbers of everybody but her."""
    rows: list[tuple[CallRow, tuple[str, ...]]] = field(default_factory=list)
    """All calls with their search forms, as they are before anybody looks who took part."""


def anna(at: datetime) -> Person:
    """Return the person as the directory has her at a time."""
    name = "Berger" if at < MARRIED else "Novak" if at < AGAIN else "Berger-Novak"
    user = f"anna.{name.lower()}@{DOMAIN}"
    number = OLD if at < MOVED else NEW
    return Person("Anna", name, "anna", user, user, "oid-anna", (number, SWITCHBOARD), (f"sip:{user}",))


def bernd(at: datetime) -> Person:
    """Return the colleague."""
    user = f"bernd.kowal@{DOMAIN}"
    return Person("Bernd", "Kowal", "bernd", user, user, "oid-bernd", (HIS if at < MOVED else OLD,), (f"sip:{user}",))


def crowd(count: int = 200) -> list[Person]:
    """Return everybody else: one has her name, one the same last digits, thirty share the switchboard."""
    people = [
        Person(
            "Anna",
            "Novak",
            "a.novak2",
            f"anna.novak2@{DOMAIN}",
            f"anna.novak2@{DOMAIN}",
            "oid-other",
            ("+49305550901",),
        ),
        Person("Ewa", "Wrona", "ewa", f"ewa@{DOMAIN}", f"ewa@{DOMAIN}", "oid-ewa", ("+49405550100",)),
    ]
    for number in range(count):
        first, last = GIVEN[number % len(GIVEN)], FAMILY[number // len(GIVEN) % len(FAMILY)]
        user = f"user{number}@{DOMAIN}"
        shared = (SWITCHBOARD,) if number < 30 else ()
        people.append(
            Person(first, last, f"user{number}", user, user, f"oid-{number}", (f"+49305560{number:03}", *shared))
        )
    return people


def writings(person: Person) -> list[dict[str, Any]]:
    """Return the ways in which clients write a party who is this person."""
    number, user, name = person.numbers[0], person.upn, f"{person.first_name} {person.last_name}"
    national = "0" + number.removeprefix("+49")
    spaced = f"tel:+49-30-{number.removeprefix('+4930')}" if number.startswith("+4930") else f"tel:{number}"
    return [
        {"name": name, "number": number, "uri": f"sip:{number}@sbc.example;user=phone"},
        {"name": None, "number": national, "uri": f"sip:{national}@pbx.example"},
        {"name": name.upper(), "number": None, "uri": f"sips:{user.upper()}"},
        {"name": None, "number": None, "uri": spaced},
        {"name": "Conference", "number": None, "uri": "sip:room7@pbx.example", "also": [f"sip:{user}"]},
        {
            "name": f"{person.last_name}, {person.first_name}",
            "number": "00" + number[1:],
            "uri": f"sip:00{number[1:]}@pbx",
        },
        {"name": "anonymous", "number": None, "uri": "sip:anonymous@anonymous.invalid", "also": [f"tel:{number}"]},
    ]


def outsider(random: Random) -> dict[str, Any]:
    """Return a party whom no directory knows."""
    number = f"+4989{random.randrange(10**7):07}"
    return {"name": f"Kunde {random.choice(FAMILY)}", "number": number, "uri": f"sip:{number}@carrier.example"}


async def seed(acme: Customer, clock: Clock, *, calls: int = 1000, mine: int = 37, at_once: bool = False) -> Seeded:
    """Fill a customer, calls and imports in the order of time; `at_once`: all calls after the last import."""
    made, random, people = Seeded(), Random(SEED), crowd()
    plan = _plan(random, calls, mine, people, made)
    made.others |= {
        name for person in people for name in (person.numbers[0], f"{person.first_name} {person.last_name}")
    }
    made.others |= {"Bernd Kowal", HIS}
    await acme.correlation.load()
    waiting = list(plan)
    for until, following in ((FIRST, MARRIED), (MARRIED, MOVED), (MOVED, AGAIN), (AGAIN, TODAY)):
        if not at_once:
            waiting = await _write(acme, made, waiting, until)
        clock.at = until
        await _imported(acme, [anna(until), bernd(until), *people])
        await acme.correlation.refresh()
        if not at_once:
            waiting = await _write(acme, made, waiting, following)
    clock.at = TODAY
    await _write(acme, made, waiting, TODAY)
    await acme.correlation.settle()
    for key, name in (("oid-anna", "person"), ("oid-bernd", "colleague")):
        user = await acme.users.known("entra", Person(object_id=key))
        setattr(made, name, user.id if user else "")
    return made


Planned = tuple[datetime, list[dict[str, Any]], int | None, bool]
"""When, who, the number of her party, and whether it is the colleague's."""


def _plan(random: Random, calls: int, mine: int, people: list[Person], made: Seeded) -> list[Planned]:
    spans = [(BEGIN, FIRST), (FIRST, MARRIED), (MARRIED, MOVED), (MOVED, AGAIN), (AGAIN, TODAY)]
    planned: list[Planned] = []
    for number in range(mine):
        begin, end = spans[number % len(spans)]
        at = _within(random, begin, end)
        hers = writings(anna(max(at, FIRST)))[number % 7]
        planned.append(_call(random, at, hers, ROLES[number % len(ROLES)], people, hers=True))
    for number in range(COLLEAGUES):
        at = _within(random, *(spans[3 + number % 2] if number % 4 else spans[1]))
        his = writings(bernd(at))[number % 7]
        planned.append((*_call(random, at, his, ROLES[number % 2], people)[:3], True))
    for _ in range(calls - mine - COLLEAGUES):
        at = _within(random, BEGIN, TODAY)
        somebody = random.choice(people)
        planned.append(_call(random, at, random.choice(writings(somebody)), random.choice(ROLES), people))
    made.others |= {party["number"] for _, parties, _, _ in planned for party in parties if party.get("outside")}
    return sorted(planned, key=lambda each: each[0])


def _call(
    random: Random, at: datetime, one: dict[str, Any], role: str, people: list[Person], *, hers: bool = False
) -> Planned:
    """Plan a call of somebody with somebody else: a colleague or a customer."""
    inside = random.random() < 0.5
    other = random.choice(writings(random.choice(people))) if inside else {**outsider(random), "outside": True}
    parties = [{**one, "role": role}, {**other, "role": "callee" if role == "caller" else "caller"}]
    place = 0
    if random.random() < 0.5:
        parties.reverse()
        place = 1
    return at, parties, place if hers else None, False


def _within(random: Random, begin: datetime, end: datetime) -> datetime:
    return begin + timedelta(seconds=random.uniform(60, (end - begin).total_seconds() - 600))


async def _imported(acme: Customer, people: list[Person]) -> None:
    plan = await acme.users.plan(people, "entra", whole=True)
    for piece in plan.pieces(500):
        await acme.users.carry_out(piece)
    await acme.users.completed(plan)


async def _write(acme: Customer, made: Seeded, waiting: list[Planned], until: datetime) -> list[Planned]:
    """Write the calls that began before a time; return the others."""
    rows = [_row(acme, made, each) for each in waiting if each[0] < until]
    for start in range(0, len(rows), 200):
        some = [acme.correlation.applied(*each) for each in rows[start : start + 200]]
        await acme.calls.put([row for row, _ in some], [forms for _, forms in some])
    made.rows += rows
    return [each for each in waiting if each[0] >= until]


def _row(acme: Customer, made: Seeded, planned: Planned) -> tuple[CallRow, tuple[str, ...]]:
    at, given, place, his = planned
    end = at + timedelta(minutes=5)
    id = str(uuid.UUID(int=Random(f"{SEED} {at}").getrandbits(128), version=4))
    times = {"joined_at": at.isoformat(), "left_at": end.isoformat(), "user_id": None, "user_candidates": []}
    parties = [{"also": [], **{k: v for k, v in party.items() if k != "outside"}, **times} for party in given]
    streams = [
        {"label": str(number), "party": number, "media": "audio", "codec": "PCMA", "gap_ms": 0, "packets": 15_000}
        for number in range(2)
    ]
    details: Any = {"session_id": f"s-{id[:8]}", "parties": parties, "streams": streams, "direction": "inbound"}
    leaf = acme.keys.allocate(day_of(at))
    row = CallRow(id, leaf, CallState.COMPLETE, at, end, 300_000, 4_800_000, details=details)
    if place is not None:
        made.calls[id] = (place, at)
    if his:
        made.colleagues.add(id)
    return row, stored_of(parties, acme.settings.country)
