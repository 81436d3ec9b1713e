"""Messages between main and a media worker: frozen values; their file descriptors travel beside them (SCM_RIGHTS).

The annotations are the rules by which recorder.workers.codec reads a message. Those of a worker's messages are strict:
a worker reads what outsiders send, and what one says that was broken into reaches the metrics, the documents of calls
and the choice of who gets the next call.
"""

from typing import Annotated, NamedTuple, Required, TypedDict

from msgspec import Meta, Struct

from media.spec import StreamSpec

#: (stream, how many descriptors: 1 or 2) in the order in which they come after part and spool.
Sockets = tuple[tuple[int, int], ...]
#: Stream, suite, key‖salt and length of the MKI that an offer gave.
Key = tuple[int, str, bytes, int]
#: An id or a suite.
Word = Annotated[str, Meta(max_length=64)]
KeyBytes = Annotated[bytes, Meta(max_length=64)]
PartName = Annotated[str, Meta(pattern=r"^m[0-9]{1,6}\Z")]
#: The parts of a call before the present one, and how much of each counts; None: the spool was lost, all counts that is
#: genuine.
Parts = tuple[tuple[PartName, int | None], ...]
#: A finite number, or None if it is not known.
Number = int | Annotated[float, Meta(ge=-1e300, le=1e300)] | None


class Value(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """What lies in a message; on the wire an array without names. No value refers to another that refers to it."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"  # fields hold keys


class Sent(Value, frozen=True, tag=True):
    """A message; on the wire the name of its class comes first."""


class Part(Value, frozen=True):
    """The media part a worker writes to; its secret opens nothing else."""

    # "m1", "m2", …
    name: str
    # derived AES key and nonce prefix of storage.vault.container.PartSecret
    key: bytes
    prefix: bytes = b""
    segment: int = 4096


class NewCall(Value, frozen=True):
    """All a worker has to know of a call."""

    call: str
    part: Part
    streams: tuple[StreamSpec, ...]
    # opens and seals the call's spool, and nothing else
    spool_key: bytes
    # (from, to) in ns since the epoch in which nothing may be kept, to None = it lasts; the spool may know earlier
    # ones, but not better whether one lasts; None = what the spool says
    pauses: tuple[tuple[int, int | None], ...] | None = None
    # StreamSpec.networks of all streams, on the wire only: recorder.workers.codec writes them once
    networks: tuple[str, ...] = ()


class Add(Sent, frozen=True):
    """Record this call; descriptors: part, spool, sockets."""

    new: NewCall
    sockets: Sockets


class Adopt(Sent, frozen=True):
    """Go on with a call whose worker died, from its spool; descriptors: part, spool, region if `raw`, sockets."""

    new: NewCall
    sockets: Sockets
    # the receive region of the dead worker comes along: its last batch was of this call
    raw: bool
    # ns since the epoch
    at: int
    # the sockets are those of before, so nothing that came in between is lost
    kept: bool
    # keys of former offers, under which packets may wait in the sockets
    earlier: tuple[Key, ...] = ()


class Change(Sent, frozen=True):
    """A re-offer: these streams go on or are new (with sockets), those are gone; descriptors: sockets."""

    call: str
    streams: tuple[StreamSpec, ...]
    sockets: Sockets
    removed: tuple[int, ...]
    at: int
    # as in NewCall
    networks: tuple[str, ...] = ()


class Pause(Sent, frozen=True):
    """Keep nothing that arrived at or after `at` (ns since the epoch)."""

    call: str
    at: int


class Unpause(Sent, frozen=True):
    """Keep what arrives at or after `at`."""

    call: str
    at: int


class Reached(Sent, frozen=True):
    """The client has our answer: handshakes may begin."""

    call: str


class Close(Sent, frozen=True):
    """Drain, seal, report; answered by Final."""

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
    """Seal the present part and go on in this one; descriptor: part."""

    call: str
    part: Part


class Beat(Sent, frozen=True):
    """Each second: the worker lives; the part of the second it worked, 0 to 1."""

    busy: Annotated[float, Meta(ge=0, le=1)]


class Counts(NamedTuple):
    """Counters of one stream, as they stand; a tuple, because two of each call come every five seconds."""

    stream: int
    packets: int
    lost: int
    duplicates: int
    rejected: int
    foreign: int
    late: int
    gap_ms: int
    size: int
    # ns since the epoch, 0 = nothing yet
    last_arrival: int


class Stats(Sent, frozen=True):
    """Every five seconds, for many calls at once."""

    calls: dict[Word, tuple[Counts, ...]]


class StreamFigures(TypedDict, total=False):
    """What is known of a stream (media.stream.report); the codec drops what is not named here."""

    stream: Required[int]
    packets: Number
    lost: Number
    duplicates: Number
    rejected: Number
    foreign: Number
    late: Number
    reordered: Number
    bytes: Number
    # texts that an offer brought are as long as a message lets them be: no worker may be taken for a broken one by them
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
    """Everything known of the streams of a call."""

    call: Word
    token: int
    # one mapping a stream, "stream" = its number
    figures: tuple[StreamFigures, ...]

    @property
    def streams(self) -> dict[int, StreamFigures]:
        """Give the figures by stream number."""
        return {figure["stream"]: figure for figure in self.figures}


class Final(Sent, frozen=True):
    """The call is closed, its part sealed."""

    call: Word
    part: PartName
    # ciphertext length of the part
    committed: int
    # the parts before with their committed lengths, as in the spool; as in Resumed
    parts: Parts
    figures: tuple[StreamFigures, ...]
    # everything received was written
    clean: bool

    @property
    def streams(self) -> dict[int, StreamFigures]:
        """Give the figures by stream number."""
        return {figure["stream"]: figure for figure in self.figures}


class Resumed(Sent, frozen=True):
    """An adopted call goes on; each part named is whole up to its length, parts in between hold nothing that counts.

    A length is None where the spool was lost and tells nothing of the part: then all in it counts that is genuine.
    """

    call: Word
    part: PartName
    parts: Parts


class DiskTrouble(Sent, frozen=True):
    """A write failed; what is received is kept in memory and tried again."""

    call: Word
    errno: int


class DiskWell(Sent, frozen=True):
    """Everything kept back of this call is written."""

    call: Word


class CallFault(Sent, frozen=True):
    """A bug ended the worker's part in this call; class and place, never values."""

    call: Word
    where: str


class RefusedPackets(Sent, frozen=True):
    """Packets of a stream were refused; at most one of these a second and stream."""

    call: Word
    stream: int
    rejected: int
    foreign: int


class Keyed(Sent, frozen=True):
    """A handshake is complete and the peer's certificate the offered one: the keys, for the checkpoint."""

    call: Word
    stream: int
    # they are those of the RTCP port
    rtcp: bool
    suite: Word
    theirs: KeyBytes
    ours: KeyBytes
    # of which association
    fingerprints: tuple[str, ...] = ()


class Unkeyed(Sent, frozen=True):
    """A handshake came to nothing; nothing of this stream can be kept."""

    call: Word
    stream: int
    # a label of a metric
    reason: Annotated[str, Meta(pattern=r"^(timeout|handshake|fingerprint|profile)\Z")]


class Severed(Sent, frozen=True):
    """A worker died in the middle of a handshake, and nobody else can go on with it: the peer may wait for ever."""

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
    """From recorder.workers.pool: a worker that was started is of other files than main; it is told nothing."""

    worker: int


Command = Add | Adopt | Change | Pause | Unpause | Reached | Close | Drop | Ask | NextPart
Report = (
    Beat
    | Stats
    | Figures
    | Final
    | Resumed
    | DiskTrouble
    | DiskWell
    | CallFault
    | RefusedPackets
    | Keyed
    | Unkeyed
    | Severed
)
WorkerEvent = Report | NeedPart | WorkerDied | OtherVersion
