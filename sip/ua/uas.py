"""Requests from peers: which are refused, which the user is asked about, and which are answered at once.

The user answers questions by their tokens. `sip.ua.uas_dialog` handles requests in a dialog. OPTIONS and refused
requests outside a dialog keep no state (RFC 3261 section 8.2.7), so a flood of them uses no memory; everything that
changes a session has a transaction.
"""

from __future__ import annotations

from sip.errors import MalformedMessage, RemoteError
from sip.message.body import Contents, refused_body, takes_sdp
from sip.message.header_values import Flow
from sip.message.message import Request, check
from sip.message.siprec_marks import is_recording, marks, unknown_tags
from sip.transaction.layer import ServerTransaction, server_key
from sip.transaction.response import ALLOW, CAPABILITIES, Fields, Reply, new_tag, reply_flow, sent_by_port, steady_tag
from sip.transaction.tables import State
from sip.ua.context import Context, Question, refusal_fields, same_host
from sip.ua.dialog import Dialog
from sip.ua.events import NOT_OWNER, Dropped, Invited, Refused, SessionKey, Token
from sip.ua.session import Session
from sip.ua.session_state import Phase, PhaseInput
from sip.ua.session_timer import negotiate
from sip.ua.uac import UserAgentClient
from sip.ua.uas_dialog import DialogServer

SERVED = frozenset({"INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "UPDATE", "INFO", "PRACK"})
# Methods of other RFCs that a recorder does not use: 405 instead of 501 (section 8.2.1).
FOREIGN = frozenset({"REGISTER", "SUBSCRIBE", "NOTIFY", "PUBLISH", "MESSAGE", "REFER"})
# A warning as code and text (RFC 3261 section 20.43), or the whole header value.
Warned = tuple[int, str] | str
# Our name in warnings: a pseudonym, not an address.
WARN_AGENT = "recorder"


def shown(method: str) -> str:
    """Return a method name that may be counted: one of a fixed set."""
    return method if method in SERVED or method in FOREIGN else "unknown"


class UserAgentServer:
    """Answer requests, at once or as the user decides."""

    def __init__(self, context: Context, client: UserAgentClient) -> None:
        self._context = context
        self._client = client
        self._dialogs = DialogServer(context, client)

    # Input from the network.

    def receive(self, request: Request, flow: Flow, now: float) -> None:
        """Process one whole request."""
        try:
            check(request)
        except MalformedMessage as error:
            self.malformed(error, flow)
            return
        if request.method == "ACK":
            self._ack(request, flow, now)
            return
        known = self._context.servers.find(server_key(request, request.method))
        if known and not known.open and self._displaced(known, request, flow):
            self._context.servers.forget(known)
            known = None
        if known:
            self._again(known, request, flow, now)
        elif request.method == "CANCEL":
            self._cancel(request, flow, now)
        elif request.method not in SERVED:
            status = 405 if request.method in FOREIGN else 501
            self._refuse(request, flow, now, status, "method", (("Allow", ALLOW),))
        elif request.recipient.tag is not None:
            self._in_dialog(request, flow, now)
        else:
            self._out_of_dialog(request, flow, now)

    def _again(self, known: ServerTransaction, request: Request, flow: Flow, now: float) -> None:
        """Repeat an answer, but only to those who got it first: our SDP holds keys."""
        if not self._concerns(known, flow):
            self._stateless(request, flow, 481, NOT_OWNER, session=known.session)
            return
        back = reply_flow(request, flow)
        session = self._context.sessions.get(known.session) if known.session else None
        self._context.servers.repeat(known, back, now)
        if session:
            self._dialogs.repeated(session, back, now)

    def _displaced(self, transaction: ServerTransaction, request: Request, flow: Flow) -> bool:
        """Return whether the owner of a dialog sent a request whose branch somebody else has guessed and used first.

        A transaction whose ACK is awaited stays: nobody may take the place of its first sender by copying a branch.
        """
        other = self._context.sessions.get(transaction.session) if transaction.session else None
        if other and other.ack.transaction == transaction.key:
            return False
        session = self._session_of(request) if request.recipient.tag is not None else None
        if session is None or session.key == transaction.session:
            return False
        if self._context.authorization(session, flow, request) is None:
            return False
        return not self._concerns(transaction, flow)

    def _concerns(self, transaction: ServerTransaction, flow: Flow) -> bool:
        """Return whether a sender may continue a transaction: its own sender, or another host of the same owner."""
        session = self._context.sessions.get(transaction.session) if transaction.session else None
        if session is None:
            return same_host(flow, transaction.flow)
        return self._context.authorization(session, flow, None, transaction.flow) == ()

    def malformed(self, error: MalformedMessage, flow: Flow) -> None:
        """Answer a request that could not be parsed, if its Via could; never an ACK."""
        request = error.request
        if request is None or request.method == "ACK":
            self._context.emit(Dropped(flow, error.code))
            return
        self._stateless(request, flow, error.status, error.code)

    def unframed(self, error: MalformedMessage, flow: Flow) -> None:
        """Refuse a message on a stream whose end cannot be found; prefer a more specific error than 400."""
        request = error.request
        if request is None or error.code != "content-length-missing" or request.method == "ACK":
            self.malformed(error, flow)
            return
        fault: RemoteError = error
        try:
            check(request)
            if request.method in SERVED and request.recipient.tag is None:
                self._judge(request)
        except RemoteError as other:
            fault = other
        self._stateless(request, flow, fault.status, fault.code, refusal_fields(fault.status, self._context, request))

    # Answers from the user.

    def waits(self, token: Token) -> bool:
        """Return whether a question still needs an answer."""
        return self._question(token) is not None

    def accept(self, token: Token, sdp: bytes, now: float) -> bool:
        """Answer 200 to an INVITE or UPDATE."""
        taken = self._take_question(token)
        if taken is None:
            return False
        question, session, transaction = taken
        if question.method == "BYE":
            self._end(session, transaction, 200, (), now)
            return True
        if question.offered:
            session.offers.answer(sdp)
        else:
            session.offers.send_in_response(sdp)
        fields = self._dialogs.fields(session)
        reply = transaction.reply
        data = reply.compose(200, fields, sdp) if reply else b""
        self._context.servers.respond(transaction, 200, data, now)
        if question.method == "INVITE":
            session.await_ack(data, question.transaction, question.cseq, now)
        session.turn(PhaseInput.ACCEPTED)
        # The interval starts at the 2xx (RFC 4028 section 10).
        session.restart_timer(now)
        self._client.catch_up(session, now)
        return True

    def refuse(
        self,
        token: Token,
        status: int,
        now: float,
        *,
        retry_after: int | None = None,
        warning: Warned | None = None,
        headers: Fields = (),
    ) -> bool:
        """Answer with a final response other than 2xx."""
        taken = self._take_question(token)
        if taken is None:
            return False
        question, session, transaction = taken
        fields = tuple(headers)
        fields += (("Retry-After", str(retry_after)),) if retry_after is not None else ()
        fields += (("Warning", _warning(warning)),) if warning is not None else ()
        if question.method == "BYE":
            self._end(session, transaction, status, fields, now)
            return True
        session.offers.refuse()
        self._respond(transaction, status, fields, now)
        if session.turn(PhaseInput.REFUSED):
            self._context.close(session)
        self._client.catch_up(session, now)
        return True

    def confirm(self, token: Token, now: float) -> bool:
        """Answer 200 to a BYE."""
        taken = self._take_question(token)
        if taken is None:
            return False
        _, session, transaction = taken
        self._end(session, transaction, 200, (), now)
        return True

    def _take_question(self, token: Token) -> tuple[Question, Session, ServerTransaction] | None:
        found = self._question(token)
        self._context.questions.pop(token, None)
        if found is not None:
            found[1].close_question()
        return found

    def _question(self, token: Token) -> tuple[Question, Session, ServerTransaction] | None:
        question = self._context.questions.get(token)
        session = self._context.sessions.get(question.session) if question else None
        transaction = self._context.servers.find(question.transaction) if question else None
        if question is None or session is None or transaction is None:
            return None
        return question, session, transaction

    def _end(self, session: Session, transaction: ServerTransaction, status: int, fields: Fields, now: float) -> None:
        self._respond(transaction, status, fields, now)
        if session.phase is Phase.LEAVING and session.turn(PhaseInput.CONFIRMED):
            self._context.close(session)

    def _respond(self, transaction: ServerTransaction, status: int, fields: Fields, now: float) -> None:
        if transaction.reply:
            self._context.servers.respond(transaction, status, transaction.reply.compose(status, fields), now)

    # Private.

    def _ack(self, request: Request, flow: Flow, now: float) -> None:
        transaction = self._context.servers.find(server_key(request, "INVITE"))
        if transaction and transaction.state in (State.COMPLETED, State.CONFIRMED):
            if self._concerns(transaction, flow):
                self._context.servers.acknowledge(transaction, now)
            else:
                self._context.emit(Dropped(flow, "ack-foreign"))
            return
        session = self._session_of(request)
        if session is None:
            self._context.emit(Dropped(flow, "ack-unknown"))
            return
        invite = self._context.servers.find(session.ack.transaction)
        if self._context.authorization(session, flow, request, invite.flow if invite else None) == ():
            self._dialogs.acknowledged(session, request, reply_flow(request, flow), now)
        else:
            self._context.emit(Dropped(flow, "ack-foreign"))

    def _cancel(self, request: Request, flow: Flow, now: float) -> None:
        """Answer the CANCEL, then the INVITE that it names (section 9.2)."""
        transaction = self._context.servers.find(server_key(request, "INVITE"))
        if transaction is None:
            self._stateless(request, flow, 481, "transaction")
            return
        if not self._concerns(transaction, flow):
            self._stateless(request, flow, 481, NOT_OWNER, session=transaction.session)
            return
        tag = transaction.session or steady_tag(self._context.secret, request)
        self._send(request, flow, Reply.to_request(request, flow, tag).compose(200))
        session = self._context.sessions.get(transaction.session) if transaction.session else None
        if not transaction.open or session is None:
            return
        if session.phase is Phase.INVITED:
            self._dialogs.cancel(session, now)
        else:
            self._dialogs.withdraw(session, now)

    def _in_dialog(self, request: Request, flow: Flow, now: float) -> None:
        session = self._session_of(request)
        if session is None:
            if not self._unserved(request, flow, now):
                self._refuse(request, flow, now, 481, "dialog")
            return
        authorization = self._context.authorization(session, flow, request)
        if authorization is None:
            self._refuse(request, flow, now, 481, NOT_OWNER, session=session.key)
            return
        if authorization:
            self._refuse(request, flow, now, 401, "digest-in-dialog", authorization)
            return
        if unknown_tags(request.headers):
            self._dialogs.refuse(session, request, reply_flow(request, flow), now, 420, "require")
            return
        self._dialogs.receive(session, request, reply_flow(request, flow), now)

    def _out_of_dialog(self, request: Request, flow: Flow, now: float) -> None:
        if request.method not in ("INVITE", "OPTIONS"):
            self._refuse(request, flow, now, 481, "dialog")
            return
        if request.method == "INVITE" and self._merged(request, flow):
            self._refuse(request, flow, now, 482, "merged")
            return
        try:
            found = self._judge(request)
            timer = negotiate(request.headers, self._context.settings.min_session_expires, None)
        except RemoteError as error:
            fields = refusal_fields(error.status, self._context, request)
            self._refuse(request, flow, now, error.status, error.code, fields)
            return
        full = len(self._context.sessions) >= self._context.settings.max_dialogs
        if self._context.refusing is not None or full:
            seconds = self._context.settings.retry_after if self._context.refusing is None else self._context.refusing
            extra = CAPABILITIES if request.method == "OPTIONS" else ()
            self._refuse(request, flow, now, 503, "unavailable", (("Retry-After", str(seconds)), *extra))
        elif request.method == "OPTIONS":
            if not self._unserved(request, flow, now):
                self._send(request, flow, self._steady(request, flow).compose(200, CAPABILITIES))
        else:
            session = self._invite(request, flow, found, now)
            session.agree_on(timer)

    def _unserved(self, request: Request, flow: Flow, now: float) -> bool:
        """Answer 503 if nobody at this address can be served now: a 481 would end calls that go on later."""
        seconds = self._context.refusing_from(flow)
        if seconds is None:
            return False
        extra = CAPABILITIES if request.method == "OPTIONS" else ()
        self._refuse(request, flow, now, 503, "customer-away", (("Retry-After", str(seconds)), *extra))
        return True

    def _merged(self, request: Request, flow: Flow) -> bool:
        """Return whether this INVITE already came by another path; an INVITE from another customer is a new one."""
        found = self._context.sessions.made_by(request, request.sender)
        return any(self._context.authorization(session, flow, None) == () for session in found)

    def _judge(self, request: Request) -> Contents:
        """Check for 420, 415, 406 and 421, in this order; raise RemoteError."""
        headers = request.headers
        if unknown_tags(headers):
            raise RemoteError("require", 420)
        found = request.contents
        fault = refused_body(headers, found)
        if fault:
            raise fault
        if request.method != "INVITE":
            return found
        if not takes_sdp(headers):
            raise RemoteError("accept", 406)
        settings = self._context.settings
        if not settings.plain_calls and not is_recording(headers, found.metadata, strict=settings.strict_marks):
            raise RemoteError("not-siprec", 421)
        return found

    def _invite(self, request: Request, flow: Flow, found: Contents, now: float) -> Session:
        """Start a session and ask the user."""
        context = self._context
        tag = new_tag(context.random)
        reply = Reply.to_request(request, flow, tag)
        back = reply_flow(request, flow)
        dialog = Dialog.accept(request, reply.to, tag)
        names = flow.certificate_names
        session = Session(SessionKey(tag), dialog, back, dialog.remote_cseq, context.timers, names=names)
        session.learn(request.headers)
        if found.offer is not None:
            session.offers.receive()
        key = server_key(request, "INVITE")
        context.servers.begin(key, back, sent_by_port(request), reply, tag, now)
        context.sessions.add(session)
        token = context.ask(session, key, found.offer is not None, dialog.remote_cseq)
        signs = marks(request.headers, found.metadata)
        offer, named = found.offer, request.replaces
        context.emit(Invited(session.key, token, flow, request, offer, found.metadata, signs, named))
        return session

    def _session_of(self, request: Request) -> Session | None:
        tag = request.recipient.tag or ""
        return self._context.sessions.of_dialog(request.call_id, tag, request.sender.tag or "")

    def _refuse(
        self,
        request: Request,
        flow: Flow,
        now: float,
        status: int,
        code: str,
        fields: Fields = (),
        session: str | None = None,
    ) -> None:
        """Refuse an INVITE in a transaction, which waits for the ACK; refuse anything else without keeping state."""
        context = self._context
        if request.method != "INVITE" or len(context.servers) >= context.settings.max_transactions:
            self._stateless(request, flow, status, code, fields, session)
            return
        key = server_key(request, "INVITE")
        reply = self._steady(request, flow)
        transaction = context.servers.begin(key, reply_flow(request, flow), sent_by_port(request), reply, None, now)
        context.servers.respond(transaction, status, reply.compose(status, fields), now)
        context.emit(Refused(flow, shown(request.method), status, code, SessionKey(session) if session else None))

    def _stateless(
        self, request: Request, flow: Flow, status: int, code: str, fields: Fields = (), session: str | None = None
    ) -> None:
        self._send(request, flow, self._steady(request, flow).compose(status, fields))
        self._context.emit(Refused(flow, shown(request.method), status, code, SessionKey(session) if session else None))

    def _steady(self, request: Request, flow: Flow) -> Reply:
        return Reply.to_request(request, flow, steady_tag(self._context.secret, request))

    def _send(self, request: Request, flow: Flow, data: bytes) -> None:
        self._context.send(reply_flow(request, flow), data, sent_by_port(request))


def _warning(warning: Warned) -> str:
    if isinstance(warning, str):
        return warning
    code, text = warning
    clean = text.replace("\\", "").replace('"', "'")
    return f'{code} {WARN_AGENT} "{clean}"'
