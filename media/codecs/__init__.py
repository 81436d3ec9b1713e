"""Decoders and depacketizers: what is needed to hear and see what was stored."""
