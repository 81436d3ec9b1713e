"""One call that is being recorded: its recording, files, sockets, and what is known of its client."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from personal import Personal
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
"""An empty set of streams, shared by all calls."""

SPOOL_LABEL = "spool"
"""Purpose of a key derived from a recording's leaf (docs/formats/keytree.md)."""

NO_ANSWER = 408
"""408, which ends a dialog (RFC 3261 section 12.2.1.2); it also stands for no answer at all."""


class InWorker(Enum):
    """Whether a media worker has a call."""

    NOT_YET = "not-yet"
    """No worker has had it."""
    YES = "yes"
    LOST = "lost"
    """Its worker died and no new part could be made yet."""


@dataclass(slots=True)
class LiveCall:
    """A recording together with what the daemon holds open for it."""

    recording: Recording
    customer: Customer
    leaf: int
    session: SessionKey
    files: CallFiles = field(init=False)
    sockets: CallSockets = field(init=False)
    transport: str = ""  # udp, tcp or tls, by which its INVITE came; not kept over a restart
    in_worker: InWorker = InWorker.NOT_YET
    acknowledged: bool = True  # the client is known to have our answer; False: it has not acknowledged it yet
    pictured: frozenset[int] = NONE  # video streams for which a full picture was requested by INFO
    replaces: str | None = None  # the call that ends when the client has our answer to this one
    revision: int = 0  # counts the changes that belong into the checkpoint
    saved_revision: int = 0  # that of the newest checkpoint
    heard: float = field(default_factory=time.monotonic)  # when media (as a worker reported) or a request last arrived
    probed: float = 0.0  # when the client was last asked whether the call exists
    unanswered: int = 0  # consecutive questions of that kind without an answer
    people: int = 0  # hash of what `forms` were made from
    # search forms of the participants, joined by NUL: a fifth of a tuple's size
    forms: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        self.files = CallFiles(self.customer, self.id, self.leaf)
        self.sockets = CallSockets()

    @property
    def id(self) -> str:
        """Return the call id."""
        return self.recording.id

    @property
    def spool_key(self) -> bytes:
        """Return the key for what a media worker leaves to its successor; raises Forgotten if the leaf was cut."""
        return self.customer.keys.secret(self.leaf, SPOOL_LABEL)

    def handle(self, event: e.Event, now: e.Now) -> list[c.Command]:
        """Give the recording an event; its checkpoint is then out of date."""
        self.changed()
        return self.recording.handle(event, now)

    # ---- its worker ----
    def taken(self) -> None:
        """Note that a worker has the call."""
        self.files.handed_over()
        self.in_worker = InWorker.YES

    def strand(self) -> None:
        """Note that the worker died."""
        self.in_worker = InWorker.LOST

    @property
    def started(self) -> bool:
        """Tell whether a worker has recorded it."""
        return self.in_worker is not InWorker.NOT_YET

    @property
    def stranded(self) -> bool:
        """Tell whether nobody records it because its worker died."""
        return self.in_worker is InWorker.LOST

    # ---- its client ----
    def await_ack(self) -> None:
        """Note that media go to a worker before the client can know our answer."""
        self.acknowledged = False

    def noticed(self, now: float) -> None:
        """Take something that the client sent as proof that the call exists."""
        self.heard = now

    def has_answer(self) -> bool:
        """Note that the client has our answer; return whether that is new."""
        news, self.acknowledged = not self.acknowledged, True
        return news

    def asked(self, now: float) -> None:
        """Note that the client is asked whether the call exists."""
        self.probed = now

    def answered(self, status: int) -> int:
        """Take the answer to that; return how many consecutive questions failed."""
        self.unanswered = self.unanswered + 1 if status == NO_ANSWER and self.heard <= self.probed else 0
        return self.unanswered

    def quiet_since(self) -> float:
        """Return when the client was last heard from, or asked."""
        return max(self.heard, self.probed)

    def begins_video(self) -> bool:
        """Tell whether video starts or resumes and RTCP cannot request a full picture; true once each time."""
        video = [s for s in self.recording.streams if s.line.media == "video" and not s.line.feedback]
        shown = frozenset(s.number for s in video if not (s.held or s.removed)) if video else NONE
        before, self.pictured = self.pictured, shown
        return bool(shown - before)

    def take_replaced(self) -> str | None:
        """Return the call that this one replaces, once, when the client is known to have our answer.

        If the offer was ours, nothing is agreed before the client's answer, so the old recording continues until then.
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
    @property
    def outdated(self) -> bool:
        """Tell whether the newest checkpoint lacks something."""
        return self.revision != self.saved_revision

    def changed(self) -> None:
        """Note that something has changed that belongs into the checkpoint."""
        self.revision += 1

    def saved(self, revision: int) -> None:
        """Note that a checkpoint of this revision is stored."""
        self.saved_revision = revision

    @property
    def ports(self) -> tuple[tuple[int, bool], ...]:
        """Return each RTP port, and whether it has an RTCP port one above."""
        return tuple((s.port, not s.line.rtcp_mux) for s in self.recording.streams if s.port)

    def to_state(self, dialog: Mapping[str, Any], keys: Iterable[Key]) -> dict[str, Any]:
        """Return what a successor of this process needs; `keys`: all known keys of its streams."""
        control = self.files.control
        return {
            "recording": self.recording.to_state(),
            "dialog": Personal(dialog),
            "media_part": self.files.media_part,
            "control": control.name if control else None,
            "fd_name": self.sockets.name,
            "keys": keys_to_state(former_keys(self.recording, keys)),
            "replaces": self.replaces,
            "over": False,
        }

    def restore(self, state: Mapping[str, Any], epoch: int) -> None:
        """Restore what a previous process left; the recording is restored already."""
        self.files.go_on(state["media_part"], epoch)
        self.replaces = state.get("replaces")  # earlier versions did not replace calls
        dialog = state["dialog"]  # with TCP or TLS the ACK may have been lost with the connection
        self.acknowledged = not (dialog["unacked"] and dialog["flow"][0] == "udp")
