"""One received stream: source choice, gaps, pauses, key changes, statistics and RTCP reports."""
