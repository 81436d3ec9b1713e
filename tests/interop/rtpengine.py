"""Run rtpengine, the media relay behind OpenSIPS, and speak its control protocol (ng: bencode over UDP)."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.journeys.server import free_port

HOST = "127.0.0.1"


def available() -> bool:
    """Whether rtpengine is installed."""
    return shutil.which("rtpengine") is not None


class Relay:
    """One rtpengine."""

    def __init__(self, port: int) -> None:
        self.address = (HOST, port)

    def ask(self, command: str, **words: Any) -> dict[str, Any]:
        """Send one command; underscores in names are blanks to rtpengine, which writes them as hyphens."""
        cookie = uuid.uuid4().hex.encode()
        body = encode({"command": command, **{name.replace("_", "-"): value for name, value in words.items()}})
        with socket.socket(type=socket.SOCK_DGRAM) as mine:
            mine.settimeout(3)
            mine.sendto(cookie + b" " + body, self.address)
            while True:
                data = mine.recv(65_535)
                if data.startswith(cookie + b" "):
                    answer, _ = decode(data, len(cookie) + 1)
                    return dict(answer)

    def alive(self) -> bool:
        """Whether it answers."""
        try:
            return self.ask("ping").get("result") == "pong"
        except OSError:
            return False


@contextmanager
def relay(first: int) -> Iterator[Relay]:
    """Run rtpengine in user space on ports of its own."""
    one = Relay(free_port())
    words = ["rtpengine", "--table=-1", f"--interface={HOST}", f"--listen-ng={HOST}:{one.address[1]}", "--foreground"]
    words += [f"--port-min={first}", f"--port-max={first + 99}", "--log-stderr", "--log-level=3", "--num-threads=1"]
    words += ["--config-file=none", "--timeout=60"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            end = time.monotonic() + 10
            while not one.alive():
                if process.poll() is not None or time.monotonic() > end:
                    said = process.stderr.read(2000) if process.stderr else b""
                    raise RuntimeError(f"rtpengine did not start: {said!r}")
            yield one
        finally:
            process.kill()


def encode(value: Any) -> bytes:
    """Write bencode."""
    if isinstance(value, dict):
        return b"d" + b"".join(encode(key) + encode(value[key]) for key in sorted(value)) + b"e"
    if isinstance(value, list):
        return b"l" + b"".join(map(encode, value)) + b"e"
    if isinstance(value, int):
        return b"i%de" % value
    text = value if isinstance(value, bytes) else str(value).encode()
    return b"%d:%s" % (len(text), text)


def decode(data: bytes, at: int) -> tuple[Any, int]:
    """Read one value of bencode; give it and where the next begins."""
    mark = data[at : at + 1]
    if mark == b"i":
        end = data.index(b"e", at)
        return int(data[at + 1 : end]), end + 1
    if mark in b"ld":
        items, at = [], at + 1
        while data[at : at + 1] != b"e":
            item, at = decode(data, at)
            items.append(item)
        return (dict(zip(items[::2], items[1::2], strict=True)) if mark == b"d" else items), at + 1
    colon = data.index(b":", at)
    end = colon + 1 + int(data[at:colon])
    return data[colon + 1 : end].decode(errors="replace"), end
