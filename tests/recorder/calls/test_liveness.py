"""Calls that nothing is heard of: asked about, and ended only if the client says that they do not exist."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from recorder.calls.live_call import LiveCall
from recorder.calls.liveness import MOST_AT_ONCE, Liveness
from recorder.session import events as e
from recorder.workers import messages
from sip.message.message import Request, parse
from sip.ua.events import Probed
from tests.in_process.offers import sdp
from tests.in_process.recorder_node import CONFIG, FLOW, Stage, sip_request, stage
from tests.recorder.calls.test_resume import leave, resume

LIMIT = 300
HELD = 1800
TEXT = CONFIG.replace("max_calls = 5", f"max_calls = 500\nsilent_seconds = {LIMIT}\nheld_seconds = {HELD}")


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
    one.node.endpoint.receive_datagram(data, FLOW, time.monotonic())
    one.flush()
    await one.until(lambda: "silence" not in one.node.tasks.names())


def look(one: Stage) -> list[Request]:
    """Look once; give what was asked by that."""
    before = len(asked(one))
    one.signalling.liveness.look()
    return asked(one)[before:]


@pytest.mark.parametrize(("status", "questions"), [(481, 1), (408, 2)])
def test_a_silent_call_that_its_client_does_not_know_ends_whole(tmp_path: Path, status: int, questions: int) -> None:
    async def story() -> None:
        async with stage(tmp_path, TEXT) as one:
            call = one.invite()
            assert look(one) == []
            for _ in range(questions):
                silent(call)
                (question,) = look(one)
                assert look(one) == []
                assert call.recording.alive
                await answer(one, question, status)
            assert not call.recording.alive
            await one.until(lambda: not len(one.live))
            assert (call.recording.shown_state(), call.recording.reason) == ("complete", "dialog-gone")
            listed = [(i["kind"], i["status"]) for i in one.node.incidents.of("acme")]
            assert listed == [("client-gone", status)]

    asyncio.run(story())


@pytest.mark.parametrize("status", [200, 405, 403, 500, 503])
def test_a_client_that_answers_a_probe_otherwise_keeps_its_call(tmp_path: Path, status: int) -> None:
    async def story() -> None:
        async with stage(tmp_path, TEXT) as one:
            call = one.invite()
            silent(call)
            (question,) = look(one)
            await answer(one, question, status)
            assert call.recording.alive
            assert look(one) == []
            silent(call)
            assert len(look(one)) == 1

    asyncio.run(story())


def test_an_answer_in_between_makes_the_next_question_the_first(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path, TEXT) as one:
            call = one.invite()
            for status in (408, 200, 408):
                silent(call)
                (question,) = look(one)
                await answer(one, question, status)
            assert call.recording.alive

    asyncio.run(story())


def test_a_call_with_new_media_continues_despite_a_481(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path, TEXT) as one:
            call = one.invite()
            silent(call)
            (question,) = look(one)
            call.heard = time.monotonic()
            await answer(one, question, 481)
            assert call.recording.alive

    asyncio.run(story())


def test_audio_that_came_behind_the_last_count_keeps_a_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with stage(tmp_path, TEXT) as one:
            call = one.invite()

            async def snapshot(_: str) -> messages.Figures:
                zero = dict.fromkeys("packets late duplicates rejected".split(), 0)
                return messages.Figures(call.id, 1, ({**zero, "stream": 0}, {**zero, "stream": 1, "packets": 1}))

            silent(call)
            (question,) = look(one)
            monkeypatch.setattr(one.node.workers, "snapshot", snapshot)
            await answer(one, question, 481)
            assert call.recording.alive

    asyncio.run(story())


def test_streams_on_hold_are_not_silent_one_that_is_not_is(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path, TEXT) as one:
            call = one.invite()
            for number, (lines, count) in enumerate(
                [(("inactive", "inactive"), 0), (("inactive", "sendonly"), 1)], start=2
            ):
                offer = sdp(*lines, version=number)
                one.hear(sip_request("INVITE", "c1", number, offer, to=one.tag()))
                one.hear(sip_request("ACK", "c1", number, to=one.tag()))
                silent(call)
                assert len(look(one)) == count

    asyncio.run(story())


def hold(one: Stage, call: LiveCall) -> None:
    """Have the client hold every stream."""
    one.hear(sip_request("INVITE", "c1", 2, sdp("inactive", "inactive", version=2), to=one.tag()))
    one.hear(sip_request("ACK", "c1", 2, to=one.tag()))
    assert all(stream.held for stream in call.recording.streams)


def pause(one: Stage, call: LiveCall) -> None:
    """Have an administrator pause the call."""
    one.executor.guarded(call, e.PauseAsked())
    assert call.recording.paused


@pytest.mark.parametrize("stop", [hold, pause])
@pytest.mark.parametrize(("status", "questions"), [(481, 1), (408, 2)])
def test_a_held_or_paused_call_is_probed_later(
    tmp_path: Path, stop: Callable[[Stage, LiveCall], None], status: int, questions: int
) -> None:
    async def story() -> None:
        async with stage(tmp_path, TEXT) as one:
            call = one.invite()
            stop(one, call)
            for _ in range(questions):
                silent(call, HELD - 60)
                assert look(one) == []
                silent(call, HELD + 1)
                (question,) = look(one)
                assert call.recording.alive
                await answer(one, question, status)
            await one.until(lambda: not len(one.live))
            assert (call.recording.shown_state(), call.recording.reason) == ("complete", "dialog-gone")

    asyncio.run(story())


def test_a_call_on_hold_is_asked_about_after_a_restart_too(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path, TEXT) as one:
            call = one.invite()
            hold(one, call)
            leave(one, call)
            resume(one)
            (again,) = one.live
            await one.until(lambda: again.started)
            assert look(one) == []
            for _ in range(2):
                silent(again, HELD + 1)
                (question,) = look(one)
                await answer(one, question, 408)
            await one.until(lambda: not len(one.live))

    asyncio.run(story())


def test_a_call_on_hold_whose_client_answers_goes_on(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path, TEXT) as one:
            call = one.invite()
            hold(one, call)
            for _ in range(3):
                silent(call, HELD + 1)
                (question,) = look(one)
                await answer(one, question, 200)
            assert call.recording.alive

    asyncio.run(story())


def test_a_request_in_the_dialog_keeps_a_call_alive(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path, TEXT) as one:
            call = one.invite()
            offer = sdp("sendonly", "sendonly", version=2)
            for number, (method, body) in enumerate([("INFO", b""), ("UPDATE", b""), ("UPDATE", offer)], start=2):
                silent(call)
                one.hear(sip_request(method, "c1", number, body, to=one.tag()))
                assert look(one) == [], method
            silent(call)
            (question,) = look(one)
            one.hear(sip_request("UPDATE", "c1", 9, to=one.tag()))
            await answer(one, question, 481)
            assert call.recording.alive

    asyncio.run(story())


def test_a_call_held_while_its_client_was_asked_does_not_end(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path, TEXT) as one:
            call = one.invite()
            silent(call)
            (question,) = look(one)
            one.hear(sip_request("INVITE", "c1", 2, sdp("inactive", "inactive", version=2), to=one.tag()))
            await answer(one, question, 481)
            assert call.recording.alive

    asyncio.run(story())


def test_no_client_is_probed_if_probing_is_off(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path, TEXT.replace(str(LIMIT), "0")) as one:
            call = one.invite()
            silent(call, HELD + 1)
            assert look(one) == []
            pause(one, call)
            assert len(look(one)) == 1
        async with stage(tmp_path, TEXT.replace(str(HELD), "0")) as one:
            call = one.invite()
            pause(one, call)
            silent(call, 10 * HELD)
            assert look(one) == []

    asyncio.run(story())


def test_every_count_but_foreign_packets_keeps_a_call_alive(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path, TEXT) as one:
            call = one.invite()
            zero = messages.Counts(*[0] * len(messages.Counts._fields))
            for name, heard in (("foreign", False), *((each, True) for each in "packets rejected late gap_ms".split())):
                silent(call)
                before = call.heard
                one.workers.on_event(messages.Stats({call.id: (zero._replace(**{name: 7}),)}))
                assert (call.heard > before) is heard
                call.recording.streams[0].figures = {}

    asyncio.run(story())


def test_a_thousand_silent_calls_are_asked_about_in_turn(tmp_path: Path) -> None:
    class Quiet:
        """An endpoint that counts."""

        asked = 0

        def probe(self, *_: object) -> bool:
            self.asked += 1
            return True

    async def story() -> None:
        async with stage(tmp_path, TEXT) as one:
            call = one.invite()
            silent(call)
            silence, endpoint = Liveness(one.node, [call] * 1000, one.executor), one.node.endpoint  # type: ignore[arg-type]  # a list is walked the same way
            one.node.endpoint = quiet = Quiet()  # type: ignore[assignment]  # counts only
            one.node.flush = lambda: None
            many = [LiveCall(call.recording, call.customer, 0, call.session) for _ in range(3 * MOST_AT_ONCE)]
            for each in many:
                silent(each)
            silence._live = many  # type: ignore[assignment]  # as above
            silence.look()
            assert quiet.asked == MOST_AT_ONCE
            silence.look()
            assert quiet.asked == 2 * MOST_AT_ONCE
            assert sum(each.probed > each.heard for each in many) == 2 * MOST_AT_ONCE
            one.node.endpoint, one.node.flush = endpoint, one.flush

    asyncio.run(story())


def test_an_answer_about_a_call_that_is_over_is_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path, TEXT) as one:
            call = one.invite()
            one.bye()
            await one.until(lambda: not len(one.live))
            one.signalling.liveness.answered(Probed(call.session, 481))
            assert one.faults == []

    asyncio.run(story())
