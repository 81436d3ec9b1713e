"""The life of a session: any order of events against a model."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sip.ua.events import Acknowledged, Closed, Dropped, Expired, HungUp, Informed, Invited, Reoffered, Withdrawn
from sip.ua.session_state import Phase
from tests.sip.memory_client import ANSWER, METADATA, Story, methods, statuses


class Calls(RuleBasedStateMachine):
    """One client and one user do whatever they like, in any order."""

    @initialize()
    def begin(self):
        self.story = Story()
        self.announced: set[str] = set()
        self.closed: list[str] = []
        self.open: list[int] = []
        self.byes: list[int] = []
        self.last: list[bytes] = []
        self.state = None
        self.hear(self.story.say(self.note(self.story.invite("Supported: timer", "Session-Expires: 900"))))

    def note(self, data):
        self.last = [*self.last[-4:], data]
        return data

    def hear(self, heard):
        for message in heard:
            if not hasattr(message, "status"):
                self.last.append(self.story.reply(message, 200, body=b""))
            elif message.status == 200 and message.cseq.method == "INVITE":
                self.story.learn(message)
        for event in self.story.events():
            assert event != Dropped(None, "internal")
            assert getattr(event, "reason", "") != "internal"
            if isinstance(event, Invited):
                assert event.session not in self.announced
                self.announced.add(event.session)
            if isinstance(event, Invited | Reoffered):
                self.open.append(event.token)
            if isinstance(event, HungUp):
                self.byes.append(event.token)
            if isinstance(event, Withdrawn):
                self.open.remove(event.token)
            if isinstance(event, Closed):
                self.closed.append(event.session)
            if isinstance(event, Acknowledged | Informed | HungUp | Reoffered | Closed | Expired):
                assert event.session in self.announced

    @rule(lines=st.sampled_from([(), ("Supported: timer",)]))
    def reinvite(self, lines):
        self.hear(self.story.say(self.note(self.story.invite(*lines))))

    @rule()
    def reinvite_without_offer(self):
        self.hear(self.story.say(self.note(self.story.request("INVITE", "Require: siprec"))))

    @rule(method=st.sampled_from(["UPDATE", "INFO", "OPTIONS", "PRACK"]))
    def other(self, method):
        heard = self.story.say(self.note(self.story.request(method, body=METADATA)))
        assert len(statuses(heard)) == 1
        self.hear(heard)

    @rule(step=st.integers(-3, 3))
    def bye(self, step):
        self.story.cseq = max(1, self.story.cseq + step)
        self.hear(self.story.say(self.note(self.story.request("BYE"))))

    @rule(old=st.integers(0, 3))
    def ack(self, old):
        heard = self.story.say(self.story.request("ACK", cseq=max(0, self.story.cseq - old)))
        # it has no answer; a BYE of ours that waited for it ends a re-offer that is open (RFC 3261 section 15.1.2)
        assert statuses(heard) in ([], [487])
        self.hear(heard)

    @rule()
    def cancel(self):
        if self.last and self.last[-1].startswith(b"INVITE"):
            branch = self.last[-1].split(b"branch=")[1].split(b";")[0].decode()
            self.hear(self.story.say(self.story.request("CANCEL", branch=branch)))

    @rule(which=st.integers(0, 5))
    def repeat(self, which):
        if self.last:
            self.hear(self.story.say(self.last[which % len(self.last)]))

    @rule(sdp=st.booleans(), which=st.integers(0, 3))
    def decide(self, sdp, which):
        if self.open:
            token = self.open.pop(which % len(self.open))
            if sdp:
                self.story.endpoint.accept(token, ANSWER, self.story.now)
            else:
                self.story.endpoint.refuse(token, 488, self.story.now)
            self.hear(self.story.hear())

    @precondition(lambda self: self.byes)
    @rule()
    def confirm(self):
        self.story.endpoint.confirm(self.byes.pop(), self.story.now)
        self.hear(self.story.hear())

    @rule(what=st.sampled_from(["hang_up", "reoffer"]))
    def own(self, what):
        for session in self.story.endpoint.sessions():
            if what == "hang_up":
                self.story.endpoint.hang_up(session, "policy", self.story.now)
            else:
                self.story.endpoint.reoffer(session, ANSWER, self.story.now)
        heard = self.story.hear()
        assert set(methods(heard)) <= {"BYE", "INVITE"}
        self.hear(heard)

    @rule(seconds=st.sampled_from([0.3, 1.0, 6.0, 33.0, 900.0]))
    def wait(self, seconds):
        self.hear(self.story.wait(seconds))

    @rule()
    def restart(self):
        """Only sessions that were answered are worth keeping."""
        old = self.story.endpoint
        keep = [old.export(s.key) for s in old._context.sessions if s.phase is not Phase.INVITED]
        gone = set(old.sessions()) - {state["key"] for state in keep}
        fresh = Story()
        fresh.endpoint._context.random = old._context.random
        for state in keep:
            fresh.endpoint.restore(state, self.story.now)
        self.story.endpoint = fresh.endpoint
        self.announced -= gone
        self.open, self.byes = [], []

    @invariant()
    def every_session_is_closed_once(self):
        if hasattr(self, "story"):
            assert len(self.closed) == len(set(self.closed))
            assert set(self.story.endpoint.sessions()) == self.announced - set(self.closed)

    @invariant()
    def questions_belong_to_sessions(self):
        if hasattr(self, "story"):
            context = self.story.endpoint._context
            alive = set(self.story.endpoint.sessions())
            assert {q.session for q in context.questions.values()} <= alive

    def teardown(self):
        if hasattr(self, "story"):
            for session in self.story.endpoint.sessions():
                self.story.endpoint.hang_up(session, "", self.story.now)
            for token in self.open:
                self.story.endpoint.refuse(token, 503, self.story.now)
            self.hear(self.story.hear())
            for _ in range(3):
                self.hear(self.story.wait(2000))
            for session in self.story.endpoint.sessions():
                self.story.endpoint.hang_up(session, "", self.story.now)
            self.hear(self.story.wait(2000))
            assert self.story.endpoint.sessions() == []
            assert self.story.endpoint.next_timer() is None


TestCalls = Calls.TestCase
TestCalls.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
