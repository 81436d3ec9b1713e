"""The zip of an export with media: a table, a file for each call, and `media.json`.

`media.json` says what became of each call's media.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from recorder.exports.render_client import Renderer, RenderFailed, RenderStream
from recorder.exports.render_sources import caveat, media_parts, render_streams
from storage.calls.call_document import CallDetails, Party
from storage.customer.customers import Customer
from storage.exports.subject_filter import moments, stretches, without_names

ENDINGS = {"opus": "ogg"}
"""File name suffixes of formats whose name differs."""

CHUNK = 1 << 20  # bytes copied at once
MOMENT = (1980, 1, 1, 0, 0, 0)  # of every file: the time of an export is not revealed to whoever opens it
FOREVER = 1 << 63  # ns since 1970, after everything
NOTHING = "This call has no media of this kind."
MIXED = "A stream of this call mixes several people, or its owner is unknown: it cannot be separated and is silent."
UNFINISHED = "The call was still being recorded: its last seconds are silent."
LEFT_OUT = "The person has no other stream, so the media of this call are left out."

BEHIND = timedelta(seconds=5)
"""How far the index's view of a live call may lag behind what is stored: a transfer is written 2 s later (MOST_SECONDS
of recorder.persist.indexer), and the client's information may come SEAM after it.
"""

Whose = Callable[[Sequence[Party]], Collection[int]]
"""Says which participants of a call are to be heard."""
Moments = Sequence[tuple[datetime | None, datetime | None]]
"""When a stream is heard: None means its start or its end."""


@dataclass(frozen=True, slots=True)
class Added:
    """What became of the media of a call."""

    call: str
    """Id of the call."""
    file: str | None
    """Name in the zip, None if there is no file."""
    problem: str | None
    """Why there is no file, or what is missing in it."""


class Writable(Protocol):
    """What a zip is written to; it cannot be rewound."""

    def write(self, data: bytes, /) -> int:
        """Take bytes."""

    def flush(self) -> None:
        """Do nothing, or pass the bytes on."""


class Archive:
    """A zip that is written once from front to back."""

    def __init__(self, out: Writable, *, listing: bool = True) -> None:
        """`listing`: a file in it says what became of the media of each call."""
        self._zip = ZipFile(out, "w", ZIP_STORED)  # type: ignore[call-overload]  # needs no more of a file than this
        self._media: list[dict[str, Any]] | None = [] if listing else None

    def add(self, name: str, fd: int, *, packed: bool) -> None:
        """Add a file from a descriptor, from its start."""
        info = ZipInfo(name, MOMENT)
        info.compress_type = ZIP_DEFLATED if packed else ZIP_STORED
        info.external_attr = 0o600 << 16
        with self._zip.open(info, "w", force_zip64=True) as member:
            at = 0
            while data := os.pread(fd, CHUNK, at):
                member.write(data)
                at += len(data)

    def write(self, name: str, data: bytes | str) -> None:
        """Add a file from memory."""
        info = ZipInfo(name, MOMENT)
        info.compress_type = ZIP_DEFLATED
        info.external_attr = 0o600 << 16
        self._zip.writestr(info, data)

    def note(self, added: Added) -> None:
        """Note what became of a call's media."""
        if self._media is not None:
            self._media.append({"call": added.call, "file": added.file, "problem": added.problem})

    def close(self) -> None:
        """Write the list of media and the directory."""
        if self._media is not None:
            self.write("media.json", json.dumps({"version": 1, "media": self._media}, indent=1))
        self._zip.close()


def add_table(zip: Archive, form: str, fd: int) -> None:
    """Add the table of calls; xlsx is a zip already."""
    zip.add(f"calls.{form}", fd, packed=form != "xlsx")


async def add_media(
    zip: Archive, customer: Customer, call: str, form: str, renderer: Renderer, whose: Whose | None, named: Whose | None
) -> Added:
    """Render one call and add it; without media, or with damaged media, only note why it is left out.

    `named`: says which participants the file may name, None for all; labels of streams are titles in an mkv.
    """
    row = await customer.calls.get(call)
    if row is None:
        return Added(call, None, NOTHING)
    known = None if row.ended_at else datetime.now(UTC) - BEHIND
    streams, problem = chosen(_without_labels(row.details, named), whose, known)
    name = f"media/{call}.{ENDINGS.get(form, form)}"
    if not streams:
        return Added(call, None, problem or NOTHING)
    out = os.memfd_create("media", os.MFD_CLOEXEC)
    try:
        async with media_parts(customer, row) as parts:
            report = await renderer.render(parts, streams, form, out)
        await asyncio.to_thread(zip.add, name, out, packed=False)
        problems = filter(None, (problem, await asyncio.to_thread(caveat, customer, row, report)))
        return Added(call, name, " ".join(problems) or None)
    except RenderFailed as error:
        return Added(call, None, str(error))
    finally:
        os.close(out)


def chosen(
    details: CallDetails, whose: Whose | None, known: datetime | None = None
) -> tuple[Sequence[RenderStream], str | None]:
    """Return the streams to be heard, and remarks about them.

    `known`: until when the details of a live call say who speaks, None for a finished call.

    If only some people are to be heard, the audio of the others becomes silence on its channel, also in a stream that
    changed its owner, and their video is left out. All streams still determine where time 0 and the end are.
    """
    streams = details.get("streams") or ()
    every = render_streams(streams)
    if whose is None:
        return every, None
    meant = set(whose(details.get("parties") or ()))
    times = [_before(known, moments(stream, meant)) for stream in streams]
    heard = [stream if when is None else _partly(stream, when) for stream, when in zip(every, times, strict=True)]
    sent = [part.party for stream in streams for part in stretches(stream)]
    problem = MIXED if any(_mixes(party, meant) for party in sent) else None
    if all(stream.silent for stream in heard):
        return (), problem and f"{problem} {LEFT_OUT}"
    return heard, problem if known is None else " ".join(filter(None, (problem, UNFINISHED)))


def _before(known: datetime | None, times: Moments | None) -> Moments | None:
    """Return those of some times (None: always) that are before another one."""
    if known is None:
        return times
    every = [(None, None)] if times is None else times
    return [(begin, known if end is None else min(end, known)) for begin, end in every if not begin or begin < known]


def _without_labels(details: CallDetails, named: Whose | None) -> CallDetails:
    """Return the details of a call without labels that may name anybody but the intended participants."""
    if named is None:
        return details
    shown = named(details.get("parties") or ())
    return {**details, "streams": without_names(details.get("streams") or (), shown)}


def _partly(stream: RenderStream, when: Moments) -> RenderStream:
    """Return a stream that is only heard at these times, titled by number: its label may name somebody else."""
    heard = tuple([(_ns(begin, 0), _ns(end, FOREVER)) for begin, end in when])
    return replace(stream, heard=heard, label=str(stream.index + 1))


def _ns(at: datetime | None, otherwise: int) -> int:
    """Return a time in nanoseconds since 1970."""
    return otherwise if at is None else round(at.timestamp() * 1000) * 1_000_000


def _mixes(party: object, meant: set[int]) -> bool:
    """Return whether the person may share a stream with others, or the stream's owner is unknown."""
    return bool(meant & set(party)) if isinstance(party, list) else party is None
