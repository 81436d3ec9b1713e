"""Run the tables of `sip.transaction.tables`: keep the transactions, send messages, set the timers.

Timer owners are ("server", key) and ("client", key); timer letters are the names of the inputs that they cause.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from sip.message.header_values import MAGIC_COOKIE, Flow
from sip.message.headers import Headers
from sip.message.message import Request, Response, parse, top_via
from sip.transaction.response import Reply
from sip.transaction.tables import (
    INVITE_CLIENT,
    INVITE_SERVER,
    OTHER_CLIENT,
    OTHER_SERVER,
    Action,
    Input,
    State,
    kind_of,
    step,
)
from sip.transaction.timers import FINAL_AFTER, GIVE_UP, T1, T2, T4, TRYING_AFTER, Timers

ServerKey = tuple[str, ...]
ClientKey = tuple[str, str]


class Transmit(Protocol):
    """Send a message; if the connection is broken, on a new one to `port` of the peer, or not at all if `port` is 0."""

    def __call__(self, flow: Flow, data: bytes, port: int = 0) -> None: ...


def server_key(request: Request, method: str) -> ServerKey:
    """Return the name of a request's server transaction (RFC 3261 section 17.2.3); use INVITE for ACK and CANCEL.

    The Call-ID, which ACK and CANCEL copy, is part of the name: many branches can be guessed, and whoever uses a
    branch receives the response and continues the dialog. Without the magic cookie the rules of RFC 2543 apply; there
    the To tag is ignored for INVITE, because its ACK has one.
    """
    branch, sent_by = request.headers.once(_hop)
    if branch.startswith(MAGIC_COOKIE):
        return (request.call_id, branch, sent_by, method)
    top = request.headers.values("Via")[0]
    tag = "" if method == "INVITE" else request.recipient.tag or ""
    number = str(request.cseq.number)
    return ("2543", request.uri, tag, request.sender.tag or "", request.call_id, number, top, method)


def _hop(headers: Headers) -> tuple[str, str]:
    """Return the branch of the top Via (empty if there is none) and its sent-by; raise MalformedValue."""
    via = headers.once(top_via)
    return via.branch or "", via.sent_by


class ServerTransaction:
    """One request from a peer and our response."""

    __slots__ = ("flow", "interval", "key", "port", "reply", "response", "sent_1xx", "session", "state", "table")

    def __init__(self, key: ServerKey, flow: Flow, port: int, reply: Reply | None, session: str | None) -> None:
        self.key = key
        self.table = INVITE_SERVER if key[-1] == "INVITE" else OTHER_SERVER
        self.state = State.PROCEEDING if key[-1] == "INVITE" else State.TRYING
        self.flow = flow  # where responses go; the newest flow if the peer changed its connection
        self.port = port  # where the peer listens, according to its Via
        self.reply = reply  # None after the final response
        self.response = b""  # the last response
        self.session = session  # to which the request belongs
        self.interval = T1  # until the next retransmission of a final response
        self.sent_1xx = False  # a 1xx was sent, so the peer stops repeating its INVITE

    @property
    def open(self) -> bool:
        """Return whether the final response is still missing."""
        return self.state in (State.PROCEEDING, State.TRYING)


class ServerTransactions:
    """Requests from peers that are being answered or were answered recently."""

    def __init__(self, timers: Timers, send: Transmit) -> None:
        self._timers = timers
        self._send = send
        self._all: dict[ServerKey, ServerTransaction] = {}
        # Returns whether the address of a flow belongs to somebody, as far as an address can prove that on UDP.
        self._known: Callable[[Flow], bool] = lambda flow: True

    def __len__(self) -> int:
        return len(self._all)

    def repeat_only_to(self, known: Callable[[Flow], bool]) -> None:
        """Repeat refusals only to known addresses (section 26.3.2.4)."""
        self._known = known

    def find(self, key: ServerKey) -> ServerTransaction | None:
        """Return the transaction with this name, or None."""
        return self._all.get(key)

    def begin(
        self, key: ServerKey, flow: Flow, port: int, reply: Reply | None, session: str | None, now: float
    ) -> ServerTransaction:
        """Add a new request; an INVITE gets 100 if no other response comes in time."""
        self._all[key] = transaction = ServerTransaction(key, flow, port, reply, session)
        if transaction.table is INVITE_SERVER:
            self._timers.set(("server", key), "PROVISIONAL", now + TRYING_AFTER)
        return transaction

    def adopt(self, key: ServerKey, flow: Flow, port: int, response: bytes, session: str, now: float) -> None:
        """Add an INVITE that an earlier process answered with 2xx; retransmissions get the same response."""
        self._all[key] = transaction = ServerTransaction(key, flow, port, None, session)
        transaction.state, transaction.response = State.ACCEPTED, response
        self._timers.set(("server", key), "END", now + GIVE_UP)

    def respond(self, transaction: ServerTransaction, status: int, data: bytes, now: float) -> None:
        """Send a response; a final one starts the timers of section 17.2."""
        transaction.response = data
        transaction.sent_1xx = transaction.sent_1xx or status < 200
        if status >= 200:
            transaction.reply = None
            self._timers.clear(("server", transaction.key), "PROVISIONAL")
        self._happen(transaction, kind_of(status), now)

    def repeat(self, transaction: ServerTransaction, flow: Flow, now: float) -> None:
        """Answer a retransmitted request on the flow on which it came."""
        transaction.flow = flow
        self._happen(transaction, Input.REQUEST, now)

    def forget(self, transaction: ServerTransaction) -> None:
        """Remove a transaction that was answered."""
        self._timers.clear(("server", transaction.key), "RETRANSMIT", "TIMEOUT", "END")
        self._all.pop(transaction.key, None)

    def settle(self, key: ServerKey) -> None:
        """Remove a 2xx whose ACK has come: the peer needs no copy, and keeping 1 KB for 32 s adds up."""
        transaction = self._all.get(key)
        if transaction is not None:
            transaction.response = b""

    def acknowledge(self, transaction: ServerTransaction, now: float) -> None:
        """Process the ACK of a response other than 2xx."""
        self._happen(transaction, Input.ACK, now)

    def fire(self, key: ServerKey, letter: str, now: float) -> None:
        """Process a timer that fired."""
        transaction = self._all.get(key)
        if transaction and letter == "PROVISIONAL" and transaction.reply:
            self.respond(transaction, 100, transaction.reply.trying(TRYING_AFTER), now)
        elif transaction and letter != "PROVISIONAL":
            self._happen(transaction, Input[letter], now)

    def _happen(self, transaction: ServerTransaction, happened: Input, now: float) -> None:
        transaction.state, actions = step(transaction.table, transaction.state, happened)
        owner = ("server", transaction.key)
        for action in actions:
            if (action is Action.SEND or action is Action.REPEAT) and transaction.response:
                self._send(transaction.flow, transaction.response, transaction.port)
            elif action is Action.REPEAT_FINAL:
                self._timers.set(owner, "TIMEOUT", now + GIVE_UP)
            elif action is Action.WAIT:
                self._timers.set(owner, "END", now + GIVE_UP)
            elif action is Action.WAIT_SHORT:
                self._timers.set(owner, "END", now + T4)
            elif action is Action.STOP:
                self._timers.clear(owner, "RETRANSMIT", "TIMEOUT")
        self._arm_g(transaction, happened, now)
        if transaction.state is State.TERMINATED:
            self._timers.clear(owner, "RETRANSMIT", "TIMEOUT", "END")
            self._all.pop(transaction.key, None)

    def _arm_g(self, transaction: ServerTransaction, happened: Input, now: float) -> None:
        """Arm timer G: T1, doubling up to T2, on UDP only.

        A source address may be forged, so an unknown one gets one answer per copy of its request (section 26.3.2.4).
        Repetitions of ours would make us an amplifier, and a real peer repeats its request until it is answered.
        """
        if transaction.state is not State.COMPLETED or transaction.table is OTHER_SERVER:
            return
        if not transaction.sent_1xx and not self._known(transaction.flow):
            return
        if transaction.flow.transport == "udp" and happened in (Input.FAILURE, Input.RETRANSMIT):
            self._timers.set(("server", transaction.key), "RETRANSMIT", now + transaction.interval)
            transaction.interval = min(2 * transaction.interval, T2)


class ClientTransaction:
    """One request of ours."""

    __slots__ = ("ack", "data", "fallbacks", "flow", "heard", "interval", "key", "sent", "session", "state", "table")

    def __init__(self, key: ClientKey, flow: Flow, data: bytes, session: str, fallbacks: tuple[Flow, ...]) -> None:
        self.key = key  # branch and method
        self.table = INVITE_CLIENT if key[1] == "INVITE" else OTHER_CLIENT
        self.state = State.CALLING if key[1] == "INVITE" else State.TRYING
        self.flow = flow  # on which it was sent
        self.data = data  # the request
        self.ack = b""  # the ACK of a final response to an INVITE
        self.session = session  # to which the request belongs
        self.fallbacks = fallbacks  # flows to try if this one breaks
        self.sent = False  # it may have arrived on a flow that broke
        self.heard = False  # a provisional response came, so the peer lives
        self.interval = T1  # until the next retransmission


class ClientTransactions:
    """Our requests that are being answered or were answered recently."""

    def __init__(self, timers: Timers, send: Transmit) -> None:
        self._timers = timers
        self._send = send
        self._all: dict[ClientKey, ClientTransaction] = {}

    def begin(
        self, key: ClientKey, flow: Flow, data: bytes, session: str, fallbacks: tuple[Flow, ...], now: float
    ) -> ClientTransaction:
        """Send a request and wait for its response."""
        self._all[key] = transaction = ClientTransaction(key, flow, data, session, fallbacks)
        self._timers.set(("client", key), "TIMEOUT", now + GIVE_UP)
        self._transmit(transaction, now)
        return transaction

    def find(self, response: Response) -> ClientTransaction | None:
        """Return the request of ours that a response answers, or None; raise MalformedValue."""
        return self._all.get((response.via.branch or "", response.cseq.method))

    def receive(self, response: Response, now: float) -> tuple[ClientTransaction, bool] | None:
        """Process a response; return its transaction and whether it is new to the user, None if it answers nothing."""
        transaction = self.find(response)
        if transaction is None:
            return None
        to = response.headers.get("To") or ""
        transaction.heard = transaction.heard or response.status < 200
        return transaction, self._happen(transaction, kind_of(response.status), now, to)

    def acknowledge(self, transaction: ClientTransaction, ack: bytes) -> None:
        """Send the ACK of a 2xx and keep it for repetitions of the 2xx (RFC 6026)."""
        transaction.ack = ack
        self._send(transaction.flow, ack)

    def fire(self, key: ClientKey, letter: str, now: float) -> ClientTransaction | None:
        """Process a timer that fired; return the transaction if it timed out."""
        transaction = self._all.get(key)
        if transaction and letter == "RETRANSMIT" and transaction.interval >= T2 and transaction.fallbacks:
            # No response for 3.5 s: this address may be wrong.
            self._next_way(transaction)
        if transaction and self._happen(transaction, Input[letter], now, ""):
            return transaction
        return None

    def lost(self, flow: Flow, now: float) -> list[ClientTransaction]:
        """Send unanswered requests of a broken connection on their next flow, on which the ACK will go too.

        Return those that could not be sent at all because no connection was established. They are removed, unless they
        are a BYE.
        """
        unsent = []
        for transaction in [each for each in self._all.values() if each.flow == flow]:
            waits = transaction.state in (State.CALLING, State.TRYING, State.PROCEEDING, State.CANCELLED)
            transaction.sent = transaction.sent or flow.connection != 0
            if transaction.fallbacks:
                self._next_way(transaction)
                if waits:
                    self._transmit(transaction, now)
            elif waits and not transaction.sent and transaction.key[1] != "BYE":
                self._forget(transaction)
                unsent.append(transaction)
        return unsent

    def _next_way(self, transaction: ClientTransaction) -> None:
        old = transaction.flow.transport
        transaction.flow, *rest = transaction.fallbacks
        transaction.data = _over(transaction.data, old, transaction.flow.transport)
        transaction.fallbacks = tuple(rest)

    def _transmit(self, transaction: ClientTransaction, now: float) -> None:
        self._send(transaction.flow, transaction.data)
        if transaction.flow.transport == "udp":
            self._timers.set(("client", transaction.key), "RETRANSMIT", now + transaction.interval)
            longest = GIVE_UP if transaction.table is INVITE_CLIENT else T2
            transaction.interval = min(2 * transaction.interval, longest)

    def _happen(self, transaction: ClientTransaction, happened: Input, now: float, to: str) -> bool:
        transaction.state, actions = step(transaction.table, transaction.state, happened)
        owner = ("client", transaction.key)
        for action in actions:
            if action is Action.REPEAT:
                self._transmit(transaction, now)
            elif action is Action.STOP:
                self._timers.clear(owner, "RETRANSMIT")
            elif action is Action.WAIT_LONG:
                self._timers.set(owner, "TIMEOUT", now + FINAL_AFTER)
            elif action is Action.CANCEL:
                self._cancel(transaction, now)
            elif action is Action.ACK:
                transaction.ack = transaction.ack or ack_of(transaction.data, to)
                self._send(transaction.flow, transaction.ack)
            elif action in (Action.WAIT, Action.WAIT_SHORT):
                self._timers.clear(owner, "TIMEOUT", "RETRANSMIT")
                self._timers.set(owner, "END", now + (GIVE_UP if action is Action.WAIT else T4))
        if transaction.state is State.TERMINATED:
            self._forget(transaction)
        return Action.DELIVER in actions or Action.REPORT_TIMEOUT in actions

    def _cancel(self, transaction: ClientTransaction, now: float) -> None:
        """Send CANCEL; the INVITE still gets its final response, mostly 487, or none for another 32 s (section 9.1)."""
        self._timers.set(("client", transaction.key), "TIMEOUT", now + GIVE_UP)
        self.begin((transaction.key[0], "CANCEL"), transaction.flow, _beside("CANCEL", transaction.data), "", (), now)

    def _forget(self, transaction: ClientTransaction) -> None:
        self._timers.clear(("client", transaction.key), "RETRANSMIT", "TIMEOUT", "END")
        self._all.pop(transaction.key, None)


def _over(data: bytes, old: str, new: str) -> bytes:
    """Replace the transport in the Via of a request of ours."""
    return data.replace(f"Via: SIP/2.0/{old.upper()} ".encode(), f"Via: SIP/2.0/{new.upper()} ".encode(), 1)


def ack_of(data: bytes, to: str, via: str = "") -> bytes:
    """Write the ACK of a non-2xx: branch and route of the INVITE, To of the response (section 17.1.1.3).

    With a `via` of its own it also serves for a 2xx whose dialog is gone.
    """
    return _beside("ACK", data, to, via)


def _beside(method: str, data: bytes, to: str = "", via: str = "") -> bytes:
    """Write the ACK or CANCEL of an INVITE; without `to` and `via`, theirs are those of the INVITE."""
    invite = parse(data)
    if not isinstance(invite, Request):
        return b""
    made = Request(method, invite.uri)
    for name in ("Via", "Max-Forwards", "Route", "From", "To", "Call-ID"):
        given = {"Via": via, "To": to}.get(name)
        for value in [given] if given else invite.headers.all(name):
            made.headers.add(name, value)
    made.headers.add("CSeq", f"{invite.cseq.number} {method}")
    return bytes(made)
