from dataclasses import replace

import pytest

from recorder.simulate.plan import SUITES, Party, Plan, PlanError

PLAN = Plan("sip:rec@192.0.2.1:5070;transport=tcp")


def test_the_uri_says_how_to_reach_the_recorder() -> None:
    PLAN.check()
    assert (PLAN.carrier, PLAN.port) == ("tcp", 5070)
    assert (Plan("sip:192.0.2.1").carrier, Plan("sip:192.0.2.1").port) == ("udp", 5060)
    assert (Plan("sips:192.0.2.1").carrier, Plan("sips:192.0.2.1").port) == ("tls", 5061)
    assert Plan("sip:192.0.2.1;transport=tls", transport="udp").carrier == "udp"


@pytest.mark.parametrize(
    "wish",
    [
        {"to": "rec.example"}, {"to": "tel:+4930"}, {"to": "sip:"}, {"srtp": "NULL"}, {"transport": "sctp"},
        {"codec": "amr"}, {"calls": 0}, {"calls": 20_001}, {"seconds": 0}, {"seconds": float("nan")}, {"rate": 0},
        {"hold": 11}, {"streams": 9}, {"audio_kind": "noise"}, {"source": "here"},
    ],
)  # fmt: skip
def test_an_impossible_plan_is_refused_before_sending(wish: dict[str, object]) -> None:
    with pytest.raises(PlanError, match=r"\."):
        replace(PLAN, **wish).check()  # type: ignore[arg-type]  # any field


def test_calls_and_streams_take_turns_and_have_parties() -> None:
    every, anna = replace(PLAN, srtp="all"), Party("Anna", "sip:anna@x.example")
    assert [every.suite_of(i) for i in range(5)] == [*SUITES, next(iter(SUITES))]
    assert replace(PLAN, srtp="none").suite_of(0) is None
    assert [PLAN.codec_of(i) for i in range(3)] == ["PCMA", "PCMU", "PCMA"]
    assert PLAN.coded and not replace(PLAN, codec="opus").coded and not replace(PLAN, audio_kind="tone").coded
    first, second = (replace(PLAN, calls=2, parties=((anna,),)).parties_of(i) for i in range(2))
    assert first[0] == anna and len(first) == len(second) == 2
    assert len({party.aor for party in (*first, *second)}) == 4  # those that are not given are invented


def test_load_calls_are_sent_in_batches_and_video_names_its_codec() -> None:
    assert [Plan("sip:rec@127.0.0.1", calls=calls).batched for calls in (1, 49, 50)] == [False, False, True]
    plan = Plan("sip:rec@127.0.0.1", video=True, video_codec="h264")
    assert [plan.codec_of(line) for line in range(plan.lines)] == ["PCMA", "PCMU", "H264", "H264"]
    with pytest.raises(PlanError, match="vp8, h264"):
        Plan("sip:rec@127.0.0.1", video_codec="av1").check()
