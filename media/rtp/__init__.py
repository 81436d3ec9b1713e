"""RTP and RTCP packets, sequence numbers, redundancy and reception statistics; pure."""
