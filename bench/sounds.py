"""Cost of rendering a long call to sound files: `python -m bench.sounds [MINUTES]`."""

from __future__ import annotations

from bench.waveform import measure

if __name__ == "__main__":
    measure(("wav", "flac", "opus", "mp3"))
