import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from recorder.simulate.plan import Plan, PlanError
from recorder.simulate.report import Report
from recorder.simulate.run import run
from tests.in_process.recorder_double import RecorderDouble
from tests.recorder.timing import steady


def placed(
    double: RecorderDouble, *, transport: str = "udp", shares: list[float] | None = None, **wish: Any
) -> tuple[Report, list[bytes]]:
    """Run a plan against a recorder; give the report and the media packets that came."""

    async def story() -> tuple[Report, list[bytes]]:
        await double.start()
        fields: dict[str, Any] = {"calls": 1, "seconds": 0.5, "srtp": "none", "setup_timeout": 30, "rate": 1000} | wish
        plan = Plan(f"sip:rec@127.0.0.1:{double.port};transport={transport}", **fields)
        report = await run(plan, ([] if shares is None else shares).append)
        packets = await _media(double, report.frames)
        await double.stop()
        return report, packets

    return asyncio.run(story())


async def _media(double: RecorderDouble, count: int) -> list[bytes]:
    """Return the packets of RTP that came, once they are so many: a busy kernel delivers some later than they went."""
    packets, end = list[bytes](), time.monotonic() + 30
    while True:
        packets += [packet for packet in double.packets() if not 200 <= packet[1] <= 204]
        if len(packets) >= count or time.monotonic() > end:
            return packets
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_simulated_call_follows_its_plan(transport: str) -> None:
    def attempt(_: int) -> int:
        double = RecorderDouble()
        report, packets = placed(double, transport=transport)
        assert report.exit_status == 0 and report.calls[0].well
        assert double.methods() == ["1 OPTIONS", "1 INVITE", "1 ACK", "2 BYE"]
        assert len(packets) == report.frames
        return report.frames

    half_a_second = range(48, 55)
    assert steady(attempt, half_a_second.__contains__, 6) in half_a_second


def test_hold_and_update_are_requests_of_the_same_dialog() -> None:
    def attempt(_: int) -> int:
        double = RecorderDouble()
        report, _packets = placed(double, seconds=1.2, hold=0.4, update=True)
        methods = "INVITE ACK UPDATE INVITE ACK INVITE ACK BYE".split()
        assert [m.split()[1] for m in double.methods()[1:]] == methods
        assert len({r.call_id for r in double.requests if r.method != "OPTIONS"}) == 1
        (held,) = {r.body for r in double.requests if b"a=inactive" in r.body}
        assert b"<datamode>partial</datamode>" in held
        before, *after = report.calls[0].streams[0].sent
        return after[0][0] - before[1] if after else 0

    pause = range(15, 41)
    assert steady(attempt, pause.__contains__, 6) in pause


def test_what_goes_wrong_is_in_the_report() -> None:
    refusing, ending = RecorderDouble(status=503, drops=1), RecorderDouble(repeats=2, hangs_up=True)
    report, packets = placed(refusing, calls=2)
    assert report.exit_status == 1 and report.refusals() == {"503 No": 2} and not packets
    invites = [r.via.branch for r in refusing.requests if r.method == "INVITE"]
    assert len(set(invites)) == 2 < len(invites)  # over UDP an unanswered one is sent again
    assert len({r.call_id for r in refusing.requests if r.method == "ACK"}) == 2
    report, _ = placed(ending, seconds=30)
    assert report.exit_status == 1 and report.calls[0].ended_by_recorder
    assert [r.status for r in ending.responses] == [200]
    assert [r.method for r in ending.requests].count("ACK") == 3  # a 200 that comes again is acknowledged again
    report, _ = placed(RecorderDouble(echo_labels=False))
    assert report.exit_status == 1 and any("a=label" in fault for fault in report.calls[0].faults)
    report, _ = placed(RecorderDouble(drops=99), setup_timeout=0.7)
    assert report.calls[0].reason == "nobody answered"
    report = asyncio.run(run(Plan("sip:rec@127.0.0.1:9")))
    assert report.exit_status == 3 and "Nobody answers" in (report.unreachable or "")
    with pytest.raises(PlanError):
        asyncio.run(run(Plan("sip:rec@127.0.0.1", calls=0)))


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_503_or_no_answer_sends_a_call_to_the_next_recorder(transport: str) -> None:
    first, full, last = RecorderDouble(), RecorderDouble(status=503), RecorderDouble()
    refusing = RecorderDouble(status=488)

    async def story() -> list[Report]:
        for each in (first, full, last, refusing):
            await each.start()
        await first.stop()  # nobody is there

        async def called(*doubles: RecorderDouble) -> Report:
            to, *others = (f"sip:rec@127.0.0.1:{each.port};transport={transport}" for each in doubles)
            return await run(Plan(to, calls=2, seconds=0.2, srtp="none", others=tuple(others)))

        try:
            return [await called(*each) for each in ((first, full, last), (refusing, last), (first, full), (first,))]
        finally:
            for each in (full, last, refusing):
                await each.stop()

    taken, refused, nowhere, nobody = asyncio.run(story())
    assert taken.exit_status == 0 and {call.to for call in taken.calls} == {taken.as_dict()["each"][0]["to"]}
    assert str(last.port) in taken.calls[0].to and taken.facts()["calls"] == "2 of 2 answered, 2 as planned"
    assert [len({r.call_id for r in each.requests if r.method == "INVITE"}) for each in (full, last)] == [4, 2]
    assert refused.refusals() == {"488 No": 2}  # whatever is no 503 is an answer
    assert (nowhere.exit_status, nowhere.refusals()) == (1, {"503 No": 2})
    assert nobody.exit_status == 3


def test_a_200_after_the_call_went_elsewhere_gets_ack_and_bye(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recorder.simulate.call._NEXT", 0.3)
    slow, quick = RecorderDouble(late=0.6, repeats=1), RecorderDouble()

    async def story() -> Report:
        await slow.start()
        await quick.start()
        to, other = (f"sip:rec@127.0.0.1:{each.port}" for each in (slow, quick))
        report = await run(Plan(to, seconds=3, srtp="none", others=(other,)))
        await slow.stop()
        await quick.stop()
        return report

    report = asyncio.run(story())
    assert report.exit_status == 0 and str(quick.port) in report.calls[0].to
    assert slow.methods() == ["1 OPTIONS", "1 INVITE", "1 ACK", "2 BYE"]
    assert [r.method for r in slow.requests].count("ACK") > 1  # of the 200 that came again too
    assert len({r.call_id for r in (*slow.requests, *quick.requests) if r.method == "INVITE"}) == 2


def test_suites_take_turns_and_nothing_goes_out_in_the_clear() -> None:
    report, packets = placed(RecorderDouble(), srtp="all", calls=4)
    assert len({call.streams[0].suite for call in report.calls}) == 4
    assert {len(p) for p in packets} <= {172 + 10, 172 + 4, 172 + 16}


def test_sent_audio_is_saved_and_progress_ends_at_one(tmp_path: Path) -> None:
    shares: list[float] = []
    report, _ = placed(RecorderDouble(), codec="g722", audio=tmp_path, shares=shares)
    (stream, *_) = report.calls[0].streams
    assert len(stream.samples()) == stream.frames * 320
    assert len(list(tmp_path.glob("*.wav"))) == 2 and shares[-1] == 1.0 and shares == sorted(shares)
