"""One render worker: `python -m recorder.exports.render_worker`, a job on standard input, the file on an inherited
descriptor.

It reports on standard error, one JSON object a line: {"progress": 0.25}, then {"report": {…}} or {"error": "…"}. A job
on demand reports {"size": 115200044} as soon as that is known, and then waits for a line that requests a range; it
writes that range and ends. Exit status: 0 the file is complete, 1 it cannot be made from what is stored, 2 the job is
invalid, 3 any other failure.
"""

from __future__ import annotations

import codecs
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib import import_module
from pkgutil import walk_packages
from typing import Any, BinaryIO

from media.errors import Damaged, MediaError
from media.export import pcap, render, wav_header
from media.export.encoder import Container, Encoder
from media.export.video_mosaic import HEIGHT, WIDTH, Mosaic
from media.export.waveform import Peaks
from media.records import record_format
from recorder.errors import RecorderError
from recorder.exports.render_job import (
    DAMAGED,
    MAX_JOB,
    MAX_SPAN,
    PEAKS,
    BadJob,
    Job,
    JobPart,
    from_json,
    span_from_json,
)
from recorder.runtime.sandbox import Confined, confine, forbid_dumps, room_for
from storage.errors import DamagedPart, Torn
from storage.vault.container import PartSecret, Reader, seal_segment

BUFFER = 1 << 20  # bytes written at once
MOST_GAPS = 500  # of one channel of a waveform; more would be narrower than a pixel
PROGRESS_STEPS = 100  # lines of progress in all
NOT_FOR_DECODING = frozenset(("av.__main__", "av.datasets"))  # a command, and what downloads samples

_ANY = PartSecret(bytes(32), bytes(7), 64)  # of no part


class Unconfined(RecorderError):
    """The decoder cannot be sandboxed here, so nothing is decoded."""


class EndReached(Exception):
    """Everything requested is written; not an error."""


class ByteRange:
    """Pass on the bytes from `begin` to `end` of a file that is made from front to back."""

    def __init__(self, give: Callable[[bytes | bytearray | memoryview], object], begin: int, end: int) -> None:
        self._give = give
        self._begin = begin
        self._end = end
        self._at = 0

    def write(self, data: bytes | bytearray) -> None:
        """Take the next bytes of the file; raises EndReached at the end of the range."""
        first, last = max(self._begin - self._at, 0), min(self._end - self._at, len(data))
        if first < last:
            self._give(memoryview(data)[first:last])
        self._at += len(data)
        if self._at >= self._end:
            raise EndReached


class RenderSource:
    """The records of all parts, which can be read repeatedly, and the reading progress."""

    def __init__(self, job: Job, readings: int) -> None:
        """`readings`: how often all parts will be read."""
        self._parts = job.parts
        self._whole = max(sum(part.size for part in job.parts) * readings, 1)
        self._read = 0
        self._told = 0
        self.torn = 0
        # parts whose end is missing

    def records(self) -> Iterator[record_format.Record]:
        """Yield the records of every part; one without its end yields what is genuine. Raises DamagedPart, Damaged."""
        self.torn = 0
        for part in self._parts:
            yield from record_format.read(self._chunks(part))

    def _chunks(self, part: JobPart) -> Iterator[bytes]:
        secret = PartSecret(part.key, part.prefix, part.segment)
        reader = Reader(secret, part.size, lambda offset, length: self._at(part.fd, offset, length))
        try:
            yield from reader.chunks(live=part.live)
        except Torn:
            self.torn += 1

    def _at(self, fd: int, offset: int, length: int) -> bytes:
        self._read += length
        step = PROGRESS_STEPS * self._read // self._whole
        if step > self._told:
            self._told = step
            tell({"progress": round(min(self._read / self._whole, 1), 3)})
        return os.pread(fd, length, offset)


def tell(line: Mapping[str, Any]) -> None:
    """Write one line for the daemon."""
    sys.stderr.write(json.dumps(line) + "\n")
    sys.stderr.flush()


def make(job: Job, out: BinaryIO) -> dict[str, Any]:
    """Make the file and return the report. Raises MediaError, DamagedPart, OSError."""
    if job.form is Container.PCAP:
        return _capture(job, out)
    source = RenderSource(job, readings=2)
    streams = _chosen(job, "audio")
    pictures = [each for each in _chosen(job, "video") if not each.silent] if job.form is Container.MKV else []
    known = {stream.index for stream in (*streams, *pictures)}
    others = [each for each in _chosen(job) if each.index not in known]
    measured = render.measure(source.records(), streams, pictures, others)
    if job.on_demand:
        _part_of(measured, source, out)
        return {}
    if job.form is Container.WAV:
        out.write(wav_header.header(measured.rate, len(streams), measured.samples))
        report = render.render(measured, source.records(), out.write)
    elif job.form == PEAKS:
        report = _loudness(measured, source, out)
    elif pictures:
        return _film(measured, pictures, source, out)
    else:
        encoder = Encoder(out, Container(job.form), measured.rate, [stream.label for stream in streams])
        report = render.render(measured, source.records(), encoder.give)
        encoder.finish()
    return asdict(report) | {"torn_parts": source.torn}


def _chosen(job: Job, media: str | None = None) -> list[render.RenderStream]:
    return [render.RenderStream(s.index, s.label, s.payloads, s.heard) for s in job.streams if media in (None, s.media)]


def _part_of(measured: render.Measured, source: RenderSource, out: BinaryIO) -> None:
    """Report the length of the audio as WAV, wait for the requested range, and write it."""
    channels = len(measured.streams)
    head = wav_header.header(measured.rate, channels, measured.samples)
    tell({"size": len(head) + 2 * channels * measured.samples})
    window = ByteRange(out.write, *span_from_json(sys.stdin.buffer.readline(MAX_SPAN)))
    try:
        window.write(head)
        render.render(measured, source.records(), window.write)
    except EndReached:
        return


def _loudness(measured: render.Measured, source: RenderSource, out: BinaryIO) -> render.Report:
    """Write the loudness of each channel over the length of the call, and its gaps."""
    peaks = Peaks(len(measured.streams), measured.samples)
    report = render.render(measured, source.records(), peaks.give)
    channels = [
        {"label": stream.label, "peaks": found, "gaps": stream.gaps[:MOST_GAPS]}
        for stream, found in zip(report.streams, peaks.thousandths(), strict=True)
    ]
    shown = {"seconds": report.seconds, "started_ns": report.started_ns, "channels": channels}
    out.write(json.dumps(shown, separators=(",", ":")).encode())
    return report


def _film(
    measured: render.Measured, pictures: Sequence[render.RenderStream], source: RenderSource, out: BinaryIO
) -> dict[str, Any]:
    """Make a file with all video streams side by side."""
    mosaic = Mosaic([stream.index for stream in pictures], measured.rate)
    titles = [stream.label for stream in measured.streams]
    encoder = Encoder(out, Container.MKV, measured.rate, titles, picture=(WIDTH, HEIGHT))

    def give(pcm: bytes | bytearray) -> None:
        encoder.give(pcm)
        for at, frame in mosaic.upto(encoder.seconds):
            encoder.show(at, frame)

    report = render.render(measured, source.records(), give, mosaic.add)
    for at, frame in mosaic.finish(encoder.seconds):
        encoder.show(at, frame)
    encoder.finish()
    return asdict(report) | {"torn_parts": source.torn, "picture_errors": mosaic.errors}


def _capture(job: Job, out: BinaryIO) -> dict[str, Any]:
    source = RenderSource(job, readings=1)
    # a stream shown only at times is left out: video has no silence to replace the rest with
    streams = [pcap.CapturedStream(s.index, s.media, s.payloads, s.heard is not None) for s in job.streams]
    count = pcap.write(source.records(), streams, out.write)
    return {"packets": count, "torn_parts": source.torn}


def load_decoders() -> None:
    """Import all of PyAV, which imports some modules only when a stream of that kind is made."""
    for found in walk_packages(import_module("av").__path__, "av."):
        if found.name not in NOT_FOR_DECODING:
            import_module(found.name)


def main() -> int:
    """Do one job."""
    try:
        forbid_dumps()
        job = from_json(sys.stdin.buffer.readline(MAX_JOB))
        with open(job.output, "wb", buffering=BUFFER, closefd=False) as out:
            confined = confine_self(job)
            report = make(job, out)
    except BadJob as error:
        return _fail(2, str(error))
    except (DamagedPart, Damaged):
        return _fail(1, DAMAGED)
    except MediaError as error:
        return _fail(1, str(error))
    except OSError as error:
        return _fail(3, f"the file could not be written or a part could not be read: {error.strerror}")
    except MemoryError:
        return _fail(3, "the call needs more memory than a render worker may have")
    except RecorderError as error:
        return _fail(error.status, str(error))
    except Exception as error:
        # any failure of FFmpeg or a decoder: the class is enough, because the text may contain content of the call
        return _fail(3, f"the call could not be rendered ({type(error).__name__})")
    tell({"report": report | {"confined": asdict(confined)}})
    return 0


def confine_self(job: Job) -> Confined:
    """Load all that the job may need, then drop every other right; raise Unconfined if the sandbox is too weak.

    Nothing that an outsider sent has been read at this point.
    """
    if job.form is not Container.PCAP:  # whatever the SDP names: packets of any static payload type may be stored
        load_decoders()
    for coding in ("ascii", "latin-1", "utf-8", "unicode_escape"):
        codecs.lookup(coding)
    seal_segment(_ANY, 0, b"", last=True)  # OpenSSL reads its configuration on first use
    confined = confine(job.parent, [job.output, *(part.fd for part in job.parts)], room_for(job.output))
    if not confined.enough:
        raise Unconfined("decoders cannot be sandboxed on this host: neither Landlock nor system call filters work")
    return confined


def _fail(status: int, sentence: str) -> int:
    tell({"error": sentence})
    return status


if __name__ == "__main__":
    sys.exit(main())
