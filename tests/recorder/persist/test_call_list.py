"""Calls as the command line lists them."""

from __future__ import annotations

from recorder.persist.call_list import find
from tests.in_process.recorder_node import Stage
from tests.recorder.persist.staged import staged


@staged
async def test_the_newest_come_first_and_no_more_than_asked_for(one: Stage) -> None:
    for name in ("c1", "c2", "c3"):
        one.invite(name)
        one.bye(name)
    await one.until(lambda: not len(one.live))
    await one.node.indexer.drain(30)
    asked = {"party": None, "since": None, "until": None, "state": None}
    customer = one.node.customers["acme"]
    found = await find(customer, asked, 2)
    assert [item["sip_call_id"] for item in found] == ["c3", "c2"]
    assert {item["customer"] for item in found} == {"acme"}
    assert len(await find(customer, {**asked, "state": "complete"}, 100)) == 3
    assert await find(customer, {**asked, "state": "recording"}, 100) == []
    assert await find(customer, {**asked, "party": "+49 30 100"}, 100) == []
    source = found[0]["source"]
    assert len(await find(customer, {**asked, "source": source, "hold": False}, 100)) == 3
    assert await find(customer, {**asked, "direction": "inbound"}, 100) == []
    assert await find(customer, {**asked, "hold": True}, 100) == []
