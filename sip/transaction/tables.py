"""The transactions of RFC 3261 section 17 and RFC 6026, as tables.

A transaction has a state; a message or a timer is an input; the table gives the next state and the actions. The tables
know neither bytes nor time: `sip.transaction.layer` performs the actions and sets the timers.

Server transactions differ from the RFC in three points, each in favour of the peer:
* The session repeats the 2xx of an INVITE until its ACK, on every transport (13.3.1.4). ACCEPTED only answers
  retransmitted INVITEs, with the same bytes.
* Timers I and J run on streams too, because a peer that lost its connection repeats the request on a new one.
* A retransmission before the first response is not answered (100 follows after 200 ms).
"""

from __future__ import annotations

from enum import Enum

from sip.message.value import TableKey


class State(TableKey):
    """The states of all four machines."""

    TRYING = "trying"  # non-INVITE, no response yet
    PROCEEDING = "proceeding"  # INVITE server without a final response; client with a provisional one
    CALLING = "calling"  # INVITE client without any response
    COMPLETED = "completed"  # final response (not 2xx of an INVITE) sent or received
    CANCELLED = "cancelled"  # INVITE client: CANCEL sent, no final response yet
    CONFIRMED = "confirmed"  # ACK of a non-2xx received
    ACCEPTED = "accepted"  # 2xx of an INVITE sent or received (RFC 6026)
    TERMINATED = "terminated"  # to be removed


class Input(TableKey):
    """What can happen to a transaction."""

    REQUEST = "request"  # server: the request was retransmitted
    ACK = "ack"  # server: ACK of a non-2xx
    PROVISIONAL = "1xx"  # server: to be sent; client: received
    SUCCESS = "2xx"
    FAILURE = "3xx-6xx"
    RETRANSMIT = "retransmit"  # timer A, E or G
    TIMEOUT = "timeout"  # timer B, C, F or H
    END = "end"  # timer D, I, J, K, L or M


class Action(Enum):
    """What the tables ask the layer to do."""

    REPEAT = "repeat"  # server: send the last response again; client: send the request again
    REPEAT_FINAL = "repeat-final"  # arm the retransmission of a final response (unreliable transport only)
    SEND = "send"  # server: send the new response
    STOP = "stop"  # no more retransmissions
    WAIT = "wait"  # arm the timer that ends the transaction
    WAIT_SHORT = "wait-short"  # the same for T4
    WAIT_LONG = "wait-long"  # client: arm the timer that ends the wait for a final response after a provisional one
    CANCEL = "cancel"  # client: send CANCEL, and wait once more
    ACK = "ack"  # client: acknowledge a non-2xx
    DELIVER = "deliver"  # client: give the response to the user
    REPORT_TIMEOUT = "report-timeout"  # tell the user that no response came


Step = tuple[State, tuple[Action, ...]]
Table = dict[tuple[State, Input], Step]

# Short names for the tables only; H is the input.
S, H, A = State, Input, Action

INVITE_SERVER: Table = {
    (S.PROCEEDING, H.REQUEST): (S.PROCEEDING, (A.REPEAT,)),
    (S.PROCEEDING, H.PROVISIONAL): (S.PROCEEDING, (A.SEND,)),
    (S.PROCEEDING, H.SUCCESS): (S.ACCEPTED, (A.SEND, A.WAIT)),
    (S.PROCEEDING, H.FAILURE): (S.COMPLETED, (A.SEND, A.REPEAT_FINAL)),
    (S.ACCEPTED, H.REQUEST): (S.ACCEPTED, (A.REPEAT,)),
    (S.ACCEPTED, H.END): (S.TERMINATED, ()),
    (S.COMPLETED, H.REQUEST): (S.COMPLETED, (A.REPEAT,)),
    (S.COMPLETED, H.RETRANSMIT): (S.COMPLETED, (A.REPEAT,)),
    (S.COMPLETED, H.ACK): (S.CONFIRMED, (A.STOP, A.WAIT_SHORT)),
    (S.COMPLETED, H.TIMEOUT): (S.TERMINATED, ()),
    (S.CONFIRMED, H.END): (S.TERMINATED, ()),
}

OTHER_SERVER: Table = {
    (S.TRYING, H.SUCCESS): (S.COMPLETED, (A.SEND, A.WAIT)),
    (S.TRYING, H.FAILURE): (S.COMPLETED, (A.SEND, A.WAIT)),
    (S.COMPLETED, H.REQUEST): (S.COMPLETED, (A.REPEAT,)),
    (S.COMPLETED, H.END): (S.TERMINATED, ()),
}

INVITE_CLIENT: Table = {
    (S.CALLING, H.RETRANSMIT): (S.CALLING, (A.REPEAT,)),
    (S.CALLING, H.TIMEOUT): (S.TERMINATED, (A.REPORT_TIMEOUT,)),
    (S.CALLING, H.PROVISIONAL): (S.PROCEEDING, (A.STOP, A.WAIT_LONG)),
    (S.CALLING, H.SUCCESS): (S.ACCEPTED, (A.STOP, A.DELIVER, A.WAIT)),
    (S.CALLING, H.FAILURE): (S.COMPLETED, (A.STOP, A.ACK, A.DELIVER, A.WAIT)),
    (S.PROCEEDING, H.PROVISIONAL): (S.PROCEEDING, ()),
    (S.PROCEEDING, H.SUCCESS): (S.ACCEPTED, (A.DELIVER, A.WAIT)),
    (S.PROCEEDING, H.FAILURE): (S.COMPLETED, (A.ACK, A.DELIVER, A.WAIT)),
    (S.PROCEEDING, H.TIMEOUT): (S.CANCELLED, (A.CANCEL,)),
    (S.CANCELLED, H.SUCCESS): (S.ACCEPTED, (A.DELIVER, A.WAIT)),
    (S.CANCELLED, H.FAILURE): (S.COMPLETED, (A.ACK, A.DELIVER, A.WAIT)),
    (S.CANCELLED, H.TIMEOUT): (S.TERMINATED, (A.REPORT_TIMEOUT,)),
    (S.ACCEPTED, H.SUCCESS): (S.ACCEPTED, (A.ACK,)),
    (S.ACCEPTED, H.END): (S.TERMINATED, ()),
    (S.COMPLETED, H.FAILURE): (S.COMPLETED, (A.ACK,)),
    (S.COMPLETED, H.END): (S.TERMINATED, ()),
}

OTHER_CLIENT: Table = {
    (S.TRYING, H.RETRANSMIT): (S.TRYING, (A.REPEAT,)),
    (S.TRYING, H.TIMEOUT): (S.TERMINATED, (A.REPORT_TIMEOUT,)),
    (S.TRYING, H.PROVISIONAL): (S.PROCEEDING, ()),
    (S.TRYING, H.SUCCESS): (S.COMPLETED, (A.STOP, A.DELIVER, A.WAIT_SHORT)),
    (S.TRYING, H.FAILURE): (S.COMPLETED, (A.STOP, A.DELIVER, A.WAIT_SHORT)),
    (S.PROCEEDING, H.RETRANSMIT): (S.PROCEEDING, (A.REPEAT,)),
    (S.PROCEEDING, H.TIMEOUT): (S.TERMINATED, (A.REPORT_TIMEOUT,)),
    (S.PROCEEDING, H.SUCCESS): (S.COMPLETED, (A.STOP, A.DELIVER, A.WAIT_SHORT)),
    (S.PROCEEDING, H.FAILURE): (S.COMPLETED, (A.STOP, A.DELIVER, A.WAIT_SHORT)),
    (S.COMPLETED, H.END): (S.TERMINATED, ()),
}


def step(table: Table, state: State, happened: Input) -> Step:
    """Return the next state and the actions; an input that the table does not list changes nothing."""
    return table.get((state, happened)) or (state, ())


def kind_of(status: int) -> Input:
    """Return the input that a status code stands for."""
    if status < 200:
        return Input.PROVISIONAL
    return Input.SUCCESS if status < 300 else Input.FAILURE
