"""Messages between main and a media worker: frozen values, descriptors beside them (SCM_RIGHTS).

How they travel is in recorder.workers.codec.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from media.spec import StreamSpec

#: (stream, how many descriptors: 1 or 2) in the order in which they come after part and spool.
Sockets = tuple[tuple[int, int], ...]
#: Stream, suite, key‖salt and length of the MKI that an offer gave.
Key = tuple[int, str, bytes, int]


# What comes once a call or more is not frozen: that would take three times as long to make. Nobody changes one.
@dataclass(slots=True)
class Part:
    """The media part a worker writes to; its secret opens nothing else."""

    # "m1", "m2", …
    name: str
    # derived AES key and nonce prefix of storage.vault.container.PartSecret
    key: bytes = field(repr=False)
    prefix: bytes = b""
    segment: int = 4096


@dataclass(slots=True)
class NewCall:
    """All a worker has to know of a call."""

    call: str
    part: Part
    streams: tuple[StreamSpec, ...]
    # opens and seals the call's spool, and nothing else
    spool_key: bytes = field(repr=False)
    # (from, to) in ns since the epoch in which nothing may be kept, to None = it lasts; the spool may know earlier
    # ones, but not better whether one lasts; None = what the spool says
    pauses: tuple[tuple[int, int | None], ...] | None = None


@dataclass(slots=True)
class Add:
    """Record this call; descriptors: part, spool, sockets."""

    new: NewCall
    sockets: Sockets


@dataclass(frozen=True)
class Adopt:
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
    earlier: tuple[Key, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Change:
    """A re-offer: these streams go on or are new (with sockets), those are gone; descriptors: sockets."""

    call: str
    streams: tuple[StreamSpec, ...]
    sockets: Sockets
    removed: tuple[int, ...]
    at: int


@dataclass(frozen=True)
class Pause:
    """Keep nothing that arrived at or after `at` (ns since the epoch)."""

    call: str
    at: int


@dataclass(frozen=True)
class Unpause:
    """Keep what arrives at or after `at`."""

    call: str
    at: int


@dataclass(frozen=True)
class Reached:
    """The client has our answer: handshakes may begin."""

    call: str


@dataclass(slots=True)
class Close:
    """Drain, seal, report; answered by Closed."""

    call: str
    at: int


@dataclass(frozen=True)
class Drop:
    """Forget a call without sealing anything."""

    call: str


@dataclass(frozen=True)
class Ask:
    """Report the figures of a call; answered by Figures."""

    call: str
    token: int


@dataclass(frozen=True)
class NextPart:
    """Seal the present part and go on in this one; descriptor: part."""

    call: str
    part: Part


@dataclass(frozen=True)
class Beat:
    """Each second: the worker lives; the part of the second it worked, 0 to 1."""

    busy: float


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


@dataclass(frozen=True)
class Stats:
    """Every five seconds, for many calls at once."""

    calls: Mapping[str, tuple[Counts, ...]]


@dataclass(frozen=True)
class Figures:
    """Everything known of the streams of a call."""

    call: str
    token: int
    # one mapping a stream, "stream" = its number
    figures: tuple[Mapping[str, Any], ...]

    @property
    def streams(self) -> dict[int, Mapping[str, Any]]:
        """Give the figures by stream number."""
        return {figure["stream"]: figure for figure in self.figures}


@dataclass(slots=True)
class Final:
    """The call is closed, its part sealed."""

    call: str
    part: str
    # ciphertext length of the part
    committed: int
    # the parts before with their committed lengths, as in the spool; as in Resumed
    parts: tuple[tuple[str, int | None], ...]
    figures: tuple[Mapping[str, Any], ...]
    # everything received was written
    clean: bool

    @property
    def streams(self) -> dict[int, Mapping[str, Any]]:
        """Give the figures by stream number."""
        return {figure["stream"]: figure for figure in self.figures}


@dataclass(frozen=True)
class Resumed:
    """An adopted call goes on; each part named is whole up to its length, parts in between hold nothing that counts.

    A length is None where the spool was lost and tells nothing of the part: then all in it counts that is genuine.
    """

    call: str
    part: str
    parts: tuple[tuple[str, int | None], ...]


@dataclass(frozen=True)
class DiskTrouble:
    """A write failed; what is received is kept in memory and tried again."""

    call: str
    errno: int


@dataclass(frozen=True)
class DiskWell:
    """Everything kept back of this call is written."""

    call: str


@dataclass(frozen=True)
class CallFault:
    """A bug ended the worker's part in this call; class and place, never values."""

    call: str
    where: str


@dataclass(frozen=True)
class Strangers:
    """Packets of a stream were refused; at most one of these a second and stream."""

    call: str
    stream: int
    rejected: int
    foreign: int


@dataclass(frozen=True)
class Keyed:
    """A handshake is complete and the peer's certificate the offered one: the keys, for the checkpoint."""

    call: str
    stream: int
    # they are those of the RTCP port
    rtcp: bool
    suite: str
    theirs: bytes = field(repr=False)
    ours: bytes = field(repr=False)
    # of which association
    fingerprints: tuple[str, ...] = ()


@dataclass(frozen=True)
class Unkeyed:
    """A handshake came to nothing; nothing of this stream can be kept."""

    call: str
    stream: int
    # "timeout", "handshake", "fingerprint", "profile"
    reason: str


@dataclass(frozen=True)
class Severed:
    """A worker died in the middle of a handshake, and nobody else can go on with it: the peer may wait for ever."""

    call: str
    stream: int


@dataclass(frozen=True)
class NeedPart:
    """From recorder.workers.pool, not a worker: create the next media part of this call and call Workers.resume."""

    call: str


@dataclass(frozen=True)
class WorkerDied:
    """From recorder.workers.pool: a worker ended and is being replaced."""

    worker: int
    # "exit", "hang", "crash"
    why: str
    calls: int


@dataclass(frozen=True)
class OtherVersion:
    """From recorder.workers.pool: a worker that was started is of other files than main; it is told nothing."""

    worker: int


Message = Add | Adopt | Change | Pause | Unpause | Reached | Close | Drop | Ask | NextPart
WorkerEvent = (
    Beat
    | Stats
    | Figures
    | Final
    | Resumed
    | DiskTrouble
    | DiskWell
    | CallFault
    | Strangers
    | Keyed
    | Unkeyed
    | Severed
    | NeedPart
    | WorkerDied
    | OtherVersion
)
