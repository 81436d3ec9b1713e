"""Our own requests in a dialog (BYE, re-INVITE, refresh) and their responses (RFC 3261 12.2.1, 14.1, 15.1.1)."""

from __future__ import annotations

from sip.errors import MalformedMessage
from sip.message.body import contents
from sip.message.header_values import Flow, NameAddr
from sip.message.message import Request, Response
from sip.message.uri import Uri, host_port
from sip.transaction.layer import ClientTransaction, ack_of
from sip.transaction.response import ALLOW, SUPPORTED, TLS_PORT, UDP_PORT
from sip.transaction.timers import GIVE_UP
from sip.ua.context import Context, contact, same_host
from sip.ua.events import Ending, Expired, Informed, Numbered, Probed, Reanswered, Withdrawn
from sip.ua.session import SNAPSHOT_REQUEST, Session
from sip.ua.session_state import Phase, PhaseInput

# Requests longer than this go over TCP, so that they are not fragmented (RFC 3261 section 18.1.1).
LONGEST_DATAGRAM = 1300
# Longest wait in seconds before we repeat a re-INVITE after glare; we never own the Call-ID (section 14.1).
GLARE_WAIT = 2.0
# The peer may take the same offer later if its response says when (sections 14.2 and 21.5.4).
BUSY = frozenset({500, 503})
# Bounds of that wait in seconds: the RFC has at most ten, and a peer that names a longer one does not want the offer.
SHORTEST_WAIT, LONGEST_WAIT = 1.0, 32.0
# Boundary of our multipart bodies; nothing that we put into them contains it.
BOUNDARY = b"srs-recorder-part"
# Body that asks for a picture without RTCP (RFC 5168 section 7).
MEDIA_CONTROL = "application/media_control+xml"
FAST_UPDATE = (
    b'<?xml version="1.0" encoding="utf-8"?>\r\n<media_control><vc_primitive><to_encoder><picture_fast_update/>'
    b"</to_encoder></vc_primitive></media_control>\r\n"
)
# The peer does not know the dialog any more (section 12.2.1.2).
GONE = frozenset({408, 481})
# The peer does not support UPDATE after all.
NO_UPDATE = frozenset({405, 501})


class UserAgentClient:
    """Send our requests and process the responses."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def hang_up(self, session: Session, reason: str, now: float) -> None:
        """Send BYE; before the ACK of our first 200 it has to wait (section 15)."""
        if session.phase is not Phase.RUNNING:
            return
        if session.ack:
            session.hang_up_later(reason)
            return
        self.bye(session, reason, now)

    def bye(self, session: Session, reason: str, now: float) -> None:
        """Send BYE now and drop everything else that is under way."""
        if not session.hang_up():
            return
        self.withdraw(session, now)
        text = _plain(reason)
        extra = f'Reason: SIP;cause=200;text="{text}"\r\n' if text else ""
        self._request(session, "BYE", extra, b"", now, with_contact=False)

    def reoffer(self, session: Session, sdp: bytes, now: float, *, paused: bool) -> None:
        """Send a re-INVITE with our offer as soon as no other offer is open."""
        session.reoffer(sdp, paused=paused)
        self.catch_up(session, now)

    def catch_up(self, session: Session, now: float) -> None:
        """Do what had to wait for an ACK or an answer."""
        if not session.settled:
            return
        if session.waiting_bye is not None:
            self.bye(session, session.waiting_bye, now)
        elif session.offers.pending and session.free_to_offer:
            session.disarm("retry")
            self._reinvite(session, session.offers.pending, now)

    def flow_found(self, session: Session, before: Flow, now: float) -> None:
        """Note whether a message brought a flow where `before` there was none, and send what waited for it.

        On a stream, nothing can be sent to a peer whose connection is gone (mostly with an earlier process of ours)
        until a connection leads to it: one that we open to where it listens, or one that it opens. The latter is
        recognised by the first message of a dialog on it. Dialogs that shared a connection of an earlier process share
        the next one, if the certificate shows the same peer, or the address where there is no certificate (RFC 5923).
        """
        flow, alive = session.flow, self._context.alive
        if alive(before) or not alive(flow):
            return
        self._send_waiting(session, now)
        if _peer(before) != _peer(flow):
            return
        for key in self._context.disconnected.pop(before, ()):
            other = self._context.sessions.get(key)
            if other and other.flow == before:
                other.move_to(flow)
                self._send_waiting(other, now)

    def _send_waiting(self, session: Session, now: float) -> None:
        """Repeat a 200 that waits for its ACK; otherwise do what had to wait."""
        if not session.flow_found():
            return
        if session.ack:
            self._context.send(session.flow, session.ack.response)
        else:
            self.catch_up(session, now)

    def refresh(self, session: Session, now: float) -> None:
        """Refresh the session: by UPDATE if the peer supports it, otherwise by offering our last SDP again."""
        if session.takes_update:
            self._request(session, "UPDATE", self._refresh_lines(session), b"", now)
        elif session.offers.local and not session.offers.pending:
            self.reoffer(session, session.offers.local, now, paused=session.paused)

    def ask_snapshot(self, session: Session, reason: str, now: float) -> bool:
        """Ask for the complete metadata (RFC 7866 section 9.2), only if the peer's Accept names such requests.

        Other peers would take the body for SDP. Sent by UPDATE, or else by re-INVITE with our last SDP. Return False if
        it cannot be sent now.
        """
        if not session.count_snapshot():
            return False
        text = f"SRS-Reason: {_plain(reason)}\r\n".encode()
        lines = self._refresh_lines(session)
        if session.takes_update:
            lines += "Content-Disposition: recording-session\r\n"
            self._request(session, "UPDATE", lines, text, now, kind=SNAPSHOT_REQUEST)
            return True
        body = b"".join(
            b"--%s\r\nContent-Type: %s\r\n%s\r\n%s\r\n" % (BOUNDARY, kind.encode(), extra, part)
            for kind, extra, part in (
                ("application/sdp", b"", session.offers.local),
                (SNAPSHOT_REQUEST, b"Content-Disposition: recording-session\r\n", text),
            )
        )
        session.offers.send(session.offers.local)
        mixed = f"multipart/mixed;boundary={BOUNDARY.decode()}"
        self._request(session, "INVITE", lines, body + b"--%s--\r\n" % BOUNDARY, now, kind=mixed)
        return True

    def probe(self, session: Session, now: float) -> bool:
        """Ask whether the peer still knows the dialog; return False if it cannot be asked now.

        Prefer UPDATE without an offer, since some peers answer an OPTIONS in any dialog (section 11.2).
        """
        if not session.settled or session.probe:
            return False
        if session.takes_update:
            branch = self._request(session, "UPDATE", self._refresh_lines(session), b"", now)
        else:
            branch = self._request(session, "OPTIONS", "Accept: application/sdp\r\n", b"", now)
        session.probing(branch)
        return True

    def ask_picture(self, session: Session, now: float) -> bool:
        """Ask for a full picture by INFO (RFC 5168) if the peer's Allow names it; return False if it cannot be sent."""
        if not session.settled or not session.takes_info:
            return False
        self._request(session, "INFO", "", FAST_UPDATE, now, with_contact=False, kind=MEDIA_CONTROL)
        return True

    def answered(self, transaction: ClientTransaction, response: Response, now: float) -> None:
        """Process a final response to a request of ours."""
        session = self._context.sessions.get(transaction.session)
        method = transaction.key[1]
        if method == "INVITE" and response.status < 300:
            # Whatever the state of the session: without an ACK the peer would repeat its 2xx.
            self._context.clients.acknowledge(transaction, self._ack(transaction, response))
        if session is None:
            return
        probed = self._probed(session, transaction, response.status)
        if method == "BYE":
            self._over(session)
        elif method == "INVITE":
            self._reinvite_answered(session, response, now)
        elif method == "UPDATE" and not (probed and response.status in GONE):
            self._update_answered(session, response, now)

    def expected(self, response: Response, flow: Flow) -> bool:
        """Return whether a response comes from where its request went, or from the owner; True if it answers none."""
        transaction = self._context.clients.find(response)
        if transaction is None:
            return True
        session = self._context.sessions.get(transaction.session)
        if session is None or not session.keeps_to(flow):
            return session is None and same_host(flow, transaction.flow)
        return same_host(flow, transaction.flow) or self._context.authorization(session, flow, None) == ()

    def stray(self, response: Response, flow: Flow) -> bool:
        """Acknowledge a 2xx to a re-INVITE of an earlier process; without its ACK the peer would hang up."""
        if response.cseq.method != "INVITE" or not 200 <= response.status < 300:
            return False
        ours, theirs = (NameAddr.parse_leniently(response.headers.get(name) or "").tag for name in ("From", "To"))
        session = self._context.sessions.of_dialog(response.call_id, ours or "", theirs or "")
        if session is None or session.phase is not Phase.RUNNING:
            return False
        if self._context.authorization(session, flow, None) != ():
            return False
        out = flow if flow.connection else self._flows(session)[0]
        via = _via(out, self._context.branch())
        self._context.send(out, session.dialog.request("ACK", response.cseq.number, via, "", "", b"", ""))
        return True

    def timed_out(self, transaction: ClientTransaction, now: float) -> None:
        """Treat the peer as gone if nothing came for 32 s; a provisional response shows that it is not."""
        session = self._context.sessions.get(transaction.session)
        if session is None or self._probed(session, transaction, 408):
            return
        method = transaction.key[1]
        if method == "BYE":
            self._over(session)
        elif transaction.heard and method == "INVITE":
            self._refused(session, 487, now)
        elif transaction.heard:
            session.retry_refresh(now)
        elif method != "INFO":  # an unanswered picture request is no reason to end a recording
            self.gone(session, now, bye=True)

    def unsent(self, transaction: ClientTransaction, now: float) -> None:
        """Continue although no flow leads to the peer: this counts as a 503, which ends no dialog (8.1.3.1, 12.2.1.2).

        An offer waits until the peer is heard of again, and is retried now and then.
        """
        session = self._context.sessions.get(transaction.session)
        if session is None or self._probed(session, transaction, 408) or session.phase is not Phase.RUNNING:
            return
        if transaction.key[1] == "INVITE":
            session.offers.postpone()
            session.wait_for_flow()
            heard = session.flow.connection in self._context.connections  # by the peer, while this flow was tried
            session.arm("retry", now if heard else now + GIVE_UP)
        elif transaction.key[1] == "UPDATE":
            session.retry_refresh(now)

    def expire(self, session: Session, ending: Ending, now: float) -> None:
        """End a session ourselves and report the reason."""
        if session.phase is Phase.RUNNING:
            self._context.emit(Expired(session.key, ending))
            self.bye(session, ending.value, now)

    def gone(self, session: Session, now: float, *, bye: bool) -> None:
        """End a session whose dialog is lost; send a BYE only if the peer may still know it."""
        if bye:
            self.expire(session, Ending.DIALOG_GONE, now)
        elif session.turn(PhaseInput.OVER):
            self.withdraw(session, now)
            self._context.emit(Expired(session.key, Ending.DIALOG_GONE))
            self._context.close(session)

    def withdraw(self, session: Session, now: float) -> None:
        """Answer 487 to a re-INVITE or UPDATE that the user has not answered yet."""
        context = self._context
        token = session.close_question()
        question = context.questions.pop(token, None) if token is not None else None
        if question is None or token is None:
            return
        session.offers.refuse()
        transaction = context.servers.find(question.transaction)
        if transaction and transaction.reply:
            context.servers.respond(transaction, 487, transaction.reply.compose(487), now)
        context.emit(Withdrawn(session.key, token))

    def _probed(self, session: Session, transaction: ClientTransaction, status: int) -> bool:
        """Report the result of a probe to the user; return False if the request was no probe."""
        if not session.probed(transaction.key[0]):
            return False
        if session.phase is Phase.RUNNING:
            self._context.emit(Probed(session.key, status))
        return True

    def _over(self, session: Session) -> None:
        """Close after our BYE whatever the answer was: some clients answer 405 or 481 and still end the session."""
        if session.turn(PhaseInput.OVER):
            self._context.close(session)

    def _reinvite(self, session: Session, sdp: bytes, now: float) -> None:
        session.offers.send(sdp)
        self._request(session, "INVITE", self._refresh_lines(session), sdp, now)

    def _reinvite_answered(self, session: Session, response: Response, now: float) -> None:
        if session.phase is not Phase.RUNNING:
            return
        wait = self._wait(session, response)
        if response.status < 300:
            sdp = session.offers.answered(accepted=True)
            found = contents(response.headers, response.body)
            session.refreshed(response.headers, now)
            self._report_metadata(session, "INVITE", response, found.metadata)
            self._context.emit(Reanswered(session.key, response.status, found.offer, found.metadata, sdp))
            self.catch_up(session, now)
        elif response.status in GONE:
            session.offers.answered(accepted=False)
            self.gone(session, now, bye=False)
        elif wait is not None:
            session.offers.postpone()
            session.arm("retry", now + wait)
        else:
            self._refused(session, response.status, now)

    def _wait(self, session: Session, response: Response) -> float | None:
        """Return the seconds until a refused offer of ours is made again, None for never (sections 14.1 and 14.2)."""
        if response.status == 491:
            return GLARE_WAIT * self._context.random(1)[0] / 256
        if response.status == 422 and session.raise_interval(response.headers):
            return 0.0
        seconds = _retry_after(response) if response.status in BUSY else None
        return None if seconds is None or seconds > LONGEST_WAIT else max(SHORTEST_WAIT, seconds)

    def _refused(self, session: Session, status: int, now: float) -> None:
        """Continue as before a re-INVITE that was refused (section 14.1)."""
        sdp = session.offers.answered(accepted=False)
        session.retry_refresh(now)
        self._context.emit(Reanswered(session.key, status, None, None, sdp))
        self.catch_up(session, now)

    def _update_answered(self, session: Session, response: Response, now: float) -> None:
        if session.phase is not Phase.RUNNING:
            return
        if response.status < 300:
            session.refreshed(response.headers, now)
            found = contents(response.headers, response.body)
            self._report_metadata(session, "UPDATE", response, found.metadata)
        elif response.status in GONE:
            self.gone(session, now, bye=False)
        elif response.status in NO_UPDATE:
            session.unlearn_update()
            if session.session_timer and session.session_timer.ours:
                self.refresh(session, now)
        elif response.status == 422 and session.raise_interval(response.headers):
            self.refresh(session, now)
        else:
            session.retry_refresh(now, _retry_after(response) or 0.0)

    def _report_metadata(self, session: Session, method: str, response: Response, metadata: bytes | None) -> None:
        """Report metadata in a response as if they had come in a request (RFC 7866 section 9.1)."""
        if metadata is not None:
            request = Request(method, session.dialog.target, headers=response.headers, body=response.body)
            self._context.emit(Informed(session.key, session.flow, request, metadata, method))

    def _refresh_lines(self, session: Session) -> str:
        timer = session.session_timer
        # We are the client of this request; whoever refreshed so far goes on doing so.
        expires = f"Session-Expires: {timer.interval};refresher={'uac' if timer.ours else 'uas'}\r\n" if timer else ""
        expires += f"Min-SE: {timer.minimum}\r\n" if timer and timer.minimum else ""
        return f"Allow: {ALLOW}\r\nSupported: {SUPPORTED}\r\n{expires}"

    def _request(
        self,
        session: Session,
        method: str,
        extra: str,
        body: bytes,
        now: float,
        *,
        with_contact: bool = True,
        kind: str = "application/sdp",
    ) -> str:
        """Send a request and return its branch."""
        dialog = session.dialog
        cseq = dialog.next_cseq()
        if session.phase is Phase.RUNNING:
            self._context.emit(Numbered(session.key))
        branch = self._context.branch()
        flow, *others = self._flows(session)
        text = contact(session, self._context.settings.contact_host) if with_contact else ""
        data = dialog.request(method, cseq, _via(flow, branch), text, extra, body, kind)
        if flow.transport == "udp" and len(data) > LONGEST_DATAGRAM:
            # The peer may not listen on TCP; then the request is sent by datagram after all.
            stream = Flow("tcp", flow.local, flow.remote, 0, flow.listener)
            data = dialog.request(method, cseq, _via(stream, branch), text, extra, body, kind)
            flow, others = stream, [flow, *others]
        self._context.clients.begin((branch, method), flow, data, session.key, tuple(others), now)
        return branch

    def _flows(self, session: Session) -> list[Flow]:
        """Return the flows to try: the open connection of the dialog, then route or Contact, then the last source.

        The transport resolves names. Behind NAT the Contact often leads nowhere, and UDP reports no failure, so there
        the last source is tried as well when no response comes.
        """
        flow = session.flow
        target = _target(session.dialog.next_hop(), flow)
        if target and not session.reached and not same_host(target, flow):
            target = None  # the sender of the INVITE may have named any address
        if target and session.owner and self._context.is_foreign(session.owner, target):
            target = None  # private addresses are reused: somebody else could read and answer it there
        if flow.connection:
            alive = [flow] if self._context.alive(flow) else []
            return [*alive, target] if target else alive or [flow]
        return [target, flow] if target and target != flow else [flow]

    def _ack(self, transaction: ClientTransaction, response: Response) -> bytes:
        """Write the ACK of a 2xx, which is a request of its own (section 13.2.2.4)."""
        session = self._context.sessions.get(transaction.session)
        number = response.cseq.number
        via = _via(transaction.flow, self._context.branch())
        if session is None:
            return ack_of(transaction.data, response.headers.get("To") or "", via)
        return session.dialog.request("ACK", number, via, "", "", b"", "")


def _retry_after(response: Response) -> float | None:
    """Return the seconds of Retry-After (section 20.33), None without a readable one."""
    digits = (response.headers.get("Retry-After") or "").partition(";")[0].partition("(")[0].strip()
    return float(digits[:9]) if digits.isascii() and digits.isdigit() else None


def _plain(reason: str) -> str:
    """Remove from a reason what would need quoting or could end a line."""
    return "".join(c for c in reason if c.isascii() and (c.isalnum() or c in " -_."))


def _via(flow: Flow, branch: str) -> str:
    host, port = flow.local
    return f"SIP/2.0/{flow.transport.upper()} {host_port(host.partition('%')[0], port)};branch={branch};rport"


def _target(text: str, flow: Flow) -> Flow | None:
    """Return a flow to a URI (RFC 3263 without DNS): its address, port and transport."""
    try:
        uri = Uri.parse(text)
    except MalformedMessage:
        return None
    if uri.scheme not in ("sip", "sips") or not uri.host:
        return None
    transport = (uri.param("transport") or flow.transport).lower()
    # A peer that came over TLS is never answered in the clear.
    transport = flow.transport if flow.transport == "tls" or transport not in ("udp", "tcp", "tls") else transport
    port = uri.port or (TLS_PORT if transport == "tls" else UDP_PORT)
    return Flow(transport, flow.local, (uri.host, port), 0, flow.listener, flow.certificate_names)


def _peer(flow: Flow) -> tuple[str, str, tuple[str, ...]]:
    """Return what two connections of the same peer have in common."""
    return flow.transport, flow.remote[0], flow.certificate_names
