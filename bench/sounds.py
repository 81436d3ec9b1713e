"""What the files of a long call cost: `python -m bench.sounds [MINUTES]`."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import tempfile
import time

from bench.waveform import PCMA, sealed
from recorder.rendering import Renderer, RenderStream

FORMATS = ("wav", "flac", "opus", "mp3")


def main() -> None:
    """Render a call of two streams in each format."""
    minutes = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    part = sealed(minutes)
    streams = [RenderStream(number, str(number + 1), {8: PCMA}) for number in (0, 1)]
    print(f"{minutes} minutes of stereo G.711, {part.size >> 20} MiB sealed")
    for form in FORMATS:
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        with tempfile.TemporaryFile(dir="/dev/shm") as out:
            asyncio.run(Renderer().render([part], streams, form, out.fileno()))
            size = os.fstat(out.fileno()).st_size
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(f"{form}: {time.monotonic() - began:.1f} s, {spent:.2f} s of CPU, {size:,} bytes")


if __name__ == "__main__":
    main()
