"""A render worker's job: JSON on standard input, because no key may appear in a command line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from media.codecs.decoders import Format
from media.export.encoder import Container
from recorder.errors import RecorderError

PEAKS = "peaks"
"""A format for the player, not for people: the loudness of each channel over the length of the call, as JSON."""
DAMAGED = "The recording is damaged."
"""Why no file can be made of a call; the command `recorder verify` names the place."""
INCOMPLETE = "The recording is damaged: some of it is missing."
"""Added to a file that was made from an incomplete recording."""
MAX_JOB = 1 << 20  # bytes; thousands of parts with their keys
MAX_SPAN = 64  # bytes of the line that requests a range of the file; two numbers of 19 digits need 43


class BadJob(RecorderError):
    """The input is not a valid job."""


@dataclass(frozen=True)
class JobPart:
    """One encrypted media part, already open."""

    fd: int
    # readable, inherited
    key: bytes = field(repr=False)
    prefix: bytes
    segment: int
    # the three of storage.vault.container.PartSecret
    size: int
    # bytes of the file
    live: bool
    # still being written: a missing end is no error


@dataclass(frozen=True)
class JobStream:
    """One stream of the call."""

    index: int
    # number in the records
    label: str
    payloads: Mapping[int, Format]
    # payload type -> format
    media: str = "audio"
    heard: tuple[tuple[int, int], ...] | None = None
    # (from, to) in ns since 1970 in which it is heard or seen; None = always, () = never, but it still counts in the
    # timeline

    @property
    def silent(self) -> bool:
        """Return whether all of it is silenced or hidden."""
        return self.heard == ()


@dataclass(frozen=True)
class Job:
    """One file to make."""

    parts: Sequence[JobPart]
    # in order
    streams: Sequence[JobStream]
    # channel i is the i-th audio stream
    form: Container | str
    # or PEAKS
    output: int
    # writable descriptor, inherited, positioned where the file begins
    parent: int
    # process id of the daemon: the worker ends with it
    on_demand: bool = False
    # WAV only: report its size first, then wait for the requested range


def to_json(job: Job) -> bytes:
    """Encode a job, as a line."""
    parts = [asdict(part) | {"key": part.key.hex(), "prefix": part.prefix.hex()} for part in job.parts]
    streams = [
        {
            "index": stream.index,
            "label": stream.label,
            "media": stream.media,
            "heard": stream.heard,
            "payloads": [[number, f.name, f.clock, f.channels, f.fmtp] for number, f in stream.payloads.items()],
        }
        for stream in job.streams
    ]
    document = {
        "parts": parts,
        "streams": streams,
        "form": job.form,
        "output": job.output,
        "parent": job.parent,
        "on_demand": job.on_demand,
    }
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def from_json(data: bytes) -> Job:
    """Decode a job; raises BadJob, whose message repeats no part of the job."""
    try:
        document = json.loads(data)
        parts = [_part(part) for part in document["parts"]]
        streams = [_stream(stream) for stream in document["streams"]]
        form = PEAKS if document["form"] == PEAKS else Container(document["form"])
        numbers = int(document["output"]), int(document["parent"])
        return Job(parts, streams, form, *numbers, on_demand=bool(document["on_demand"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BadJob("the render job cannot be read") from None


def span_to_json(begin: int, end: int) -> bytes:
    """Encode the requested range, as a line."""
    return json.dumps([begin, end]).encode() + b"\n"


def span_from_json(line: bytes) -> tuple[int, int]:
    """Decode the requested range; raises BadJob."""
    try:
        begin, end = json.loads(line)
        return int(begin), int(end)
    except (ValueError, TypeError):
        raise BadJob("the requested range cannot be read") from None


def _part(part: Mapping[str, Any]) -> JobPart:
    key, prefix = bytes.fromhex(part["key"]), bytes.fromhex(part["prefix"])
    return JobPart(int(part["fd"]), key, prefix, int(part["segment"]), int(part["size"]), bool(part["live"]))


def _stream(stream: Mapping[str, Any]) -> JobStream:
    payloads = {
        int(number): Format(str(name), int(clock), int(channels), None if fmtp is None else str(fmtp))
        for number, name, clock, channels, fmtp in stream["payloads"]
    }
    times = stream["heard"]
    heard = None if times is None else tuple([(int(begin), int(end)) for begin, end in times])
    return JobStream(int(stream["index"]), str(stream["label"]), payloads, str(stream["media"]), heard)
