"""What the user decides about a question: accept, refuse, confirm."""

from __future__ import annotations

from sip.transaction.layer import ServerTransaction
from sip.transaction.response import Fields
from sip.ua.core import Context, Question
from sip.ua.events import Token
from sip.ua.session import Offering, Phase, Session, Turn
from sip.ua.uac import Calling
from sip.ua.uas_dialog import Within

# A warning as code and text (RFC 3261 section 20.43), or the whole header value.
Warned = tuple[int, str] | str
# Name under which we warn: a pseudonym, not an address.
WARN_AGENT = "recorder"


class Verdicts:
    """Carry out what the user decides."""

    def __init__(self, context: Context, calling: Calling, within: Within) -> None:
        self._context = context
        self._calling = calling
        self._within = within

    def waits(self, token: Token) -> bool:
        """Tell whether a question still waits for its answer."""
        return self._find(token) is not None

    def accept(self, token: Token, sdp: bytes, now: float) -> bool:
        """Answer 200 to an INVITE or UPDATE."""
        taken = self._take(token)
        if taken is None:
            return False
        question, session, transaction = taken
        if question.method == "BYE":
            self._end(session, transaction, 200, (), now)
            return True
        if question.offered:
            session.settle(sdp)
            session.wanted = b""  # an offer of ours that waits is older than this answer, which says what holds now
        else:
            session.offering, session.local_sdp = Offering.OURS, sdp
        fields = self._within.fields(session)
        reply = transaction.reply
        data = reply.compose(200, fields, sdp) if reply else b""
        self._context.servers.respond(transaction, 200, data, now)
        if question.method == "INVITE":
            self._within.await_ack(session, data, question.transaction, question.cseq, now)
        session.turn(Turn.ACCEPTED)
        # The interval counts from the 2xx (RFC 4028 section 10).
        self._calling.restart_timer(session, now)
        self._calling.catch_up(session, now)
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
        """Answer other than 2xx."""
        taken = self._take(token)
        if taken is None:
            return False
        question, session, transaction = taken
        fields = tuple(headers)
        fields += (("Retry-After", str(retry_after)),) if retry_after is not None else ()
        fields += (("Warning", _warning(warning)),) if warning is not None else ()
        if question.method == "BYE":
            self._end(session, transaction, status, fields, now)
            return True
        if session.offering is Offering.THEIRS:
            session.offering = Offering.NONE
        self._respond(transaction, status, fields, now)
        if session.turn(Turn.REFUSED):
            self._context.close(session)
        self._calling.catch_up(session, now)
        return True

    def confirm(self, token: Token, now: float) -> bool:
        """Answer 200 to a BYE."""
        taken = self._take(token)
        if taken is None:
            return False
        _, session, transaction = taken
        self._end(session, transaction, 200, (), now)
        return True

    def _take(self, token: Token) -> tuple[Question, Session, ServerTransaction] | None:
        found = self._find(token)
        self._context.questions.pop(token, None)
        if found is not None:
            found[1].token = None
        return found

    def _find(self, token: Token) -> tuple[Question, Session, ServerTransaction] | None:
        question = self._context.questions.get(token)
        session = self._context.sessions.get(question.session) if question else None
        transaction = self._context.servers.find(question.transaction) if question else None
        if question is None or session is None or transaction is None:
            return None
        return question, session, transaction

    def _end(self, session: Session, transaction: ServerTransaction, status: int, fields: Fields, now: float) -> None:
        self._respond(transaction, status, fields, now)
        if session.phase is Phase.LEAVING and session.turn(Turn.CONFIRMED):
            self._context.close(session)

    def _respond(self, transaction: ServerTransaction, status: int, fields: Fields, now: float) -> None:
        if transaction.reply:
            self._context.servers.respond(transaction, status, transaction.reply.compose(status, fields), now)


def _warning(warning: Warned) -> str:
    if isinstance(warning, str):
        return warning
    code, text = warning
    clean = text.replace("\\", "").replace('"', "'")
    return f'{code} {WARN_AGENT} "{clean}"'
