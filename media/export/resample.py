"""Convert 16-bit mono PCM between sample rates, as a stream, by FFmpeg's resampler (imported when first used)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av import AudioFrame


class Resampler:
    """One continuous stretch of sound; create a new one after a gap."""

    def __init__(self, rate_in: int, rate_out: int) -> None:
        from av import AudioResampler

        self._rate_in = rate_in
        self._inner = AudioResampler(format="s16", layout="mono", rate=rate_out)

    def feed(self, pcm: bytes | bytearray) -> bytes:
        """Return what is ready; the filter holds back a fraction of a millisecond."""
        from av import AudioFrame

        if not pcm:
            return b""
        frame = AudioFrame(format="s16", layout="mono", samples=len(pcm) // 2)
        frame.sample_rate = self._rate_in
        room = frame.planes[0].buffer_size
        frame.planes[0].update(bytes(pcm).ljust(room, b"\0"))
        return self._taken(self._inner.resample(frame))

    def finish(self) -> bytes:
        """Return what was held back."""
        return self._taken(self._inner.resample(None))

    @staticmethod
    def _taken(frames: list[AudioFrame]) -> bytes:
        return b"".join([bytes(f.planes[0])[: 2 * f.samples] for f in frames])
