"""The states of a recording session and what moves it from one to the next, as a table; pure."""

# Theory of operation
# ===================
#
# A recording begins with an INVITE. OPENING: its sockets and its encrypted files are made before the INVITE is
# answered, because what is accepted must be kept. RECORDING: re-offers, holds, metadata and pauses change it while it
# lives, but not its state. It ends with a BYE, with the loss of its dialog, or because the recorder ends it. CLOSING:
# the media worker seals the last part. FINISHING: the last document is written and everything is made durable; only
# then is the BYE answered and the recording OVER.
#
#     NEW --OFFER--> OPENING --ANSWER--> RECORDING --END--> CLOSING --SEALED--> FINISHING --RELEASE--> OVER
#
# - An offer that is refused or withdrawn before its answer changes nothing (RFC 3261 section 14.2). For a first offer
#   that means that there never was a recording: REJECT leads to OVER, and nothing is written. This can happen even in
#   RECORDING, which starts when the answer is made: it may then be too late to send the answer. A later offer that
#   fails restores what was agreed before, and the state stays.
# - RELEASE is allowed in every state: after an internal error a recording is released wherever it is.
# - An input that the table does not list for a state is refused or ignored.
#
# The table lists all state transitions. `Recording` (recorder.session.session) holds the state, and nothing else
# changes it.

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum


class State(Enum):
    """Where a recording is in its life."""

    __hash__ = object.__hash__  # Enum's is a Python function, and each look-up in a table calls it

    NEW = "new"
    OPENING = "opening"
    RECORDING = "recording"
    CLOSING = "closing"
    FINISHING = "finishing"
    OVER = "over"


class Input(Enum):
    """What moves a recording from state to state."""

    __hash__ = object.__hash__

    OFFER = "an offer is taken up, the client's or ours"
    ANSWER = "the offer is answered"
    REJECT = "the first offer is refused or withdrawn"
    END = "the dialog ends"
    SEALED = "the media worker has sealed the last part"
    RELEASE = "everything held for the recording is released"


TRANSITIONS: Mapping[State, Mapping[Input, State]] = {
    State.NEW: {Input.OFFER: State.OPENING, Input.REJECT: State.OVER, Input.RELEASE: State.OVER},
    State.OPENING: {Input.ANSWER: State.RECORDING, Input.REJECT: State.OVER, Input.RELEASE: State.OVER},
    State.RECORDING: {
        Input.OFFER: State.RECORDING,
        Input.ANSWER: State.RECORDING,
        Input.REJECT: State.OVER,
        Input.END: State.CLOSING,
        Input.RELEASE: State.OVER,
    },
    State.CLOSING: {Input.SEALED: State.FINISHING, Input.RELEASE: State.OVER},
    State.FINISHING: {Input.RELEASE: State.OVER},
    State.OVER: {Input.RELEASE: State.OVER},
}
