"""Descriptors of a call inside a media worker: the sockets of each stream, and what the spool holds."""

import os
from collections.abc import Iterable, Mapping, Sequence

from media.receive.batch import SLOTS
from media.receive.recvmmsg import OrphanedRegion
from media.receive.sockets import connect, connected
from media.records import commit_slots
from media.spec import StreamSpec
from media.stream.receiver import ReceivedStream


class StreamSockets:
    """The sockets of one stream; -1 where it has none."""

    __slots__ = ("rtcp", "rtp", "track")

    def __init__(self, track: ReceivedStream, descriptors: Sequence[int]) -> None:
        self.track = track
        self.rtp = descriptors[0] if descriptors else -1
        self.rtcp = descriptors[1] if len(descriptors) > 1 else -1

    @property
    def let_go(self) -> bool:
        """Tell whether main has let the socket hear everybody, and only where a packet came from would tell its worth.

        The source moves by a re-offer that we are about to be told of: until then all waits in the kernel.
        """
        track = self.track
        if not track.latch.connected or (track.latch.pure and track.srtp.keyring and track.greet is None):
            return False
        return not connected(self.rtp)

    def settle(self, count: int) -> None:
        """Connect the socket to the source that was chosen; it is pure once it was emptied (of `count`) after that."""
        track = self.track
        if track.latch.wish is not None and not track.latch.coming:  # the next source may speak already
            track.latch.connect(connected=connect(self.rtp, track.latch.wish, track.spec.here))
        elif track.latch.connected and count < SLOTS:
            track.latch.emptied()

    def decide(self) -> None:
        """Connect the socket at the end to a source that is still on trial: by that main knows whom the call heard."""
        if self.track.trial and self.rtp >= 0:
            connect(self.rtp, self.track.latch.name)

    def close(self) -> None:
        """Close our descriptors, and have none from now on; main has its own."""
        close_all((self.rtp, self.rtcp))
        self.rtp = self.rtcp = -1


def close_all(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        if descriptor >= 0:
            os.close(descriptor)


def expect(lanes: Mapping[int, StreamSockets], streams: Iterable[StreamSpec]) -> None:
    """Take the keys of a re-offer whose other changes follow."""
    for spec in streams:
        if spec.stream in lanes:
            lanes[spec.stream].track.expect(spec)


def newest_slot(descriptor: int, key: bytes) -> commit_slots.Slot | None:
    """Read the commit that counts; None if there was none that the key of the call's spool opens."""
    return commit_slots.newest(lambda at, length: os.pread(descriptor, length, at), key)


def overwrite_unsealed(descriptor: int, *, but: int = -1) -> None:
    """Overwrite the slots that a version before this one left in the clear, all but that of a generation.

    Raises OSError.
    """
    for generation, at, length in commit_slots.unsealed(lambda at, length: os.pread(descriptor, length, at)):
        if generation != but:
            os.pwrite(descriptor, bytes(length), at)


def replay(
    orphaned_region: OrphanedRegion, call: str, generation: int, lanes: Mapping[int, StreamSockets], out: list[bytes]
) -> bool:
    """Take what a dead worker had received of a call and not committed: its batch of this generation, if any.

    Tell whether there was one.
    """
    journal = orphaned_region.journal
    if journal is None or journal.call != call or journal.generation != generation:
        return False
    for lane, (stream, rtcp) in zip(orphaned_region.lanes, journal.lanes, strict=False):
        own, count = lanes.get(stream), lane.count()
        if own is None or not count:
            continue
        if rtcp:
            own.track.receive_rtcp(lane, count, out)
        else:
            own.track.replay(lane, count, out)
    return True
