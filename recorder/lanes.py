"""Descriptors of a call inside a media worker: the sockets of each stream, and what the spool holds."""

import os
from collections.abc import Iterable, Sequence

from media import spool
from media.sockets import stamp_arrivals
from media.track import Track


class Lanes:
    """The sockets of one stream; -1 where it has none."""

    __slots__ = ("rtcp", "rtp", "track")

    def __init__(self, track: Track, descriptors: Sequence[int]) -> None:
        self.track = track
        self.rtp = descriptors[0] if descriptors else -1
        self.rtcp = descriptors[1] if len(descriptors) > 1 else -1
        for descriptor in descriptors:
            stamp_arrivals(descriptor)

    def close(self) -> None:
        """Close our descriptors; main has its own."""
        for descriptor in (self.rtp, self.rtcp):
            if descriptor >= 0:
                os.close(descriptor)


def close_all(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        if descriptor >= 0:
            os.close(descriptor)


def newest_slot(descriptor: int) -> spool.Slot | None:
    """Read the commit that counts; None if there was none."""
    return spool.newest(lambda at, length: os.pread(descriptor, length, at))
