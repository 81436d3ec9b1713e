"""One call that is being recorded: its recording, its files, its sockets, and what is known of its client."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from recorder.calls.call_files import CallFiles
from recorder.calls.fd_store import CallSockets
from recorder.calls.stream_specs import former_keys, keys_to_state
from recorder.session import commands as c
from recorder.session import events as e
from recorder.session.index_row import forms_of
from recorder.session.session import Recording
from recorder.workers.messages import Key
from sip.ua.events import SessionKey
from storage.calls.call_document import CallDocument
from storage.customer.customers import Customer

NONE: frozenset[int] = frozenset()
"""No stream; one object for all calls."""

SPOOL_LABEL = "spool"
"""Of a recording's leaf (docs/formats/keytree.md)."""

NO_ANSWER = 408
"""RFC 3261 section 12.2.1.2, but also what is said where nothing answered at all."""


@dataclass(slots=True)
class LiveCall:
    """A recording together with what the daemon holds open for it."""

    recording: Recording
    customer: Customer
    leaf: int
    session: SessionKey
    files: CallFiles = field(init=False)
    sockets: CallSockets = field(init=False)
    started: bool = False  # a worker has it
    acknowledged: bool = True  # the client is known to have our answer; False: it has not acknowledged it yet
    stranded: bool = False  # its worker died and no new part could be made yet
    pictured: frozenset[int] = NONE  # video streams a whole picture of which was asked for by INFO
    replaces: str | None = None  # the call that ends when the client has our answer to this one
    dirty: bool = False  # the checkpoint is older than the recording
    heard: float = field(default_factory=time.monotonic)  # when media (as a worker said) or a request last came
    probed: float = 0.0  # when the client was last asked whether the call exists
    unanswered: int = 0  # questions of that kind in a row that led nowhere
    people: int = 0  # hash of what `forms` were made of
    forms: str = field(default="", repr=False)  # search forms of the parties, joined by NUL: a fifth of a tuple's size

    def __post_init__(self) -> None:
        self.files = CallFiles(self.customer, self.id, self.leaf)
        self.sockets = CallSockets()

    @property
    def id(self) -> str:
        """Return the call id."""
        return self.recording.id

    @property
    def spool_key(self) -> bytes:
        """Give the key of what a media worker leaves for its successor; raises Forgotten if the leaf was cut."""
        return self.customer.keys.secret(self.leaf, SPOOL_LABEL)

    def handle(self, event: e.Event, now: e.Now) -> list[c.Command]:
        """Give the recording an event; its checkpoint is out of date then."""
        self.dirty = True
        return self.recording.handle(event, now)

    # ---- its worker ----
    def taken(self) -> None:
        """Note that a worker has the call."""
        self.files.handed_over()
        self.started, self.stranded = True, False

    def strand(self) -> None:
        """Note that the worker died."""
        self.stranded = True

    # ---- its client ----
    def await_ack(self) -> None:
        """Note that media go to a worker before the client can know of our answer."""
        self.acknowledged = False

    def noticed(self, now: float) -> None:
        """Take something that the client sent for a proof that the call exists."""
        self.heard = now

    def has_answer(self) -> bool:
        """Note that the client has our answer; tell whether that is news."""
        news, self.acknowledged = not self.acknowledged, True
        return news

    def asked(self, now: float) -> None:
        """Note that the client is asked whether the call exists."""
        self.probed = now

    def answered(self, status: int) -> int:
        """Take the answer to that; return how many questions in a row led nowhere."""
        self.unanswered = self.unanswered + 1 if status == NO_ANSWER and self.heard <= self.probed else 0
        return self.unanswered

    def quiet_since(self) -> float:
        """Return when the client was last heard, or asked about."""
        return max(self.heard, self.probed)

    def begins_video(self) -> bool:
        """Tell whether video begins or goes on and RTCP cannot ask for a whole picture; true once each time."""
        video = [s for s in self.recording.streams if s.line.media == "video" and not s.line.feedback]
        shown = frozenset(s.number for s in video if not (s.held or s.removed)) if video else NONE
        before, self.pictured = self.pictured, shown
        return bool(shown - before)

    def take_replaced(self) -> str | None:
        """Return the call that this one takes the place of, once: when the client is known to have our answer.

        Where the offer is ours nothing is agreed before the client's answer, so the old recording goes on till then.
        """
        if self.replaces is None or not self.recording.under_way or self.recording.offers_first:
            return None
        old, self.replaces = self.replaces, None
        return old

    # ---- the index ----
    def search_forms(self, document: CallDocument) -> tuple[str, ...]:
        """Return the forms that a document is found by: the same ones while its people are the same."""
        people = tuple((p["number"], p["uri"], p["name"], *p["also"]) for p in document["parties"])
        people += tuple((None, name["key"], None) for name in document["related"])
        if hash(people) != self.people:
            self.people, self.forms = hash(people), "\0".join(forms_of(document, self.customer.settings.country))
        return tuple(self.forms.split("\0")) if self.forms else ()

    # ---- checkpoints ----
    def outdated(self, *, now: bool = True) -> None:
        """Note that the checkpoint is older than the call, if it is."""
        self.dirty = self.dirty or now

    def saved(self) -> None:
        """Note that the checkpoint is up to date."""
        self.dirty = False

    @property
    def ports(self) -> tuple[tuple[int, bool], ...]:
        """Return each RTP port, and whether an RTCP port lies above it."""
        return tuple((s.port, not s.line.rtcp_mux) for s in self.recording.streams if s.port)

    def to_state(self, dialog: Mapping[str, Any], keys: Iterable[Key]) -> dict[str, Any]:
        """Return what a successor of this process needs; `keys`: all that are known of its streams."""
        control = self.files.control
        return {
            "recording": self.recording.to_state(),
            "dialog": dialog,
            "media_part": self.files.media_part,
            "control": control.name if control else None,
            "fd_name": self.sockets.name,
            "keys": keys_to_state(former_keys(self.recording, keys)),
            "replaces": self.replaces,
            "over": False,
        }

    def restore(self, state: Mapping[str, Any], epoch: int) -> None:
        """Take over what a former life of this process left; the recording is restored already."""
        self.files.go_on(state["media_part"], epoch)
        self.replaces = state.get("replaces")  # a version before this one did not replace calls
        dialog = state["dialog"]  # on a stream the ACK may have gone with the connection
        self.acknowledged = not (dialog["unacked"] and dialog["flow"][0] == "udp")
