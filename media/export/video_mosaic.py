"""Show the cameras and shared screens of one call side by side in one video track (PyAV).

One cell per stream, in the order of the streams; each picture keeps its proportions. A picture is made at most FPS
times a second and only if something has changed, so a still screen costs nothing. A stream that sends nothing for STILL
seconds (hold, camera off) is shown black.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from media.codecs.video_depacketizer import Pictures, unpacking
from media.export.timeline import Placed

if TYPE_CHECKING:
    from av import VideoFrame
    from av.video.codeccontext import VideoCodecContext

WIDTH, HEIGHT = 1280, 720
FPS = 25
STILL = 5.0  # s
MAX_SOURCES = 64  # of one stream; each decoder takes megabytes
BLACK = (16, 128, 128)
"""Luma and the two chromas of black, ITU-R BT.601."""


@dataclass(slots=True)
class Cell:
    """The place where one stream is shown."""

    left: int
    top: int
    width: int
    height: int
    shown: float = -1.0  # s, of the newest picture; negative while black

    def show(self, at: float) -> None:
        """Note the time of the newest picture."""
        self.shown = at

    def is_still(self, now: float) -> bool:
        """Tell whether the newest picture is older than it may be shown."""
        return 0 <= self.shown < now - STILL

    def blacken(self) -> None:
        """Note that no picture is shown any more."""
        self.shown = -1.0


@dataclass(slots=True)
class PictureSource:
    """One SSRC of one stream in one format."""

    cell: Cell
    pictures: Pictures
    decoder: VideoCodecContext


def cells(count: int) -> list[Cell]:
    """Divide the canvas into equal cells, row by row; all sizes are even, as the chroma planes need."""
    columns = next(n for n in range(1, count + 1) if n * n >= count)
    rows = -(-count // columns)
    width, height = WIDTH // columns & ~1, HEIGHT // rows & ~1
    return [Cell(n % columns * width, n // columns * height, width, height) for n in range(count)]


def fitted(width: int, height: int, cell: Cell) -> tuple[int, int, int, int]:
    """Return left, top, width and height of a picture in its cell, complete and in proportion."""
    scale = min(Fraction(cell.width, max(width, 1)), Fraction(cell.height, max(height, 1)))
    wide, high = max(int(width * scale) & ~1, 2), max(int(height * scale) & ~1, 2)
    return cell.left + ((cell.width - wide) // 2 & ~1), cell.top + ((cell.height - high) // 2 & ~1), wide, high


@dataclass
class Canvas:
    """Three planes of the picture, luma first."""

    planes: list[bytearray] = field(default_factory=lambda: _black(WIDTH * HEIGHT))

    def paste(self, frame: VideoFrame, cell: Cell) -> None:
        """Show a picture in its cell."""
        left, top, wide, high = fitted(frame.width, frame.height, cell)
        small = frame.reformat(wide, high, "yuv420p")
        if (wide, high) != (cell.width, cell.height):
            self.blacken(cell)
        for number, plane in enumerate(small.planes):
            part = 2 if number else 1
            data, stride, line = memoryview(plane), plane.line_size, WIDTH // part
            for row in range(high // part):
                at = (top // part + row) * line + left // part
                self.planes[number][at : at + wide // part] = data[row * stride : row * stride + wide // part]

    def blacken(self, cell: Cell) -> None:
        """Remove a cell's picture."""
        for number, colour in enumerate(BLACK):
            part = 2 if number else 1
            empty, line = bytes([colour]) * (cell.width // part), WIDTH // part
            for row in range(cell.height // part):
                at = (cell.top // part + row) * line + cell.left // part
                self.planes[number][at : at + len(empty)] = empty

    def frame(self) -> VideoFrame:
        """Return the picture."""
        from av import VideoFrame

        made = VideoFrame(WIDTH, HEIGHT, "yuv420p")
        for number, plane in enumerate(made.planes):
            line = WIDTH // (2 if number else 1)
            data = bytes(self.planes[number])
            if plane.line_size != line:
                rows = [data[at : at + line].ljust(plane.line_size, b"\0") for at in range(0, len(data), line)]
                data = b"".join(rows)
            plane.update(data.ljust(plane.buffer_size, b"\0"))
        return made


def _black(pixels: int) -> list[bytearray]:
    return [bytearray([colour]) * (pixels // (4 if number else 1)) for number, colour in enumerate(BLACK)]


class Mosaic:
    """All pictures of a call."""

    def __init__(self, streams: Sequence[int], rate: int) -> None:
        """`streams`: numbers in the records; `rate`: positions per second."""
        self._rate = rate
        self._cells = dict(zip(streams, cells(len(streams)), strict=True)) if streams else {}
        self._sources: dict[tuple[int, int, Any], PictureSource] = {}
        self._waiting: list[tuple[float, int, PictureSource, bytes]] = []  # s, order, source, picture
        self._order = 0
        self._canvas = Canvas()
        self._fresh = True
        self._tick = 0
        self.errors = 0
        # pictures that could not be decoded

    def add(self, placed: Placed) -> None:
        """Add payloads; their pictures are shown at their time."""
        source = self._source(placed)
        if source is not None:
            for position, data in source.pictures.add(placed.position, placed.ext_seq, placed.payloads):
                self._wait(position, source, data)

    def _wait(self, position: int, source: PictureSource, data: bytes) -> None:
        self._order += 1
        heapq.heappush(self._waiting, (position / self._rate, self._order, source, data))

    def _source(self, placed: Placed) -> PictureSource | None:
        key = placed.stream, placed.ssrc, placed.form
        found = self._sources.get(key)
        if found is not None or len(self._sources) >= MAX_SOURCES:
            return found
        unpack = unpacking(placed.form)
        if unpack is not None:
            from av.codec import CodecContext
            from av.codec.context import Flags
            from av.video.codeccontext import VideoCodecContext

            decoder = CodecContext.create(unpack.codec, "r")
            if isinstance(decoder, VideoCodecContext):
                decoder.thread_count = 1
                decoder.flags |= Flags.low_delay  # output each picture at once, or lips and sound do not match
                found = self._sources[key] = PictureSource(self._cells[placed.stream], Pictures(unpack), decoder)
        return found

    def upto(self, seconds: float) -> list[tuple[float, VideoFrame]]:
        """Return the pictures of the canvas before a time up to which all payloads were added, each with its time.

        The pictures are in order of time.
        """
        made: list[tuple[float, VideoFrame]] = []
        while (at := (self._tick + 1) / FPS) <= seconds:
            self._advance(at)
            if self._fresh:
                made.append((self._tick / FPS, self._canvas.frame()))
                self._fresh = False
            self._tick += 1
        return made

    def finish(self, seconds: float) -> list[tuple[float, VideoFrame]]:
        """Return what is left until the end."""
        for source in self._sources.values():
            for position, data in source.pictures.finish():
                self._wait(position, source, data)
        return self.upto(seconds + 1 / FPS)

    def _advance(self, upto: float) -> None:
        """Decode what is due: pictures before `upto`, so that each is shown at most a tick early."""
        for source in self._sources.values():
            for position, data in source.pictures.before(upto * self._rate):
                self._wait(position, source, data)
        while self._waiting and self._waiting[0][0] < upto:
            at, _, source, data = heapq.heappop(self._waiting)
            frame = self._decoded(source, data)
            if frame is not None:
                self._canvas.paste(frame, source.cell)
                source.cell.show(at)
                self._fresh = True
        for cell in self._cells.values():
            if cell.is_still(upto):
                self._canvas.blacken(cell)
                cell.blacken()
                self._fresh = True

    def _decoded(self, source: PictureSource, data: bytes) -> VideoFrame | None:
        from av import Packet
        from av.error import FFmpegError

        frames: list[VideoFrame] = []
        with suppress(FFmpegError):
            frames = source.decoder.decode(Packet(data))
            return frames[-1] if frames else None
        self.errors += 1
        return None
