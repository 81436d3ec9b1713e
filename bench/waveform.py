"""Time to compute the waveform of a call: `python -m bench.waveform [MINUTES]`."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from media.codecs.decoders import Format
from media.records import record_format
from recorder.exports.render_client import Renderer, RenderStream
from recorder.exports.render_job import PEAKS
from storage.vault.container import MEDIA_SEGMENT, PartSecret, Sealer, new_part

PACKETS = 25  # packets of 20 ms in one record, as a worker stores them
PCMA = Format("PCMA", 8000, 1, None)


@dataclass
class Part:
    """A sealed part without a name."""

    fd: int
    secret: PartSecret
    size: int
    finished: bool = True


def talk(minutes: int) -> Iterator[bytes]:
    """Yield the records of a call of two streams that never pause."""
    noise = os.urandom(160 * 1000)
    for at in range(0, minutes * 3000, PACKETS):
        arrivals = tuple(1_700_000_000_000_000_000 + (at + n) * 20_000_000 for n in range(PACKETS))
        starts = [(at + n) % 1000 * 160 for n in range(PACKETS)]
        payloads = tuple(noise[start : start + 160] for start in starts)
        for stream in (0, 1):
            yield record_format.run(
                record_format.Run(stream, False, 8, 7 + stream, 160, 1000 + at, 160 * at, arrivals, payloads)
            )


def sealed(minutes: int) -> Part:
    """Return an encrypted call in memory."""
    header, secret = new_part(bytes(32), b"bench", MEDIA_SEGMENT, os.urandom)
    sealer, fd = Sealer(secret), os.memfd_create("part")
    size = os.write(fd, header)
    for record in talk(minutes):
        size += os.write(fd, sealer.add(record))
    return Part(fd, secret, size + os.write(fd, sealer.finish()))


def measure(forms: Sequence[str]) -> None:
    """Render a call of two streams in each form, as long as the command line says; print the cost of each."""
    minutes = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    part = sealed(minutes)
    streams = [RenderStream(number, str(number + 1), {8: PCMA}) for number in (0, 1)]
    print(f"{minutes} minutes of stereo G.711, {part.size >> 20} MiB sealed")
    for form in forms:
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        with tempfile.TemporaryFile(dir="/dev/shm") as out:
            asyncio.run(Renderer().render([part], streams, form, out.fileno()))
            size = os.fstat(out.fileno()).st_size
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(f"{form}: {time.monotonic() - began:.2f} s, {spent:.2f} s of CPU, {size:,} bytes")


if __name__ == "__main__":
    measure((*[PEAKS] * 3, *["wav"] * 3))  # the waveform and, for comparison, the sound, each three times
