"""Messages between main and a media worker: frozen values; their file descriptors travel beside them (SCM_RIGHTS).

The annotations are the rules by which recorder.workers.codec decodes a message. They are strict for a worker's
messages: a worker reads what outsiders send, and a compromised one could otherwise affect metrics, call documents and
the choice of who gets the next call.
"""

from typing import Annotated, NamedTuple, Required, TypedDict

from msgspec import Meta, Struct

from media.spec import StreamSpec

#: (stream, number of descriptors: 1 or 2) in the order in which they follow part and spool.
Sockets = tuple[tuple[int, int], ...]
#: Stream, suite, key‖salt and the MKI length of an offer.
Key = tuple[int, str, bytes, int]
#: An id or a suite.
Word = Annotated[str, Meta(max_length=64)]
KeyBytes = Annotated[bytes, Meta(max_length=64)]
PartName = Annotated[str, Meta(pattern=r"^m[0-9]{1,6}\Z")]
#: The earlier parts of a call, and the valid length of each; None: the spool was lost, and everything genuine counts.
Parts = tuple[tuple[PartName, int | None], ...]
#: A finite number, or None if unknown.
Number = int | Annotated[float, Meta(ge=-1e300, le=1e300)] | None


class Value(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """A value inside a message; on the wire an array without names. Values never refer to each other in a circle."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"  # fields hold keys


class Sent(Value, frozen=True, tag=True):
    """A message; on the wire its class name comes first."""


class Part(Value, frozen=True):
    """The media part a worker writes to; its secret opens nothing else."""

    # "m1", "m2", …
    name: str
    # derived AES key and nonce prefix of storage.vault.container.PartSecret
    key: bytes
    prefix: bytes = b""
    segment: int = 4096


class NewCall(Value, frozen=True):
    """All a worker needs to know about a call."""

    call: str
    part: Part
    streams: tuple[StreamSpec, ...]
    # opens and seals the call's spool, and nothing else
    spool_key: bytes
    # (from, to) in ns since the epoch in which nothing may be stored, to None = still paused; the spool may know
    # earlier ones, but not better whether one is still on; None = see the spool
    pauses: tuple[tuple[int, int | None], ...] | None = None
    # StreamSpec.networks of all streams, on the wire only: recorder.workers.codec writes them once
    networks: tuple[str, ...] = ()


class Add(Sent, frozen=True):
    """Record this call; descriptors: part, spool, sockets."""

    new: NewCall
    sockets: Sockets


class Adopt(Sent, frozen=True):
    """Continue a call whose worker died, from its spool; descriptors: part, spool, region if `raw`, sockets."""

    new: NewCall
    sockets: Sockets
    # the receive region of the dead worker is attached: its last batch belonged to this call
    raw: bool
    # ns since the epoch
    at: int
    # the sockets are the previous ones, so nothing that arrived in between is lost
    kept: bool
    # keys of earlier offers; packets under them may wait in the sockets
    earlier: tuple[Key, ...] = ()


class Change(Sent, frozen=True):
    """A re-offer: streams that continue or are new (with sockets), and streams that are removed;
    descriptors: sockets.
    """

    call: str
    streams: tuple[StreamSpec, ...]
    sockets: Sockets
    removed: tuple[int, ...]
    at: int
    # as in NewCall
    networks: tuple[str, ...] = ()


class Pause(Sent, frozen=True):
    """Drop what arrived at or after `at` (ns since the epoch)."""

    call: str
    at: int


class Unpause(Sent, frozen=True):
    """Store what arrives at or after `at`."""

    call: str
    at: int


class Reached(Sent, frozen=True):
    """The client has our answer: handshakes may start."""

    call: str


class Close(Sent, frozen=True):
    """Read the sockets a last time, seal the part, report; answered by Final."""

    call: str
    at: int


class Drop(Sent, frozen=True):
    """Forget a call without sealing anything."""

    call: str


class Ask(Sent, frozen=True):
    """Report the figures of a call; answered by Figures."""

    call: str
    token: int


class NextPart(Sent, frozen=True):
    """Seal the present part and continue in this one; descriptor: part. Answered by PartEnded."""

    call: str
    part: Part
    # parts up to this number are finished: nobody asks for their lengths any more
    finished: int = 0


class Beat(Sent, frozen=True):
    """Sent every second: the worker lives; the fraction of the second it worked, 0 to 1."""

    busy: Annotated[float, Meta(ge=0, le=1)]


class Counts(NamedTuple):
    """Current counters of one stream. A tuple because two of each call arrive every five seconds."""

    stream: int
    packets: int
    lost: int
    duplicates: int
    rejected: int
    foreign: int
    late: int
    gap_ms: int
    size: int
    # ns since the epoch; 0 if nothing has arrived: None would be another wire form, which main refuses over an upgrade
    last_arrival: int


class Stats(Sent, frozen=True):
    """Sent every five seconds, for many calls at once."""

    calls: dict[Word, tuple[Counts, ...]]


class StreamFigures(TypedDict, total=False):
    """What is known about a stream (media.stream.report); the codec drops fields not named here."""

    stream: Required[int]
    packets: Number
    lost: Number
    duplicates: Number
    rejected: Number
    foreign: Number
    late: Number
    reordered: Number
    bytes: Number
    # text of an offer may be as long as a message allows: a long one must not make a worker look compromised
    codec: str | None
    srtp: str | None
    jitter_ms: Number
    gap_ms: Number
    # from, to (ns since the epoch), why
    gaps: tuple[tuple[int, int, Word], ...]
    burst: Number
    mos: Number
    first_arrival: Number
    last_arrival: Number
    # SSRC, first and highest sequence number
    sources: tuple[tuple[int, int, int], ...]


class Figures(Sent, frozen=True):
    """Everything known about the streams of a call."""

    call: Word
    token: int
    # one mapping for each stream, "stream" = its number
    figures: tuple[StreamFigures, ...]

    @property
    def streams(self) -> dict[int, StreamFigures]:
        """Return the figures by stream number."""
        return {figure["stream"]: figure for figure in self.figures}


class Final(Sent, frozen=True):
    """The call is closed, its part sealed."""

    call: Word
    part: PartName
    # ciphertext length of the part
    committed: int
    # the earlier parts with their committed lengths, as in the spool and in Resumed
    parts: Parts
    figures: tuple[StreamFigures, ...]
    # everything received was written
    clean: bool

    @property
    def streams(self) -> dict[int, StreamFigures]:
        """Return the figures by stream number."""
        return {figure["stream"]: figure for figure in self.figures}


class Resumed(Sent, frozen=True):
    """An adopted call continues; each named part is valid up to its length, and parts in between hold nothing.

    A length is None if the spool was lost and the part's length is unknown: then everything genuine in it counts.
    """

    call: Word
    part: PartName
    parts: Parts


class PartEnded(Sent, frozen=True):
    """A part is sealed, as far as the disk took it, and the call continues in the next one."""

    call: Word
    part: PartName
    # ciphertext length of the part
    committed: int


class DiskTrouble(Sent, frozen=True):
    """A write failed; received media are kept in memory and the write is retried."""

    call: Word
    errno: int


class DiskWell(Sent, frozen=True):
    """Everything that waited for this call is written."""

    call: Word


class CallFault(Sent, frozen=True):
    """A bug ended the worker's work on this call; class and place, never values."""

    call: Word
    where: str


class RefusedPackets(Sent, frozen=True):
    """Packets of a stream were refused; sent at most once a second for each stream."""

    call: Word
    stream: int
    rejected: int
    foreign: int


class Keyed(Sent, frozen=True):
    """A handshake is complete and the peer's certificate is the offered one: its keys, for the checkpoint."""

    call: Word
    stream: int
    # the keys are for the RTCP port
    rtcp: bool
    suite: Word
    theirs: KeyBytes
    ours: KeyBytes
    # of which association
    fingerprints: tuple[str, ...] = ()


class Unkeyed(Sent, frozen=True):
    """A handshake failed; nothing of this stream can be stored."""

    call: Word
    stream: int
    # a label of a metric
    reason: Annotated[str, Meta(pattern=r"^(timeout|handshake|fingerprint|profile)\Z")]


class Severed(Sent, frozen=True):
    """A worker died during a handshake that nobody else can continue: the peer may wait for ever."""

    call: Word
    stream: int


class NeedPart(Value, frozen=True):
    """From recorder.workers.pool, not a worker: create the next media part of this call and call Workers.resume."""

    call: Word


class WorkerDied(Value, frozen=True):
    """From recorder.workers.pool: a worker ended and is being replaced."""

    worker: int
    # "exit", "hang", "crash"
    why: str
    calls: int


class OtherVersion(Value, frozen=True):
    """From recorder.workers.pool: a started worker has other files than main; it gets no messages."""

    worker: int


Command = Add | Adopt | Change | Pause | Unpause | Reached | Close | Drop | Ask | NextPart
Report = (
    Beat
    | Stats
    | Figures
    | Final
    | Resumed
    | PartEnded
    | DiskTrouble
    | DiskWell
    | CallFault
    | RefusedPackets
    | Keyed
    | Unkeyed
    | Severed
)
WorkerEvent = Report | NeedPart | WorkerDied | OtherVersion
