"""From stored streams to files: timeline, resampling, mixing, encoding, waveforms, captures."""
