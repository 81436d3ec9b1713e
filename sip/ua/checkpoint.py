"""A session as a JSON-able dict, so that a restarted process goes on with its dialogs.

Kept: tags, CSeqs, route, target, timer, and a 200 that was not acknowledged, with the name of its transaction, so that
a retransmitted INVITE gets the same answer and begins nothing new. An offer of ours without its answer is made again:
nobody knows whether it arrived, and a client that was never told of the end of a pause would stay silent. A session
whose BYE was not answered yet waits for its repetition.
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
ENCODING = "latin-1"  # bytes to text and back, one to one
COOKIE_WORDS = 3  # of the name of a transaction with the magic cookie, without its Call-ID


def snapshot(session: Session, shift: float) -> dict[str, Any]:
    """Describe a session; `shift` is added to every deadline."""
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
        "timer": [timer.interval, timer.ours] if timer else None,
        "expires": None if expires is None else expires + shift,
        "unacked": ack.response.decode(ENCODING),
        "unacked_cseq": ack.cseq,
        "unacked_offer": bool(ack) and offers.state is OfferState.OURS,
        "transaction": list(_without_call_id(ack.transaction)) if ack else [],
        "phase": session.phase.value,
        "wanted": (offers.pending or offers.sent).decode(ENCODING),
    }


def revive(context: Context, state: dict[str, Any], now: float, shift: float) -> SessionKey:
    """Take up a session; raise ValueError if the dict is none of ours."""
    try:
        session = _session(context, state)
        context.sessions.add(session)
        if session.flow.connection:
            context.disconnected.setdefault(session.flow, []).append(session.key)
        if session.phase is Phase.LEAVING:
            # Its BYE was not answered: the peer repeats it, and is asked about anew. After that nothing will come.
            session.arm("forget", now + GIVE_UP)
            return session.key
        expires = state["expires"] if session.session_timer else None
        if expires is not None:
            session.resume_timer(expires - shift, now)
        else:
            session.restart_timer(now)
        _await_ack(context, session, state, now)
        if session.offers.pending:
            # First the answer to the one before, which the peer repeats until its ACK, or it would refuse a second one.
            session.arm("retry", now + T2)
    except (KeyError, TypeError, ValueError, AttributeError, RemoteError) as error:
        raise ValueError("not a session of this recorder") from error
    return session.key


def _without_call_id(key: ServerKey) -> ServerKey:
    """Give a transaction's name as all versions write it; its Call-ID is that of the dialog."""
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
    reached = state.get("heard", not state["unacked"])  # a version before this one did not keep it
    session = Session(
        key,
        dialog,
        flow,
        state["first_cseq"],
        context.timers,
        phase=phase,
        session_timer=SessionTimer(*state["timer"]) if state["timer"] else None,
        takes_update=state["takes_update"],
        takes_info=bool(state.get("takes_info")),  # nor this
        takes_snapshot=state["takes_snapshot"],
        paused=bool(state.get("quiet")),  # nor this
        names=tuple(state.get("names", flow.certificate_names)),  # nor keep them apart
        reached=bool(reached) or flow.transport != "udp",  # there the ACK is no reason to save it anew
    )
    session.offers.restore(
        local=state["local_sdp"].encode(ENCODING),
        pending=str(state.get("wanted", "")).encode(ENCODING),  # nor did it keep this
    )
    return session


def _flow(values: list[Any]) -> Flow:
    """Rebuild the flow; a connection did not survive, so it gets a number that no living one has."""
    transport, host, port, remote_host, remote_port, listener, names = values
    connection = 0 if transport == "udp" else -1
    return Flow(transport, (host, port), (remote_host, remote_port), connection, listener, tuple(names))


def _await_ack(context: Context, session: Session, state: dict[str, Any], now: float) -> None:
    """Go on repeating a 200 until its ACK; on a stream only one with an offer, whose answer the ACK brings.

    There the connection went with the process, and perhaps the ACK: its absence ends no call. The 200 goes by a flow of
    the client's, or by a new one to where it listens (RFC 3261 section 18.2.2). Then the offer is made anew.
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
