"""Customers that cannot be opened at the start are tried again, and their calls wait for them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from recorder.calls import customers_away
from recorder.calls.customers_away import CustomersAway
from storage.customer.customers import Customer, Customers
from storage.errors import KeysMissing
from tests.in_process.recorder_node import Stage, sip_request
from tests.recorder.calls.restart import leave


@pytest.fixture
def gone(one: Stage) -> Customer:
    """The one customer of a node, which has lost it."""
    acme = one.customers["acme"]
    one.customers._customers = {}  # as a start leaves it that cannot open the keys
    return acme


async def test_its_clients_get_503_until_it_is_open(
    one: Stage, gone: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(customers_away, "AGAIN_SECONDS", 0.01)
    tries: list[str] = []
    joined: list[str] = []

    def opened(name: str) -> Customer:
        tries.append(name)
        if len(tries) < 3:
            raise KeysMissing("not yet")
        return gone

    async def join(customer: Customer) -> None:
        joined.append(customer.name)
        raise OSError("whatever")

    customers: Any = one.customers
    assert isinstance(customers, Customers)
    away = CustomersAway(one.node.log, one.node.incidents, customers, {"acme": KeysMissing("not there")}, opened)
    one.hear(sip_request("INVITE", "c1", 1, b"v=0\r\n"))
    one.hear(sip_request("OPTIONS", "c2", 1))
    assert (one.statuses("INVITE"), one.statuses("OPTIONS"), len(away.names)) == ([503], [503], 1)
    await asyncio.wait_for(away.run(join), 30)  # what goes wrong afterwards does not end it
    assert (len(tries), joined, away.names) == (3, ["acme"], frozenset())
    assert one.invite("c3").customer is gone
    for call in one.live:
        one.bye("c3", 2)
        await one.until(lambda: not len(one.live))
        assert not call.recording.alive


async def test_its_calls_keep_their_ports_and_resume_when_it_returns(one: Stage) -> None:
    call = one.invite("c1")
    ports = [pair.port for pair in call.sockets.pairs.values()]
    acme, free = one.customers["acme"], one.resources.ports.free
    leave(one, call)
    customers: Any = one.customers
    customers._customers = {}
    waiting = one.resuming()
    waiting.run({}, {}, {"acme"})
    assert len(one.live) == 0 and one.resources.ports.free <= free
    assert all(one.resources.ports.taken(port) for port in ports)
    customers.add(acme)
    waiting.join(acme)
    (again,) = one.live
    assert (again.id, [pair.port for pair in again.sockets.pairs.values()]) == (call.id, ports)


async def test_ports_of_a_call_that_cannot_be_resumed_rest(one: Stage) -> None:
    call = one.invite("c1")
    ports = [pair.port for pair in call.sockets.pairs.values()]
    acme = one.customers["acme"]
    leave(one, call)
    customers: Any = one.customers
    customers._customers = {}
    waiting = one.resuming()
    waiting.run({}, {}, {"acme"})
    customers.add(acme)
    acme.keys.cut(call.leaf)
    waiting.join(acme)
    assert len(one.live) == 0 and not any(one.resources.ports.taken(port) for port in ports)
