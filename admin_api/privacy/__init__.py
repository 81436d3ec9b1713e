"""Erasure, retention and data subject requests over HTTP."""
