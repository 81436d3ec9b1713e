"""Calls as the command line lists them."""

from __future__ import annotations

from recorder.persist.call_list import find
from tests.in_process.recorder_node import Stage


async def test_the_newest_come_first_and_no_more_than_asked_for(one: Stage) -> None:
    for name in ("c1", "c2", "c3"):
        one.invite(name)
        one.bye(name)
    await one.until(lambda: not len(one.live))
    await one.indexer.drain(30)
    asked = {"party": None, "since": None, "until": None, "state": None}
    customer = one.customers["acme"]
    found = await find(customer, asked, 2)
    assert [item["sip_call_id"] for item in found] == ["c3", "c2"]
    assert {item["customer"] for item in found} == {"acme"}
    source = found[0]["source"]
    for more, count in (
        ({"state": "complete"}, 3),
        ({"state": "recording"}, 0),
        ({"party": "+49 30 100"}, 0),
        ({"source": source, "hold": False}, 3),
        ({"direction": "inbound"}, 0),
        ({"hold": True}, 0),
    ):
        assert len(await find(customer, {**asked, **more}, 100)) == count, more
