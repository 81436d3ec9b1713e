"""Decoders and depacketizers, which turn stored media back into sound and pictures."""
