"""Descriptors of a call inside a media worker: the sockets of each stream, and reading the spool."""

import os
from collections.abc import Iterable, Mapping, Sequence

from media.receive.batch import SLOTS
from media.receive.recvmmsg import OrphanedRegion
from media.receive.sockets import connect, connected
from media.records import commit_slots
from media.spec import StreamSpec
from media.stream.receiver import ReceivedStream


class StreamSockets:
    """The sockets of one stream; -1 for a missing one."""

    __slots__ = ("rtcp", "rtp", "stream")

    def __init__(self, stream: ReceivedStream, descriptors: Sequence[int]) -> None:
        self.stream = stream
        self.rtp = descriptors[0] if descriptors else -1
        self.rtcp = descriptors[1] if len(descriptors) > 1 else -1

    @property
    def let_go(self) -> bool:
        """Tell whether main opened the socket to all senders, so that only a packet's source address would show its
        worth.

        The source moves with a re-offer that we are about to receive; until then everything waits in the kernel.
        """
        stream = self.stream
        if not stream.latch.connected or (stream.latch.pure and stream.srtp.keyring and stream.greet is None):
            return False
        return not connected(self.rtp)

    def settle(self, count: int) -> None:
        """Connect the socket to the chosen source; it is free of other packets once it was emptied (of `count`) after
        that.
        """
        stream = self.stream
        if stream.latch.wish is not None and not stream.latch.coming:  # the next source may be sending already
            stream.latch.connect(connected=connect(self.rtp, stream.latch.wish, stream.spec.here))
        elif stream.latch.connected and count < SLOTS:
            stream.latch.emptied()

    def decide(self) -> None:
        """Connect the socket at the end to a source that is still on trial: it tells main whose packets the call
        received.
        """
        if self.stream.trial and self.rtp >= 0:
            connect(self.rtp, self.stream.latch.name)

    def close(self) -> None:
        """Close our descriptors; main has its own."""
        close_all((self.rtp, self.rtcp))
        self.rtp = self.rtcp = -1


def close_all(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        if descriptor >= 0:
            os.close(descriptor)


def expect(sockets: Mapping[int, StreamSockets], streams: Iterable[StreamSpec]) -> None:
    """Add the keys of a re-offer whose other changes follow."""
    for spec in streams:
        if spec.stream in sockets:
            sockets[spec.stream].stream.expect(spec)


def newest_slot(descriptor: int, key: bytes) -> commit_slots.Slot | None:
    """Read the valid commit; None if the key of the call's spool opens none."""
    return commit_slots.newest(lambda at, length: os.pread(descriptor, length, at), key)


def overwrite_unsealed(descriptor: int, *, but: int = -1) -> None:
    """Overwrite the unencrypted slots of an earlier version, except that of a generation.

    Raises OSError.
    """
    for generation, at, length in commit_slots.unsealed(lambda at, length: os.pread(descriptor, length, at)):
        if generation != but:
            os.pwrite(descriptor, bytes(length), at)


def replay(
    orphaned_region: OrphanedRegion, call: str, generation: int, sockets: Mapping[int, StreamSockets], out: list[bytes]
) -> bool:
    """Take what a dead worker had received for a call but not committed: its batch of this generation, if any.

    Tell whether there was one.
    """
    journal = orphaned_region.journal
    if journal is None or journal.call != call or journal.generation != generation:
        return False
    for lane, (stream, rtcp) in zip(orphaned_region.lanes, journal.lanes, strict=False):
        own, count = sockets.get(stream), lane.count()
        if own is None or not count:
            continue
        if rtcp:
            own.stream.receive_rtcp(lane, count, out)
        else:
            own.stream.replay(lane, count, out)
    return True
