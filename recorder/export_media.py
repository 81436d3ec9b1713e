"""The zip of an export with media: a table, a file for each call, and `media.json`, which says what became of each."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from admin_api.subject import Subject
from recorder.playing import media_parts, render_streams
from recorder.rendering import Renderer, RenderFailed, RenderStream
from storage.customers import Customer
from storage.errors import DamagedPart
from storage.sealedfile import Sink

ENDINGS = {"opus": "ogg"}
"""Endings of file names where the format is called otherwise."""

CHUNK = 1 << 20  # bytes copied at once
MOMENT = (1980, 1, 1, 0, 0, 0)  # of every file: when an export was made is nobody's business who opens it
NOTHING = "This call has no media of this kind."
_MIXED = "Left out: a stream of this call mixes several people and cannot be separated."


class Archive:
    """A zip that is written once from front to back."""

    def __init__(self, sink: Sink) -> None:
        self._zip = ZipFile(sink, "w", ZIP_STORED)
        self._media: list[dict[str, Any]] = []

    def add(self, name: str, fd: int, *, packed: bool) -> None:
        """Add a file from a descriptor, from its beginning."""
        info = ZipInfo(name, MOMENT)
        info.compress_type = ZIP_DEFLATED if packed else ZIP_STORED
        info.external_attr = 0o600 << 16
        with self._zip.open(info, "w", force_zip64=True) as member:
            at = 0
            while data := os.pread(fd, CHUNK, at):
                member.write(data)
                at += len(data)

    def told(self, call: str, file: str | None, problem: str | None) -> None:
        """Note what became of a call's media."""
        self._media.append({"call": call, "file": file, "problem": problem})

    def close(self) -> None:
        """Write the list of media and the directory."""
        info = ZipInfo("media.json", MOMENT)
        info.external_attr = 0o600 << 16
        self._zip.writestr(info, json.dumps({"version": 1, "media": self._media}, indent=1))
        self._zip.close()


def add_table(zip: Archive, form: str, fd: int) -> None:
    """Add the table of calls; xlsx is a zip already."""
    zip.add(f"calls.{form}", fd, packed=form != "xlsx")


async def add_media(
    zip: Archive, customer: Customer, call: str, form: str, renderer: Renderer, only: Subject | None
) -> None:
    """Render one call and add it; a call without media, or whose media are damaged, is noted and left out."""
    row = await customer.calls.get(call)
    if row is None:
        zip.told(call, None, NOTHING)
        return
    streams, problem = chosen(row.details, only)
    name = f"media/{call}.{ENDINGS.get(form, form)}"
    out = os.memfd_create("media", os.MFD_CLOEXEC)
    try:
        if streams:
            with media_parts(customer, call, row.leaf) as parts:
                await renderer.render(parts, streams, form, out)
            await asyncio.to_thread(zip.add, name, out, packed=False)
            zip.told(call, name, problem)
        else:
            zip.told(call, None, problem or NOTHING)
    except RenderFailed as error:
        zip.told(call, None, str(error))
    except DamagedPart:
        zip.told(call, None, "The recording is damaged.")
    finally:
        os.close(out)


def chosen(details: Mapping[str, Any], only: Subject | None) -> tuple[Sequence[RenderStream], str | None]:
    """Return the streams to be heard, and what has to be said about them."""
    streams = details.get("streams") or ()
    every = render_streams(streams)
    if only is None:
        return every, None
    meant = only.of(details.get("parties") or ())
    alone = [isinstance(stream["party"], int) and stream["party"] in meant for stream in streams]
    mine = [stream for stream, heard in zip(every, alone, strict=True) if heard]
    mixed = any(isinstance(stream["party"], list) and meant & set(stream["party"]) for stream in streams)
    return mine, _MIXED if mixed else None
