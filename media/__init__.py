"""Datagram to record: receive, authenticate, decrypt, order and lay out the media of calls (imports nothing of
ours).
"""
