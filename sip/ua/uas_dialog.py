"""What requests in a dialog mean: offers, refreshes, metadata, the end (RFC 3261 12.2.2, 14.2, 15.1.2; RFC 3311)."""

from __future__ import annotations

from sip.errors import RemoteError
from sip.message.body import Contents, contents, refused_body
from sip.message.header_values import Flow
from sip.message.message import Request
from sip.sdp.offer import anew
from sip.transaction.layer import ServerKey, server_key
from sip.transaction.response import CAPABILITIES, Fields, Reply, sent_by_port
from sip.transaction.timers import GIVE_UP, T1
from sip.ua.core import Context, contact, refusal_fields
from sip.ua.dialog import Order
from sip.ua.events import Acknowledged, Cancelled, HungUp, Informed, Refused, Reoffered
from sip.ua.session import Offering, Phase, Session, Turn
from sip.ua.session_timer import negotiate
from sip.ua.uac import Calling
from sip.ua.wayback import WayBack

# Longest Retry-After of a request that came while another was unanswered, seconds (RFC 3261 section 14.2).
BUSY_SECONDS = 10
# What a 469 has to say of the packages we take (RFC 6086 section 4.2.2).
NO_PACKAGES = (("Recv-Info", ""),)


class Within:
    """Answer the requests of one dialog."""

    def __init__(self, context: Context, calling: Calling) -> None:
        self._context = context
        self._calling = calling
        self._wayback = WayBack(context, calling)

    def receive(self, session: Session, request: Request, way: Flow, now: float) -> None:
        """Take a request of a known dialog that is no retransmission of its transaction."""
        before = session.flow
        self._take(session, request, way, now)
        self._wayback.found(session, before, now)

    def _take(self, session: Session, request: Request, way: Flow, now: float) -> None:
        number = request.cseq.number
        if request.method == "INVITE" and session.unacked and number == session.unacked_cseq:
            session.flow = way
            self._context.send(way, session.unacked)
            return
        if session.dialog.admit(number) is Order.OLD:
            self._answer(session, request, way, now, 500, "cseq")
            return
        session.flow, session.heard = way, True
        if session.phase is Phase.LEAVING and session.token is None and request.method == "BYE":
            # Repeated after our restart.
            self._ask_to_leave(session, request, way, now)
        elif session.phase is not Phase.RUNNING:
            self._at_the_edge(session, request, way, now)
        elif request.method == "BYE":
            self._bye(session, request, way, now)
        elif request.method in ("INVITE", "UPDATE"):
            self._refresh(session, request, way, now)
        elif request.method == "PRACK":
            self._answer(session, request, way, now, 481, "prack")
        else:
            self._other(session, request, way, now)

    def repeated(self, session: Session, way: Flow, now: float) -> None:
        """Take the way of a request that came again and was answered again."""
        before, session.flow = session.flow, way
        self._wayback.found(session, before, now)

    def refuse(self, session: Session, request: Request, way: Flow, now: float, status: int, code: str) -> None:
        """Refuse a request that is not looked at any further; it moves nothing (RFC 3261 section 12.2.2)."""
        self._answer(session, request, way, now, status, code, refusal_fields(status, self._context, request))

    def acknowledged(self, session: Session, request: Request, way: Flow, now: float) -> None:
        """Take the ACK of a 2xx; it may carry the answer to an offer of ours (section 13.2.1)."""
        before, session.heard = session.flow, True
        if not session.unacked or request.cseq.number != session.unacked_cseq:
            session.flow = before if self._context.alive(before) else way
            self._wayback.found(session, before, now)
            return
        # Where a successor could not repeat the 200 (sip.ua.checkpoint) it need not know that there is nothing to
        # repeat.
        news = way.transport == "udp" or way != session.flow or session.offering is Offering.OURS
        session.flow = way
        self._context.disarm(session, "repeat", "no-ack", "doubt")
        self._context.servers.settle(session.unacked_key)
        session.unacked, session.unacked_key = b"", ()
        answer = None
        if session.offering is Offering.OURS:
            session.settle(b"")
            answer = contents(request.headers, request.body).offer
        self._context.emit(Acknowledged(session.key, answer, news))
        self._calling.catch_up(session, now)
        self._wayback.found(session, before, now)

    def await_ack(self, session: Session, data: bytes, key: ServerKey, cseq: int, now: float) -> None:
        """Repeat a 2xx from T1 to T2 on every transport until its ACK, 32 s at most (section 13.3.1.4)."""
        session.unacked, session.unacked_key, session.unacked_cseq, session.interval = data, key, cseq, T1
        self._context.arm(session, "repeat", now + T1)
        self._context.arm(session, "no-ack", now + GIVE_UP)

    def fields(self, session: Session) -> Fields:
        """Give the header fields of a 2xx to INVITE and UPDATE."""
        timer = session.timer.fields() if session.timer else ()
        return (("Contact", contact(session, self._context.settings.contact_host)), *CAPABILITIES, *timer)

    def cancel(self, session: Session, now: float) -> None:
        """End a session whose first INVITE the user has not answered yet, with 487."""
        question = self._context.questions.get(session.token) if session.token is not None else None
        transaction = self._context.servers.find(question.transaction) if question else None
        if transaction and transaction.reply:
            self._context.servers.respond(transaction, 487, transaction.reply.compose(487), now)
        if session.turn(Turn.REFUSED):
            self._context.emit(Cancelled(session.key))
            self._context.close(session)

    def withdraw(self, session: Session, now: float) -> None:
        """Take the CANCEL of a re-INVITE that the user has not answered yet; the session goes on."""
        self._calling.withdraw(session, now)
        self._calling.catch_up(session, now)

    def _at_the_edge(self, session: Session, request: Request, way: Flow, now: float) -> None:
        """Answer before the dialog stands and after its end: crossing BYEs both get 200."""
        if session.phase is Phase.INVITED and request.method == "BYE":
            # The tag of our 100 is enough for a hasty client: as if it had cancelled (section 15.1.2).
            self._answer(session, request, way, now, 200)
            self.cancel(session, now)
        elif session.phase is Phase.INVITED:
            self._busy(session, request, way, now)
        elif session.phase is Phase.HANGING_UP and request.method == "BYE":
            metadata = contents(request.headers, request.body).metadata
            self._context.emit(Informed(session.key, way, request, metadata, "BYE"))
            self._answer(session, request, way, now, 200)
            session.turn(Turn.OVER)
            self._context.close(session)
        else:
            self._answer(session, request, way, now, 481, "ended")

    def _bye(self, session: Session, request: Request, way: Flow, now: float) -> None:
        self._calling.withdraw(session, now)
        session.turn(Turn.BYE)
        session.unacked, session.unacked_key = b"", ()
        self._context.disarm(session, "repeat", "no-ack", "doubt", "refresh", "expire", "retry")
        self._ask_to_leave(session, request, way, now)

    def _ask_to_leave(self, session: Session, request: Request, way: Flow, now: float) -> None:
        key = server_key(request, "BYE")
        reply = Reply.to_request(request, way, session.key)
        self._context.servers.begin(key, way, sent_by_port(request), reply, session.key, now)
        token = self._context.ask(session, key, False, request.cseq.number)
        self._context.arm(session, "confirm", now + self._context.settings.confirm_timeout)
        metadata = contents(request.headers, request.body).metadata
        self._context.emit(HungUp(session.key, token, request, metadata))

    def _refresh(self, session: Session, request: Request, way: Flow, now: float) -> None:
        """Take a re-INVITE or UPDATE: refuse what cannot be now, refresh target and timer, then see to the body."""
        found = contents(request.headers, request.body)
        offers = found.offer is not None or request.method == "INVITE"
        if offers and session.token is not None:
            self._busy(session, request, way, now)
            return
        # It begins no INVITE before it acknowledged the one that an earlier process answered (section 14.1).
        doubted = offers and self._context.timers.due_at(("session", session.key), "doubt") is not None
        if offers and session.offering is Offering.OURS and not doubted:
            self._answer(session, request, way, now, 491, "glare")
            return
        try:
            timer = negotiate(request.headers, self._context.settings.min_session_expires, session.timer)
            fault = refused_body(request.headers, found)
            if fault:
                raise fault
        except RemoteError as error:
            fields = refusal_fields(error.status, self._context)
            self._answer(session, request, way, now, error.status, error.code, fields)
            return
        if doubted:
            self._context.disarm(session, "repeat", "doubt")
            session.give_up_ack()
            if found.offer is None:
                session.wanted = b""  # it is made at once
        session.dialog.retarget(request)
        session.learn(request.headers)
        session.timer = timer
        self._calling.restart_timer(session, now)
        self._changed(session, request, way, found, now)

    def _changed(self, session: Session, request: Request, way: Flow, found: Contents, now: float) -> None:
        context = self._context
        key = server_key(request, request.method)
        reply = Reply.to_request(request, way, session.key)
        transaction = context.servers.begin(key, way, sent_by_port(request), reply, session.key, now)
        number = request.cseq.number
        if found.offer is not None or (request.method == "INVITE" and not session.local_sdp):
            session.offering = Offering.THEIRS if found.offer is not None else Offering.NONE
            token = context.ask(session, key, found.offer is not None, number)
            context.emit(Reoffered(session.key, token, way, request, found.offer, found.metadata))
            return
        # Without an offer the media stay as they are: an INVITE is answered with an offer out of our last SDP.
        body = anew(session.local_sdp, paused=session.quiet) if request.method == "INVITE" else b""
        data = reply.compose(200, self.fields(session), body)
        context.servers.respond(transaction, 200, data, now)
        if request.method == "INVITE":
            session.offering, session.local_sdp = Offering.OURS, body
            self.await_ack(session, data, key, number, now)
        context.emit(Informed(session.key, way, request, found.metadata, request.method))

    def _other(self, session: Session, request: Request, way: Flow, now: float) -> None:
        """Answer INFO and OPTIONS; of the packages of RFC 6086 none is ours, but INFO is older than they."""
        if request.method == "OPTIONS":
            self._answer(session, request, way, now, 200, fields=CAPABILITIES)
            return
        metadata = contents(request.headers, request.body).metadata
        if "Info-Package" in request.headers and metadata is None:
            self._answer(session, request, way, now, 469, "info-package", NO_PACKAGES)
            return
        self._answer(session, request, way, now, 200)
        self._context.emit(Informed(session.key, way, request, metadata, "INFO"))

    def _busy(self, session: Session, request: Request, way: Flow, now: float) -> None:
        seconds = self._context.random(1)[0] % (BUSY_SECONDS + 1)
        self._answer(session, request, way, now, 500, "busy", (("Retry-After", str(seconds)),))

    def _answer(
        self,
        session: Session,
        request: Request,
        way: Flow,
        now: float,
        status: int,
        code: str = "",
        fields: Fields = (),
    ) -> None:
        """Answer finally and keep the response for retransmissions."""
        context = self._context
        reply = Reply.to_request(request, way, session.key)
        data = reply.compose(status, fields)
        if len(context.servers) < context.settings.max_transactions:
            key = server_key(request, request.method)
            transaction = context.servers.begin(key, way, sent_by_port(request), None, session.key, now)
            context.servers.respond(transaction, status, data, now)
        else:
            context.send(way, data, sent_by_port(request))
        if code:
            self._context.emit(Refused(way, request.method, status, code, session.key))
