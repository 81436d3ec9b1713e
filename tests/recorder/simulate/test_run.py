import asyncio
from pathlib import Path

import pytest

from recorder.simulate import Plan, PlanError, Report, run
from tests.in_process.recorder_double import RecorderDouble
from tests.recorder.timing import steady


def placed(double: RecorderDouble, *, transport: str = "udp", **wish: object) -> tuple[Report, list[bytes]]:
    """Run a plan against a recorder; give the report and the packets that came."""

    async def story() -> tuple[Report, list[bytes]]:
        await double.start()
        fields = {"calls": 1, "seconds": 0.5, "srtp": "none", "setup_timeout": 30, "rate": 1000} | wish
        report = await run(Plan(f"sip:rec@127.0.0.1:{double.port};transport={transport}", **fields))  # type: ignore[arg-type]  # wishes of one kind each
        packets = double.packets()
        await double.stop()
        return report, packets

    return asyncio.run(story())


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_simulated_call_follows_its_plan(transport: str) -> None:
    def attempt(_: int) -> int:
        double = RecorderDouble()
        report, packets = placed(double, transport=transport)
        assert report.exit_status == 0 and report.calls[0].well
        assert double.methods() == ["1 OPTIONS", "1 INVITE", "1 ACK", "2 BYE"]
        media = [p for p in packets if not 200 <= p[1] <= 204]
        assert len(media) == report.frames
        return report.frames

    half_a_second = range(48, 55)
    assert steady(attempt, half_a_second.__contains__) in half_a_second


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
    assert steady(attempt, pause.__contains__) in pause


def test_a_refusal_is_reported_with_its_status_and_acknowledged() -> None:
    double = RecorderDouble(status=503)
    report, packets = placed(double, calls=2)
    assert report.exit_status == 1 and report.refusals() == {"503 No": 2} and not packets
    assert len({r.call_id for r in double.requests if r.method == "ACK"}) == 2


def test_a_recorder_that_hangs_up_ends_the_call() -> None:
    double = RecorderDouble(hangs_up=True)
    report, _ = placed(double, seconds=30)
    assert report.exit_status == 1 and report.calls[0].ended_by_recorder
    assert [r.status for r in double.responses] == [200]


def test_an_answer_against_the_rules_is_a_fault() -> None:
    report, _ = placed(RecorderDouble(echo_labels=False))
    assert report.exit_status == 1 and any("a=label" in fault for fault in report.calls[0].faults)


def test_a_200_that_comes_again_is_acknowledged_again() -> None:
    double = RecorderDouble(repeats=2, hangs_up=True)
    report, _ = placed(double, seconds=30)
    assert report.calls[0].ended_by_recorder and [r.method for r in double.requests].count("ACK") == 3


def test_suites_take_turns_and_nothing_goes_out_in_the_clear() -> None:
    report, packets = placed(RecorderDouble(), srtp="all", calls=4)
    assert len({call.streams[0].suite for call in report.calls}) == 4
    assert {len(p) for p in packets if not 200 <= p[1] <= 204} <= {172 + 10, 172 + 4, 172 + 16}


def test_a_run_without_peer_exits_with_3() -> None:
    report = asyncio.run(run(Plan("sip:rec@127.0.0.1:9")))
    assert report.exit_status == 3 and "Nobody answers" in (report.unreachable or "")


def test_a_plan_that_cannot_be_is_refused_first() -> None:
    with pytest.raises(PlanError):
        asyncio.run(run(Plan("sip:rec@127.0.0.1", calls=0)))


def test_sent_audio_is_saved_and_progress_ends_at_one(tmp_path: Path) -> None:
    shares: list[float] = []

    async def story() -> None:
        double = RecorderDouble()
        await double.start()
        to = f"sip:rec@127.0.0.1:{double.port}"
        report = await run(Plan(to, seconds=0.5, srtp="none", codec="g722", audio=tmp_path), shares.append)
        assert len(report.calls[0].streams[0].samples()) == report.calls[0].streams[0].frames * 320
        await double.stop()

    asyncio.run(story())
    assert len(list(tmp_path.glob("*.wav"))) == 2 and shares[-1] == 1.0 and shares == sorted(shares)
