"""Check stream owners with a test call: the owner as the client states it, and a clip of each stream to listen to.

Nothing in a call proves that an SBC attributes its streams to the right participants; only listening does. The owners
decide whom an export with `silence_others` silences.
"""

from __future__ import annotations

import io
import os
import wave
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recorder.errors import WrongUse
from recorder.exports.render_client import RenderStream, render
from recorder.exports.render_sources import media_parts, render_streams
from storage.calls.call_document import PlainParty, Stream, revealed_parties
from storage.calls.call_row import CallRow
from storage.customer.customers import Customer

LONGEST_MS = 10 * 60_000
"""Longest test call; the audio of each stream is in memory as a whole, 10 MB at 8 kHz."""
LOUD = 500
"""Of 32,768: louder samples are not line noise (-36 dB below full scale)."""
LEAD = 0.2
"""Seconds before the first loud sample that belong to the clip: the start of a word."""
_STEP = 0.02
"""Seconds examined together; a click is shorter than the sound of a frame."""
_PARTY = ("role", "name", "number", "uri")


def owners_of(row: CallRow, swaps: bool) -> dict[str, Any]:
    """Return who is in each stream according to the client; `swaps`: the present value of swap_owners."""
    parties = revealed_parties(row.details)
    notes = [note.get("kind") for note in row.details.get("notes") or ()]
    streams = [
        _stream(number, stream, parties) for number, stream in enumerate(row.details.get("streams") or (), start=1)
    ]
    return {"call": row.id, "swapped": "owners-swapped" in notes, "swap_owners": swaps, "streams": streams}


def _stream(number: int, stream: Stream, parties: Sequence[PlainParty]) -> dict[str, Any]:
    owner = stream.get("party")
    owners = owner if isinstance(owner, list) else [] if owner is None else [owner]

    def people(indices: Any) -> list[dict[str, Any]]:
        return [{name: parties[who].get(name) for name in _PARTY} for who in indices if who < len(parties)]

    return {
        "stream": number,
        "label": stream.get("label"),
        "media": stream.get("media"),
        "speakers": people(owners),
        "earlier": people(stream.get("earlier") or ()),
        "inferred": bool(stream.get("inferred")),
        "clip": None,
    }


async def write_clips(customer: Customer, row: CallRow, folder: Path, seconds: float) -> dict[int, str]:
    """Write the first words of each audio stream as a WAV; return the files by the number of the stream, from 1.

    Raises WrongUse for a call that is too long or a file that exists, RenderFailed.
    """
    if (row.duration_ms or 0) > LONGEST_MS:
        raise WrongUse(
            "This call is longer than ten minutes.", "Place a short test call in which each side says its name."
        )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    done = {}
    for stream in render_streams(row.details.get("streams") or ()):
        if stream.media == "audio":
            place = folder / f"{row.id}-{stream.index + 1}.wav"
            sound = await _sound(customer, row, stream)
            try:
                fd = os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            except FileExistsError:
                raise WrongUse(f"{place} already exists.", "Choose another folder.") from None
            with os.fdopen(fd, "wb") as file:
                file.write(clip(sound, seconds))
            done[stream.index + 1] = str(place)
    return done


async def _sound(customer: Customer, row: CallRow, stream: RenderStream) -> bytes:
    """Return a WAV of one stream alone."""
    fd = os.memfd_create("clip", os.MFD_CLOEXEC)
    try:
        async with media_parts(customer, row) as parts:
            await render(parts, [stream], "wav", fd)
        return os.pread(fd, os.fstat(fd).st_size, 0)
    finally:
        os.close(fd)


def clip(sound: bytes, seconds: float) -> bytes:
    """Cut the first words out of a mono WAV of 16 bits: this many seconds from shortly before the first loud sound."""
    with wave.open(io.BytesIO(sound)) as whole:
        rate = whole.getframerate()
        samples = array("h", whole.readframes(whole.getnframes()))
    size = max(1, round(_STEP * rate))
    loud = (at for at in range(0, len(samples), size) if max(map(abs, samples[at : at + size])) > LOUD)
    begin = max(0, next(loud, 0) - round(LEAD * rate))
    out = io.BytesIO()
    with wave.open(out, "wb") as part:
        part.setnchannels(1)
        part.setsampwidth(2)
        part.setframerate(rate)
        part.writeframes(samples[begin : begin + round(seconds * rate)].tobytes())
    return out.getvalue()
