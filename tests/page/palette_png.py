"""A picture of a page with at most 256 colours: half the bytes, and nobody sees the difference."""

import io
from fractions import Fraction
from typing import cast

import av
from av.filter import Graph


def small(png: bytes) -> bytes:
    """Write a PNG anew with a palette of its own."""
    with av.open(io.BytesIO(png)) as file:
        frame = next(file.decode(video=0))
    graph = Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1))
    split, colours = graph.add("split"), graph.add("palettegen", "stats_mode=single:reserve_transparent=0")
    use, sink = graph.add("paletteuse", "dither=none:new=1"), graph.add("buffersink")
    source.link_to(split)
    split.link_to(use, 0, 0)
    split.link_to(colours, 1, 0)
    colours.link_to(use, 0, 1)
    use.link_to(sink)
    graph.configure()
    source.push(frame)
    source.push(None)
    reduced = cast("av.VideoFrame", sink.pull())
    encoder = av.CodecContext.create("png", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = frame.width, frame.height, "pal8", Fraction(1)
    encoder.options = {"compression_level": "9", "pred": "none"}
    return b"".join(bytes(packet) for packet in [*encoder.encode(reduced), *encoder.encode(None)])
