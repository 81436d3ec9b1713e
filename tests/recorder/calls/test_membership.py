"""One of several nodes takes calls of a customer once its database says that it may; not while it drains."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from recorder.calls import databases
from recorder.calls.admission import Admission
from recorder.calls.databases import Databases
from recorder.calls.membership import FOLDER, NOT_REGISTERED, Membership
from storage.database.database import DatabaseAway, DatabaseOlder
from storage.errors import OtherNode
from tests.in_process.offers import sdp
from tests.in_process.recorder_node import CONFIG, Stage, sip_request

TWO = CONFIG + '[[customer]]\nname = "globex"\nsources = ["192.0.2.1"]\n'
OFFER = sdp("sendonly", "sendonly")


def joined(one: Stage, folder: Path, node: str = "2 rec2") -> tuple[Membership, Admission]:
    """Let the node be one of several, as a process that starts."""
    membership = Membership(folder / "run", node, frozenset(one.customers))
    one.signalling = one.handler(membership)
    admission = Admission(one.node, one.resources, one.live, membership)
    membership.follow(admission.review)
    admission.review()
    return membership, admission


def asked(one: Stage, call: str) -> list[int]:
    """Send an INVITE and an OPTIONS; return the final statuses of both."""
    one.hear(sip_request("OPTIONS", f"o{call}", 1))
    one.hear(sip_request("INVITE", call, 1, OFFER))
    return [one.statuses("INVITE")[-1], one.statuses("OPTIONS")[-1]]


async def test_calls_are_taken_once_the_database_confirms_our_number(one: Stage, tmp_path: Path) -> None:
    membership, admission = joined(one, tmp_path)
    assert admission.not_accepting() == NOT_REGISTERED
    assert asked(one, "c1") == [503, 503]
    membership.served("acme", "active")
    assert asked(one, "c2") == [200, 200]
    dialog = one.tag()
    membership.lost("acme")
    assert asked(one, "c3") == [503, 503]
    assert len(one.live) == 1, "a call that runs goes on"
    one.hear(sip_request("BYE", "c2", 9, to=dialog))
    await one.until(lambda: not len(one.live))
    assert one.statuses("BYE") == [200]


async def test_ready_waits_for_the_first_database_but_not_for_ever(one: Stage, tmp_path: Path) -> None:
    membership, _ = joined(one, tmp_path)
    await membership.registered(0.01)
    waiting = asyncio.create_task(membership.registered(60.0))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    membership.served("acme", "active")
    await asyncio.wait_for(waiting, 5)
    await asyncio.wait_for(membership.registered(60.0), 5)


async def test_a_successor_takes_calls_at_once_but_not_after_a_stop(one: Stage, tmp_path: Path) -> None:
    membership, _ = joined(one, tmp_path)
    membership.served("acme", "draining")
    again, admission = joined(one, tmp_path)
    assert (admission.not_accepting(), again.takes("acme")) == ("draining", True)
    assert joined(one, tmp_path, "3 rec2")[1].not_accepting() == NOT_REGISTERED
    again, _ = joined(one, tmp_path)
    again.served("acme", "active")
    assert joined(one, tmp_path)[1].not_accepting() is None
    again.leave()
    assert joined(one, tmp_path)[1].not_accepting() == NOT_REGISTERED
    assert not list((tmp_path / "run" / FOLDER).iterdir())


async def test_draining_refuses_what_is_new_and_nothing_else(one: Stage, tmp_path: Path) -> None:
    membership, admission = joined(one, tmp_path)
    membership.served("acme", "active")
    assert asked(one, "c1") == [200, 200]
    membership.served("acme", "draining")
    assert asked(one, "c2") == [503, 503]
    assert (admission.not_accepting(), len(one.live)) == ("draining", 1)
    membership.served("acme", "active")
    assert asked(one, "c3") == [200, 200]


@pytest.mark.parametrize("config", [pytest.param(TWO, id="two customers")])
async def test_calls_do_not_wait_for_the_database_of_another_customer(one: Stage, tmp_path: Path) -> None:
    membership, admission = joined(one, tmp_path)
    membership.served("globex", "active")
    assert admission.not_accepting() is None
    assert asked(one, "c1") == [503, 503]
    membership.served("acme", "active")
    assert asked(one, "c2") == [200, 200]


async def test_what_the_database_says_is_followed(one: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A drained node, a number that another machine has, and a database that lost commits."""
    for name in ("AGAIN_SECONDS", "RENEW_SECONDS"):
        monkeypatch.setattr(databases, name, 0.01)
    membership, _ = joined(one, tmp_path)
    acme: Any = one.customers["acme"]
    taken = OtherNode("another machine serves the database", "stop it", "rec1")
    says: list[Any] = ["active", DatabaseAway("away"), "draining", "active", taken, DatabaseOlder("older"), "active"]
    states, back, opened = list[str | None](), list[str](), list[bool]()

    async def renew_claim() -> str:
        states.append(membership.not_accepting())
        said = says.pop(0) if says else "active"
        if isinstance(said, Exception):
            if type(said) is not DatabaseAway:
                acme.database.refuse()
            raise said
        return str(said)

    async def open_database() -> None:
        opened.append(membership.takes("acme"))
        acme.database.serve()

    acme.renew_claim, acme.open_database = renew_claim, open_database
    opening = Databases(one.node, one.customers, membership, lambda customer: back.append(customer.name))
    opening.start()
    await one.until(lambda: not says and back)
    assert states[:5] == [None, None, None, "draining", None]
    assert opened == [False, False, True], "not before the first opening, and not while another one has the number"
    assert back == ["acme"]
