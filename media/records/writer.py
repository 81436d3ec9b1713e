"""Write the packets of one stream, in order of arrival, to as few records as possible."""

from collections.abc import Iterable, Iterator

from media.records import record_format
from media.rtp.header import HEADER, Parsed

#: extended sequence, arrival ns, header, packet
Item = tuple[int, int, Parsed, bytes]

#: A longer pause between packets does not fit a 16-bit delta in units of 0.1 ms.
MAX_PAUSE = record_format.MAX_DELTA * record_format.DELTA_NS
MAX_RUN = 1024


def group(stream: int, items: Iterable[Item]) -> Iterator[bytes]:
    """Yield runs of packets that follow each other evenly, and single packets."""
    held: list[Item] = []
    for item in items:
        if held and not _follows(held, item):
            yield _record(stream, held)
            held = []
        held.append(item)
    if held:
        yield _record(stream, held)


def _plain(item: Item) -> bool:
    return item[3][0] == 0x80


def _follows(held: list[Item], item: Item) -> bool:
    last, (extended, arrival, header, packet) = held[-1], item
    if extended != last[0] + 1 or len(packet) != len(last[3]) or header[0] or header[1] != last[2][1]:
        return False
    if header[4] != last[2][4] or not (_plain(last) and _plain(item)) or len(held) >= MAX_RUN:
        return False
    if not 0 <= arrival - last[1] <= MAX_PAUSE:
        return False
    return len(held) == 1 or _step(last, item) == _step(held[0], held[1])


def _step(one: Item, two: Item) -> int:
    return (two[2][3] - one[2][3]) & 0xFFFFFFFF


def _record(stream: int, held: list[Item]) -> bytes:
    extended, arrival, header, packet = held[0]
    if len(held) == 1:
        return record_format.packet(stream, extended, arrival, packet)
    return record_format.run(
        record_format.Run(
            stream=stream,
            marker=header[0],
            payload_type=header[1],
            ssrc=header[4],
            step=_step(held[0], held[1]),
            sequence=extended,
            timestamp=header[3],
            arrivals=tuple(item[1] for item in held),
            payloads=tuple(item[3][HEADER:] for item in held),
        )
    )
