"""Save a session as a JSON-able dict, so that a restarted process can continue its dialog.

The dict holds tags, CSeqs, route, target, timer, and a 200 that was not acknowledged, with the name of its transaction:
a retransmitted INVITE then gets the same answer and starts no new session. If an offer of ours was not answered, it is
made again after the restart: it may not have arrived, and a client that never hears that a pause has ended would stay
silent. A session whose BYE was not yet answered waits for the peer to repeat it.
"""

from __future__ import annotations

from typing import Any

from sip.errors import RemoteError
from sip.message.header_values import Flow
from sip.message.message import parse
from sip.transaction.layer import ServerKey
from sip.transaction.response import sent_by_port
from sip.transaction.timers import GIVE_UP, T2
from sip.ua.context import Context
from sip.ua.dialog import Dialog
from sip.ua.events import SessionKey
from sip.ua.session import Session
from sip.ua.session_state import OfferState, Phase
from sip.ua.session_timer import SessionTimer

VERSION = 2
ENCODING = "latin-1"  # maps bytes to text and back, one to one
COOKIE_WORDS = 3  # in the name of a transaction with the magic cookie, not counting its Call-ID


def snapshot(session: Session, shift: float) -> dict[str, Any]:
    """Return the state of a session; add `shift` to every deadline."""
    dialog, flow, timer = session.dialog, session.flow, session.session_timer
    ack, offers, expires = session.ack, session.offers, session.due_at("expire")
    return {
        "version": VERSION,
        "key": session.key,
        "call_id": dialog.call_id,
        "remote_tag": dialog.remote_tag,
        "local": dialog.local,
        "remote": dialog.remote,
        "target": dialog.target,
        "routes": list(dialog.routes),
        "secure": dialog.secure,
        "remote_cseq": dialog.remote_cseq,
        "local_cseq": dialog.local_cseq,
        "first_cseq": session.first_cseq,
        "flow": [flow.transport, *flow.local, *flow.remote, flow.listener, list(flow.certificate_names)],
        "names": list(session.names),
        "heard": session.reached,
        "local_sdp": offers.local.decode(ENCODING),
        "takes_update": session.takes_update,
        "takes_info": session.takes_info,
        "takes_snapshot": session.takes_snapshot,
        "quiet": session.paused,
        "timer": [timer.interval, timer.ours, timer.minimum] if timer else None,
        "expires": None if expires is None else expires + shift,
        "unacked": ack.response.decode(ENCODING),
        "unacked_cseq": ack.cseq,
        "unacked_offer": bool(ack) and offers.state is OfferState.OURS,
        "transaction": list(_without_call_id(ack.transaction)) if ack else [],
        "phase": session.phase.value,
        "wanted": (offers.pending or offers.sent).decode(ENCODING),
    }


def revive(context: Context, state: dict[str, Any], now: float, shift: float) -> SessionKey:
    """Restore a session; raise ValueError if the dict is not one of ours."""
    try:
        session = _session(context, state)
        context.sessions.add(session)
        if session.flow.connection:
            context.disconnected.setdefault(session.flow, []).append(session.key)
        if session.phase is Phase.LEAVING:
            # Its BYE was not answered. The peer repeats it and the user is asked again; nothing else will come.
            session.arm("forget", now + GIVE_UP)
            return session.key
        expires = state["expires"] if session.session_timer else None
        if expires is not None:
            session.resume_timer(expires - shift, now)
        else:
            session.restart_timer(now)
        _await_ack(context, session, state, now)
        if session.offers.pending:
            # The earlier answer goes first: the peer repeats that request until its ACK and would refuse a second one.
            session.arm("retry", now + T2)
    except (KeyError, TypeError, ValueError, AttributeError, RemoteError) as error:
        raise ValueError("this is not the saved state of a session of this recorder") from error
    return session.key


def _without_call_id(key: ServerKey) -> ServerKey:
    """Return a transaction name as all versions write it: without the Call-ID, which is that of the dialog."""
    return key[1:] if len(key) == COOKIE_WORDS + 1 else key


def _session(context: Context, state: dict[str, Any]) -> Session:
    if state["version"] != VERSION:
        raise ValueError("version")
    key = SessionKey(state["key"])
    dialog = Dialog(
        call_id=state["call_id"],
        local_tag=key,
        remote_tag=state["remote_tag"],
        local=state["local"],
        remote=state["remote"],
        target=state["target"],
        routes=tuple(state["routes"]),
        secure=state["secure"],
        remote_cseq=state["remote_cseq"],
        local_cseq=state["local_cseq"],
    )
    ending = state["phase"] in (Phase.LEAVING.value, Phase.HANGING_UP.value)
    phase = Phase.LEAVING if ending else Phase.RUNNING
    flow = _flow(state["flow"])
    reached = state.get("heard", not state["unacked"])  # missing in states of older versions
    session = Session(
        key,
        dialog,
        flow,
        state["first_cseq"],
        context.timers,
        phase=phase,
        session_timer=SessionTimer(*state["timer"]) if state["timer"] else None,
        takes_update=state["takes_update"],
        takes_info=bool(state.get("takes_info")),  # also missing there
        takes_snapshot=state["takes_snapshot"],
        paused=bool(state.get("quiet")),  # also missing there
        names=tuple(state.get("names", flow.certificate_names)),  # also missing there
        reached=bool(reached) or flow.transport != "udp",  # on other transports the ACK is no reason to save again
    )
    session.offers.restore(
        local=state["local_sdp"].encode(ENCODING),
        pending=str(state.get("wanted", "")).encode(ENCODING),  # also missing there
    )
    return session


def _flow(values: list[Any]) -> Flow:
    """Restore the flow. Its connection is gone, so it gets a number that no open connection has."""
    transport, host, port, remote_host, remote_port, listener, names = values
    connection = 0 if transport == "udp" else -1
    return Flow(transport, (host, port), (remote_host, remote_port), connection, listener, tuple(names))


def _await_ack(context: Context, session: Session, state: dict[str, Any], now: float) -> None:
    """Keep repeating a 200 until its ACK; on a stream only if it held an offer, since the ACK brings the answer.

    On a stream the connection ended with the earlier process, and the ACK may be lost with it, so a missing ACK ends no
    call. The 200 is sent on a flow that the client opened, or on a new one to where it listens (RFC 3261 section
    18.2.2). If no ACK comes, the offer is made again.
    """
    data, stream = state["unacked"].encode(ENCODING), session.flow.transport != "udp"
    if not data:
        return
    key = tuple(str(word) for word in state["transaction"])
    if len(key) == COOKIE_WORDS:
        key = (session.dialog.call_id, *key)
    if key:
        context.servers.adopt(key, session.flow, sent_by_port(parse(data)), data, session.key, now)
    if stream and not state["unacked_offer"]:
        return
    if state["unacked_offer"]:
        session.offers.send_in_response()
    wait = session.await_uncertain_ack if stream else session.await_ack
    wait(data, key, state["unacked_cseq"], now)
