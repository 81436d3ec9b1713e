"""Any order of what a peer, a user and the clock can do to dialogs: the endpoint answers as the model says, at the
same instant, and keeps nothing once all is over (duties S1 to S4, S8 to S12, S26, S27, S34).
"""

from __future__ import annotations

import json
from itertools import count
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from sip.message.header_values import Flow
from sip.message.message import Request, Response, parse
from sip.ua.events import Dropped, Invited, Numbered, Refused, Send
from tests.sip.dialog_model import INTERVAL, LIFE, RINGING, Model
from tests.sip.memory_client import ANSWER, OFFER, OURS, THEIRS, UDP, Noise, Story, multipart

TCP = Flow("tcp", OURS, ("192.0.2.1", 40001), 1)
START = 1000.0
LONGEST = 3 * INTERVAL + 5 * LIFE + RINGING  # after it nothing of a dialog may be left
METHODS = ("INVITE", "INVITE", "UPDATE", "UPDATE", "BYE", "PRACK", "INFO", "OPTIONS", "INVITE")
WHICH = st.integers(0, 4)
STEPS = (0.25, 0.75, 2.0, 5.25, 9.0, 31.75, 33.0, 46.0, 181.0)


class EvenNoise(Noise):
    """Where one byte of chance is asked for, its middle: waits are half as long as they can be."""

    def __call__(self, size: int) -> bytes:
        return b"\x80" if size == 1 else super().__call__(size)


class Call:
    """One peer's side of a dialog."""

    def __init__(self, machine: Dialogs, number: int, *, timer: str, update: bool, offer: bool) -> None:
        self.number = number
        self.story = Story(machine.flow)
        self.story.endpoint, self.story.branches = machine.story.endpoint, machine.branches
        self.story.call_id, self.story.sender = f"call-{number}", f"<sip:sbc@192.0.2.1>;tag=c{number}"
        self.lines = [f"Supported: timer\r\nSession-Expires: {INTERVAL:.0f};refresher={timer}"] if timer else []
        self.lines.append("Allow: INVITE, ACK, BYE" + (", UPDATE" if update else ""))
        self.sent: dict[str, tuple[str, int, bytes]] = {}
        self.ours: list[Request] = []
        self.ways: dict[int, int] = {}  # the connection on which each of them went out
        self.cancels: list[Request] = []
        self.given: list[tuple[int, int, bytes]] = []
        self.session: Any = None
        self.token: Any = None
        branch, self.first = self.write("INVITE", offer=offer)
        now, reliable = machine.story.now - START, bool(machine.flow.connection)
        self.model = Model(now, branch, 1, offered=offer, reliable=reliable, timer=timer, update=update)

    def write(self, method: str, *, offer: bool = False) -> tuple[str, bytes]:
        """Write a request of the peer and remember it by its branch."""
        branch = f"z9hG4bK-{next(self.story.branches)}"
        lines = [*self.lines, "Require: siprec"] if method == "INVITE" else self.lines if method == "UPDATE" else []
        body, kind = multipart(offer=OFFER if offer else None) if method in ("INVITE", "UPDATE") else (b"", "")
        data = self.story.request(method, *lines, body=body, kind=kind, branch=branch)
        self.sent[branch] = (method, self.story.cseq, data)
        return branch, data


class Dialogs(RuleBasedStateMachine):
    """Some calls at one endpoint."""

    @initialize(flow=st.sampled_from([UDP, TCP]))
    def begin(self, flow: Flow) -> None:
        self.flow, self.branches = flow, count(1)
        self.noise = EvenNoise()
        self.story = Story(flow, random=self.noise)
        self.all: list[Call] = []
        self.answers: dict[tuple[str, str], bytes] = {}
        self.heard: list[tuple[float, int, str]] = []
        self.told: list[tuple[int, str]] = []
        self.greet()
        self.story.endpoint.data_to_send()

    # The peer speaks.

    @precondition(lambda self: len(self.live()) < 2)
    @rule(
        timer=st.sampled_from(["", "uac", "uas"]),
        update=st.booleans(),
        offer=st.sampled_from((True, True, False)),
        further=st.sampled_from((0, 1, 2, 2, 2, 2)),
    )
    def invite(self, timer: str, update: bool, offer: bool, further: int) -> None:
        """Place a call, as far as the question, the 200 or its ACK."""
        call = Call(self, len(self.all), timer=timer, update=update, offer=offer)
        self.all.append(call)
        self.say(call.first)
        if further:
            self.decide(0, True, call=call)
        if further > 1:
            self.ack_the_newest(0, call=call)

    def live(self) -> list[Call]:
        """The calls that are not over."""
        return [call for call in self.all if call.model.stage != "over"]

    def pick(self, which: int) -> Call:
        """One of the calls, mostly a live one."""
        order = self.live() if which < 4 else []
        return (order or self.all)[which % len(order or self.all)]

    @precondition(lambda self: self.all)
    @rule(which=WHICH, method=st.sampled_from(METHODS), offer=st.sampled_from((True, True, False)))
    def request(self, which: int, method: str, offer: bool) -> None:
        call = self.pick(which)
        if "tag=" not in call.story.to:
            return
        offer = offer and method in ("INVITE", "UPDATE")
        branch, data = call.write(method, offer=offer)
        call.model.received(branch, method, call.story.cseq, offer=offer)
        self.say(data)

    @precondition(lambda self: self.all)
    @rule(which=WHICH, data=st.data())
    def repeat_a_request(self, which: int, data: st.DataObject) -> None:
        call = self.pick(which)
        if known := sorted(set(call.sent) & set(call.model.served)):
            branch = data.draw(st.sampled_from(known))
            call.model.repeated(branch)
            self.say(call.sent[branch][2])

    @precondition(lambda self: self.all)
    @rule(which=WHICH, data=st.data())
    def cancel(self, which: int, data: st.DataObject) -> None:
        call = self.pick(which)
        invites = [(branch, one) for branch, one in call.sent.items() if one[0] == "INVITE"]
        branch, (_, cseq, _) = data.draw(st.sampled_from(invites))
        call.model.cancelled(branch, cseq)
        self.say(call.story.request("CANCEL", branch=branch, cseq=cseq))

    @precondition(lambda self: self.all)
    @rule(which=WHICH, data=st.data())
    def ack(self, which: int, data: st.DataObject) -> None:
        call = self.pick(which)
        numbers = [cseq for method, cseq, _ in call.sent.values() if method == "INVITE"]
        cseq = data.draw(st.sampled_from(numbers))
        call.model.ack(cseq)
        self.say(call.story.request("ACK", cseq=cseq, body=ANSWER, kind="application/sdp"))

    @precondition(lambda self: self.all)
    @rule(which=WHICH)
    def ack_the_newest(self, which: int, call: Call | None = None) -> None:
        call = call or self.pick(which)
        if call.model.unacked >= 0:
            cseq = call.model.unacked
            call.model.ack(cseq)
            self.say(call.story.request("ACK", cseq=cseq, body=ANSWER, kind="application/sdp"))

    @precondition(lambda self: self.all)
    @rule(which=WHICH, data=st.data())
    def ack_a_refusal(self, which: int, data: st.DataObject) -> None:
        call = self.pick(which)
        served = call.model.served
        refused = sorted(
            b for b, one in served.items() if one.method == "INVITE" and one.last[:1] in "3456" and one.last
        )
        if refused:
            branch = data.draw(st.sampled_from(refused))
            call.model.acknowledged(branch)
            self.say(call.story.request("ACK", branch=branch, cseq=served[branch].cseq))

    @precondition(lambda self: self.all)
    @rule(
        which=WHICH,
        data=st.data(),
        status=st.sampled_from([100, 200, 200, 405, 408, 481, 488, 491]),
        timer=st.sampled_from([True, True, False]),
    )
    def answer(self, which: int, data: st.DataObject, status: int, timer: bool) -> None:
        call = self.pick(which)
        waiting = [one for one in call.ours if one.cseq.number in call.model.open]
        waiting = [one for one in waiting if status >= 200 or one.method == "INVITE"]
        if not waiting:
            return
        request = data.draw(st.sampled_from(waiting))
        body = ANSWER if request.method == "INVITE" and status == 200 else b""
        lines = ["Contact: <sip:sbc@192.0.2.1:5070>"]
        timer = timer and status == 200 and bool(call.model.timer)
        if timer:
            refresher = "uac" if call.model.timer == "uas" else "uas"
            lines.append(f"Session-Expires: {INTERVAL:.0f};refresher={refresher}")
        text = call.story.reply(request, status, *lines, body=body)
        call.given.append((request.cseq.number, status, text))
        call.model.answered(request.cseq.number, status, timer=timer)
        self.say(text)

    @precondition(lambda self: self.all)
    @rule(which=WHICH, data=st.data())
    def answer_a_cancel(self, which: int, data: st.DataObject) -> None:
        call = self.pick(which)
        if call.cancels:
            request = data.draw(st.sampled_from(call.cancels))
            call.model.cancel_answered(request.cseq.number)
            self.say(call.story.reply(request, 200))

    @precondition(lambda self: self.all)
    @rule(which=WHICH, data=st.data())
    def answer_again(self, which: int, data: st.DataObject) -> None:
        call = self.pick(which)
        if call.given:
            number, status, text = data.draw(st.sampled_from(call.given))
            if status >= 200:
                call.model.answered(number, status)
                self.say(text)

    # The user decides.

    @precondition(lambda self: self.all)
    @rule(which=WHICH, yes=st.sampled_from((True, True, False)))
    def decide(self, which: int, yes: bool, call: Call | None = None) -> None:
        call = call or self.pick(which)
        if call.token is None:
            return
        token, open_ = call.token, bool(call.model.question)
        call.token = None
        if not open_:
            done = self.story.endpoint.accept(token, ANSWER, self.story.now)
        elif call.model.stage == "leaving":
            call.model.confirmed()
            done = self.story.endpoint.confirm(token, self.story.now)
        elif yes:
            call.model.accepted()
            done = self.story.endpoint.accept(token, ANSWER, self.story.now)
        else:
            call.model.declined(488)
            done = self.story.endpoint.refuse(token, 488, self.story.now)
        assert done is open_
        self.compare()

    @precondition(lambda self: self.all)
    @rule(which=WHICH)
    def hang_up(self, which: int, call: Call | None = None) -> None:
        call = call or self.pick(which)
        if call.session:
            call.model.hung_up()
            self.story.endpoint.hang_up(call.session, "over", self.story.now)
            self.compare()

    @precondition(lambda self: self.all)
    @rule(which=WHICH)
    def reoffer(self, which: int) -> None:
        call = self.pick(which)
        if call.session:
            call.model.reoffered()
            self.story.endpoint.reoffer(call.session, ANSWER, self.story.now)
            self.compare()

    # The network fails.

    @precondition(lambda self: self.flow.connection)
    @rule()
    def reconnect(self) -> None:
        """The connection breaks and the peer makes another; dialogs live on."""
        old, number = self.flow, self.flow.connection
        self.flow = Flow("tcp", OURS, (old.remote[0], old.remote[1] + 1), number + 1)
        self.story.endpoint.connection_lost(old, self.story.now)
        for call in self.all:
            call.model.rerouted([cseq for cseq, way in call.ways.items() if way == number])
        self.greet()
        self.compare()

    def greet(self) -> None:
        """Open the connection; one that is silent is closed."""
        if self.flow.connection:
            self.story.endpoint.connection_made(self.flow, self.story.now)
            self.story.endpoint.receive_stream(b"\r\n\r\n", self.flow, self.story.now)

    @precondition(lambda self: self.all and not self.flow.connection)
    @precondition(lambda self: all(call.model.is_quiet() for call in self.all))
    @rule()
    def restart(self) -> None:
        """A successor of the process takes up the dialogs."""
        before, after = self.story.endpoint, Story(random=self.noise).endpoint
        for key in before.sessions():
            after.restore(json.loads(json.dumps(before.export(key))), self.story.now)
        self.story.endpoint = after
        for call in self.all:
            call.story.endpoint, call.token = after, None
            call.model.restarted()
        self.compare()

    # Time passes.

    @precondition(lambda self: self.all)
    @rule(seconds=st.sampled_from(STEPS))
    def wait(self, seconds: float) -> None:
        self.let_pass(seconds)
        self.compare()

    def let_pass(self, seconds: float) -> None:
        end = self.story.now + seconds
        while (at := self.story.endpoint.next_timer()) is not None and at <= end:
            self.story.now = max(self.story.now, at)
            self.story.endpoint.handle_timer(self.story.now)
            self.listen()
        self.story.now = end
        for call in self.all:
            call.model.pass_until(end - START)

    # Both are compared.

    def say(self, data: bytes) -> None:
        endpoint = self.story.endpoint
        (endpoint.receive_stream if self.flow.connection else endpoint.receive_datagram)(
            data, self.flow, self.story.now
        )
        self.compare()

    def listen(self) -> None:
        """Take in what the endpoint sends and tells."""
        now = round(self.story.now - START, 6)
        for item in self.story.endpoint.data_to_send():
            assert isinstance(item, Send) and item.data, "an empty message goes to the peer"
            if item.data == b"\r\n":
                continue  # a pong
            message = parse(item.data)
            call = self.all[int((message.headers.get("Call-ID") or "")[5:])]
            text = f"{message.cseq.method} {message.cseq.number}"
            self.heard.append((now, call.number, f"{message.status} {text}" if isinstance(message, Response) else text))
            if isinstance(message, Request):
                assert item.flow.remote in (THEIRS, self.flow.remote) or not item.flow.connection
                beside = message.method in ("ACK", "CANCEL")
                call.ours += [message] if not beside and message.cseq.number > len(call.ours) else []
                call.cancels += [message] if message.method == "CANCEL" else []
                if not beside:
                    call.ways[message.cseq.number] = item.flow.connection
            else:
                self.note(call, message, item.data)
        while (event := self.story.endpoint.next_event()) is not None:
            self.hear_event(event)

    def note(self, call: Call, message: Response, data: bytes) -> None:
        """A final response never changes, and all that belong to the dialog have one tag."""
        if message.status >= 200 and message.cseq.method != "CANCEL":
            key = (message.headers.get("Via") or "", message.cseq.method)
            assert self.answers.setdefault(key, data) == data
        if message.status < 300 and message.cseq.method == "INVITE" and "tag=" not in call.story.to:
            call.story.learn(message)
        elif message.status < 300:
            assert message.headers.get("To") == call.story.to or message.cseq.method == "CANCEL"

    def hear_event(self, event: object) -> None:
        if isinstance(event, Dropped):
            assert event.reason in ("ack-unknown", "response-unknown", "bye-unconfirmed")
        if isinstance(event, Dropped | Refused | Numbered):
            return
        session = getattr(event, "session")  # noqa: B009  (every other event has one; the union is long)
        if isinstance(event, Invited):
            call = self.all[int(event.request.call_id[5:])]
            call.session = session
        call = next(call for call in self.all if call.session == session)
        call.token = getattr(event, "token", call.token) if type(event).__name__ != "Withdrawn" else call.token
        self.told.append((call.number, type(event).__name__))

    def compare(self) -> None:
        """What was said and told since the last time is what the model says."""
        self.listen()
        said = [(round(at, 6), call.number, text) for call in self.all for at, text in call.model.said]
        told = [(call.number, name) for call in self.all for name in call.model.told]
        heard, self.heard = sorted(self.heard), []
        events, self.told = sorted(self.told, key=lambda one: one[0]), []
        for call in self.all:
            call.model.said, call.model.told = [], []
        assert heard == sorted(said)
        assert events == told

    def teardown(self) -> None:
        """The user answers and hangs up, the peers are silent for good: nothing is left."""
        if not hasattr(self, "all"):
            return
        for call in self.all:
            self.decide(0, False, call=call)
            self.hang_up(0, call=call)
        self.let_pass(LONGEST)
        self.compare()
        assert self.story.endpoint.sessions() == []
        assert self.story.endpoint.next_timer() is None


Dialogs.TestCase.settings = settings(
    settings(), stateful_step_count=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
TestDialogs = Dialogs.TestCase
