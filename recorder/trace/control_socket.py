"""The Unix socket in the runtime directory over which `recorder trace` asks the daemon, and its protocol.

The client writes one line of JSON: `{"seconds", "source"}`. The daemon writes one line for each message or refusal:
`{"time", "way", "transport", "peer", "local", "text"}`, and at the end `{"end", "messages", "skipped"}`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAME = "trace"
"""Name of the socket in runtime_dir; only the recorder's user and root can connect (mode 0600)."""
MAX_ASKED = 1_024
"""Bytes of the client's line, which has about 60."""
MAX_SECONDS = 3_600
"""The longest trace, so that a forgotten one ends within the hour."""
MAX_LINE = 1 << 20
"""Bytes of one line to a client; masked_message.MAX_LINES bounds it to less."""


@contextmanager
def short_path(runtime_dir: Path) -> Iterator[str]:
    """Yield a path of the socket that fits into sockaddr_un (108 bytes), wherever the folder is; raises OSError."""
    folder = os.open(runtime_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{NAME}"
    finally:
        os.close(folder)
