"""Calls that nothing is heard of: asked about, and ended only if the client says that they do not exist."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recorder.calls.live_call import LiveCall
from recorder.calls.liveness import MOST_AT_ONCE, Liveness
from recorder.session import events as e
from recorder.workers import messages
from sip.message.message import Request, parse
from sip.ua.events import Probed
from tests.in_process.offers import sdp
from tests.in_process.recorder_node import CONFIG, FLOW, Stage, sip_request, stage
from tests.recorder.calls.client import reinvite

LIMIT = 300
HELD = 1800
TEXT = CONFIG.replace("max_calls = 5", f"max_calls = 500\nsilent_seconds = {LIMIT}\nheld_seconds = {HELD}")


@pytest.fixture
def config() -> str:
    return TEXT


def silent(call: LiveCall, seconds: float = LIMIT + 1) -> None:
    """Let time pass in which nothing was heard."""
    call.heard = call.probed = time.monotonic() - seconds


def asked(one: Stage) -> list[Request]:
    """What the client was asked so far."""
    return [m for m in map(parse, one.said) if isinstance(m, Request) and m.method in ("OPTIONS", "UPDATE")]


async def answer(one: Stage, question: Request, status: int) -> None:
    """Let the client answer, and wait for what follows from it."""
    names = ("Via", "From", "To", "Call-ID", "CSeq")
    head = [f"SIP/2.0 {status} Whatever", *(f"{n}: {v}" for n in names for v in question.headers.all(n))]
    data = "\r\n".join([*head, "Content-Length: 0", "", ""]).encode()
    one.resources.endpoint.receive_datagram(data, FLOW, time.monotonic())
    one.flush()
    await one.until(lambda: "silence" not in one.node.tasks.names())


def look(one: Stage) -> list[Request]:
    """Look once; give what was asked by that."""
    before = len(asked(one))
    one.signalling.liveness.look()
    return asked(one)[before:]


async def probed(one: Stage, call: LiveCall, status: int, seconds: float = LIMIT + 1) -> None:
    """Let time pass, see one question and answer it."""
    silent(call, seconds)
    (question,) = look(one)
    assert look(one) == [] and call.recording.alive
    await answer(one, question, status)


def turn(one: Stage, number: int, *directions: str) -> None:
    """Have the client offer again."""
    reinvite(one, number, sdp(*directions, version=number))


def hold(one: Stage, call: LiveCall) -> None:
    """Have the client hold every stream."""
    turn(one, 2, "inactive", "inactive")


def pause(one: Stage, call: LiveCall) -> None:
    """Have an administrator pause the call."""
    one.executor.guarded(call, e.PauseAsked())


@pytest.mark.parametrize("stop", [None, hold, pause])
@pytest.mark.parametrize(("status", "questions"), [(481, 1), (408, 2)])
async def test_a_silent_call_that_its_client_does_not_know_ends(
    one: Stage, stop: Callable[[Stage, LiveCall], None] | None, status: int, questions: int
) -> None:
    """On hold and in a pause it is asked about later."""
    call, limit = one.invite(), HELD if stop else LIMIT
    if stop:
        stop(one, call)
    for _ in range(questions):
        silent(call, limit - 60)
        assert look(one) == []
        await probed(one, call, status, limit + 1)
    assert not call.recording.alive
    await one.until(lambda: not len(one.live))
    assert (call.recording.shown_state(), call.recording.reason) == ("complete", "dialog-gone")
    assert [(i["kind"], i["status"]) for i in one.node.incidents.of("acme")] == [("client-gone", status)]
    one.signalling.liveness.answered(Probed(call.session, 481))  # about a call that is over
    assert one.faults == []


async def test_a_client_that_answers_a_probe_keeps_its_call(one: Stage) -> None:
    call = one.invite()
    for status in (408, 200, 405, 403, 500, 503, 408):  # an answer in between makes the next question the first
        await probed(one, call, status)
    assert call.recording.alive
    hold(one, call)
    for status in (200, 408, 200):
        await probed(one, call, status, HELD + 1)
    assert call.recording.alive


async def test_what_comes_before_the_answer_to_a_probe_keeps_a_call(
    one: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = one.invite()
    silent(call)
    (question,) = look(one)
    call.heard = time.monotonic()  # media that were counted
    await answer(one, question, 481)
    silent(call)
    (question,) = look(one)
    one.hear(sip_request("UPDATE", "c1", 2, to=one.tag()))
    await answer(one, question, 481)
    assert call.recording.alive

    async def snapshot(_: str) -> messages.Figures:
        zero = dict.fromkeys("packets late duplicates rejected".split(), 0)
        streams: Any = ({**zero, "stream": 0}, {**zero, "stream": 1, "packets": 1})
        return messages.Figures(call.id, 1, streams)

    silent(call)
    (question,) = look(one)
    with monkeypatch.context() as patch:
        patch.setattr(one.resources.workers, "snapshot", snapshot)  # media that no count has yet
        await answer(one, question, 481)
    silent(call)
    (question,) = look(one)
    turn(one, 3, "inactive", "inactive")
    await answer(one, question, 481)
    assert call.recording.alive


async def test_a_stream_that_is_not_on_hold_is_silent(one: Stage) -> None:
    call = one.invite()
    for number, (other, count) in enumerate([("inactive", 0), ("sendonly", 1)], start=2):
        turn(one, number, "inactive", other)
        silent(call)
        assert len(look(one)) == count


async def test_a_request_in_the_dialog_keeps_a_call_alive(one: Stage) -> None:
    call = one.invite()
    offer = sdp("sendonly", "sendonly", version=2)
    for number, (method, body) in enumerate([("INFO", b""), ("UPDATE", b""), ("UPDATE", offer)], start=2):
        silent(call)
        one.hear(sip_request(method, "c1", number, body, to=one.tag()))
        assert look(one) == [], method


@pytest.mark.parametrize(
    ("off", "questions"), [pytest.param(LIMIT, [0, 1], id="when silent"), pytest.param(HELD, [1, 0], id="when held")]
)
async def test_no_client_is_probed_if_probing_is_off(tmp_path: Path, off: int, questions: list[int]) -> None:
    async with stage(tmp_path, TEXT.replace(str(off), "0")) as one:
        call, asked = one.invite(), []
        for stop in (lambda *_: None, pause):
            stop(one, call)
            silent(call, 10 * HELD)
            asked.append(len(look(one)))
        assert asked == questions


async def test_every_count_but_foreign_packets_keeps_a_call_alive(one: Stage) -> None:
    call = one.invite()
    zero = messages.Counts(*[0] * len(messages.Counts._fields))
    for name, heard in (("foreign", False), *((each, True) for each in "packets rejected late gap_ms".split())):
        silent(call)
        before = call.heard
        one.workers.on_event(messages.Stats({call.id: (zero._replace(**{name: 7}),)}))
        assert (call.heard > before) is heard
        call.recording.streams[0].figures = {}


async def test_many_silent_calls_are_asked_about_in_turn(one: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    call, probes = one.invite(), list[object]()
    monkeypatch.setattr(one.resources.endpoint, "probe", lambda *given: not probes.append(given))
    many = [LiveCall(call.recording, call.customer, 0, call.session) for _ in range(3 * MOST_AT_ONCE)]
    for each in many:
        silent(each)
    registry: Any = many  # a list is walked as the registry is
    liveness = Liveness(one.node, one.resources.endpoint, one.resources.workers, registry, one.executor)
    for rounds in (1, 2):
        liveness.look()
        assert len(probes) == sum(each.probed > each.heard for each in many) == rounds * MOST_AT_ONCE
