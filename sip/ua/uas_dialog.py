"""Requests in a dialog: offers, refreshes, metadata, BYE (RFC 3261 sections 12.2.2, 14.2, 15.1.2; RFC 3311)."""

from __future__ import annotations

from sip.errors import RemoteError
from sip.message.body import Contents, refused_body
from sip.message.header_values import Flow
from sip.message.message import Request
from sip.sdp.offer import next_offer
from sip.transaction.layer import server_key
from sip.transaction.response import CAPABILITIES, Fields, Reply, sent_by_port
from sip.ua.context import Context, contact, refusal_fields
from sip.ua.dialog import Order
from sip.ua.events import Acknowledged, Cancelled, HungUp, Informed, Refused, Reoffered
from sip.ua.session import Session
from sip.ua.session_state import OfferState, Phase, PhaseInput
from sip.ua.session_timer import negotiate
from sip.ua.uac import UserAgentClient

# Longest Retry-After in seconds for a request that came before the previous one was answered (RFC 3261 section 14.2).
BUSY_SECONDS = 10
# Header field of a 469: the packages that we support (RFC 6086 section 4.2.2).
NO_PACKAGES = (("Recv-Info", ""),)


class DialogServer:
    """Answer the requests of one dialog."""

    def __init__(self, context: Context, client: UserAgentClient) -> None:
        self._context = context
        self._client = client

    def receive(self, session: Session, request: Request, flow: Flow, now: float) -> None:
        """Process a request in a known dialog that is no retransmission."""
        before = session.flow
        self._take(session, request, flow, now)
        self._client.flow_found(session, before, now)

    def _take(self, session: Session, request: Request, flow: Flow, now: float) -> None:
        number = request.cseq.number
        if request.method == "INVITE" and session.ack.is_of(number):
            session.move_to(flow)
            self._context.send(flow, session.ack.response)
            return
        if session.dialog.admit(number) is Order.OLD:
            self._answer(session, request, flow, now, 500, "cseq")
            return
        session.hear(flow)
        if session.phase is Phase.LEAVING and session.token is None and request.method == "BYE":
            # The peer repeats it after our restart.
            self._ask_to_leave(session, request, flow, now)
        elif session.phase is not Phase.RUNNING:
            self._out_of_phase(session, request, flow, now)
        elif request.method == "BYE":
            self._bye(session, request, flow, now)
        elif request.method in ("INVITE", "UPDATE"):
            self._refresh(session, request, flow, now)
        elif request.method == "PRACK":
            self._answer(session, request, flow, now, 481, "prack")
        else:
            self._other(session, request, flow, now)

    def repeated(self, session: Session, flow: Flow, now: float) -> None:
        """Take the flow of a request that was repeated and answered again."""
        before = session.flow
        session.move_to(flow)
        self._client.flow_found(session, before, now)

    def refuse(self, session: Session, request: Request, flow: Flow, now: float, status: int, code: str) -> None:
        """Refuse a request without processing it; it changes nothing (RFC 3261 section 12.2.2)."""
        self._answer(session, request, flow, now, status, code, refusal_fields(status, self._context, request))

    def acknowledged(self, session: Session, request: Request, flow: Flow, now: float) -> None:
        """Process the ACK of a 2xx; it may carry the answer to an offer of ours (section 13.2.1)."""
        before = session.flow
        if not session.ack.is_of(request.cseq.number):
            session.hear(before if self._context.alive(before) else flow)
            self._client.flow_found(session, before, now)
            return
        session.hear(flow)
        self._context.servers.settle(session.ack.transaction)
        answers = session.acknowledge()
        answer = request.contents.offer if answers else None
        # If a successor could not repeat the 200 (`sip.ua.checkpoint`), it need not know that no repetition is due.
        news = flow.transport == "udp" or flow != before or answers
        self._context.emit(Acknowledged(session.key, answer, news))
        self._client.catch_up(session, now)
        self._client.flow_found(session, before, now)

    def fields(self, session: Session) -> Fields:
        """Return the header fields of a 2xx to INVITE and UPDATE."""
        timer = session.session_timer.fields() if session.session_timer else ()
        return (("Contact", contact(session, self._context.settings.contact_host)), *CAPABILITIES, *timer)

    def cancel(self, session: Session, now: float) -> None:
        """End with 487 a session whose first INVITE the user has not answered yet."""
        question = self._context.questions.get(session.token) if session.token is not None else None
        transaction = self._context.servers.find(question.transaction) if question else None
        if transaction and transaction.reply:
            self._context.servers.respond(transaction, 487, transaction.reply.compose(487), now)
        if session.turn(PhaseInput.REFUSED):
            self._context.emit(Cancelled(session.key))
            self._context.close(session)

    def withdraw(self, session: Session, now: float) -> None:
        """Process the CANCEL of a re-INVITE that the user has not answered yet; the session continues."""
        self._client.withdraw(session, now)
        self._client.catch_up(session, now)

    def _out_of_phase(self, session: Session, request: Request, flow: Flow, now: float) -> None:
        """Answer a request before the dialog is confirmed or after its end; crossing BYEs both get 200."""
        if session.phase is Phase.INVITED and request.method == "BYE":
            # A hasty client may use the tag of our 100; its BYE counts as a CANCEL (section 15.1.2).
            self._answer(session, request, flow, now, 200)
            self.cancel(session, now)
        elif session.phase is Phase.INVITED:
            self._busy(session, request, flow, now)
        elif session.phase is Phase.HANGING_UP and request.method == "BYE":
            metadata = request.contents.metadata
            self._context.emit(Informed(session.key, flow, request, metadata, "BYE"))
            self._answer(session, request, flow, now, 200)
            session.turn(PhaseInput.OVER)
            self._context.close(session)
        else:
            self._answer(session, request, flow, now, 481, "ended")

    def _bye(self, session: Session, request: Request, flow: Flow, now: float) -> None:
        self._client.withdraw(session, now)
        session.leave()
        self._ask_to_leave(session, request, flow, now)

    def _ask_to_leave(self, session: Session, request: Request, flow: Flow, now: float) -> None:
        key = server_key(request, "BYE")
        reply = Reply.to_request(request, flow, session.key)
        self._context.servers.begin(key, flow, sent_by_port(request), reply, session.key, now)
        token = self._context.ask(session, key, False, request.cseq.number)
        session.arm("confirm", now + self._context.settings.confirm_timeout)
        metadata = request.contents.metadata
        self._context.emit(HungUp(session.key, token, request, metadata))

    def _refresh(self, session: Session, request: Request, flow: Flow, now: float) -> None:
        """Process a re-INVITE or UPDATE: refuse what is impossible now, update target and timer, then read the body."""
        found = request.contents
        offers = found.offer is not None or request.method == "INVITE"
        if offers and session.token is not None:
            self._busy(session, request, flow, now)
            return
        # The peer starts no INVITE before it has acknowledged the one that an earlier process answered (section 14.1).
        acknowledges = offers and session.ack_is_uncertain
        if offers and session.offers.state is OfferState.OURS and not acknowledges:
            self._answer(session, request, flow, now, 491, "glare")
            return
        try:
            timer = negotiate(request.headers, self._context.settings.min_session_expires, session.session_timer)
            fault = refused_body(request.headers, found)
            if fault:
                raise fault
        except RemoteError as error:
            fields = refusal_fields(error.status, self._context)
            self._answer(session, request, flow, now, error.status, error.code, fields)
            return
        if acknowledges:
            session.give_up_ack()
            if found.offer is None:
                session.offers.drop_pending()  # it is made at once
        session.dialog.retarget(request.headers)
        session.learn(request.headers)
        session.agree_on(timer)
        session.restart_timer(now)
        self._changed(session, request, flow, found, now)

    def _changed(self, session: Session, request: Request, flow: Flow, found: Contents, now: float) -> None:
        context = self._context
        key = server_key(request, request.method)
        reply = Reply.to_request(request, flow, session.key)
        transaction = context.servers.begin(key, flow, sent_by_port(request), reply, session.key, now)
        number = request.cseq.number
        if found.offer is not None or (request.method == "INVITE" and not session.offers.local):
            if found.offer is not None:
                session.offers.receive()
            token = context.ask(session, key, found.offer is not None, number)
            context.emit(Reoffered(session.key, token, flow, request, found.offer, found.metadata))
            return
        # Without an offer the media stay as they are; an INVITE is answered with our last SDP as an offer.
        body = next_offer(session.offers.local, paused=session.paused) if request.method == "INVITE" else b""
        data = reply.compose(200, self.fields(session), body)
        context.servers.respond(transaction, 200, data, now)
        if request.method == "INVITE":
            session.offers.send_in_response(body)
            session.await_ack(data, key, number, now)
        context.emit(Informed(session.key, flow, request, found.metadata, request.method))

    def _other(self, session: Session, request: Request, flow: Flow, now: float) -> None:
        """Answer INFO and OPTIONS. We support no package of RFC 6086, but INFO is older than packages."""
        if request.method == "OPTIONS":
            self._answer(session, request, flow, now, 200, fields=CAPABILITIES)
            return
        metadata = request.contents.metadata
        if "Info-Package" in request.headers and metadata is None:
            self._answer(session, request, flow, now, 469, "info-package", NO_PACKAGES)
            return
        self._answer(session, request, flow, now, 200)
        self._context.emit(Informed(session.key, flow, request, metadata, "INFO"))

    def _busy(self, session: Session, request: Request, flow: Flow, now: float) -> None:
        seconds = self._context.random(1)[0] % (BUSY_SECONDS + 1)
        self._answer(session, request, flow, now, 500, "busy", (("Retry-After", str(seconds)),))

    def _answer(
        self,
        session: Session,
        request: Request,
        flow: Flow,
        now: float,
        status: int,
        code: str = "",
        fields: Fields = (),
    ) -> None:
        """Send a final answer and keep it for retransmissions."""
        context = self._context
        reply = Reply.to_request(request, flow, session.key)
        data = reply.compose(status, fields)
        if len(context.servers) < context.settings.max_transactions:
            key = server_key(request, request.method)
            transaction = context.servers.begin(key, flow, sent_by_port(request), None, session.key, now)
            context.servers.respond(transaction, status, data, now)
        else:
            context.send(flow, data, sent_by_port(request))
        if code:
            self._context.emit(Refused(flow, request.method, status, code, session.key))
