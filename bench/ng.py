"""The control protocol of rtpengine (ng): one command and one answer in each datagram, in bencode after a cookie."""

from __future__ import annotations

import contextlib
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Words = dict[str, Any]
LARGEST = 65_535
ANSWER_SECONDS, READY_SECONDS = 5.0, 10.0
# Keys that rtpengine spells with a space; in all others an underscore stands for a hyphen.
BLANK = {"record-call": "record call"}


class Unwilling(Exception):
    """A command that rtpengine refuses, or an rtpengine that does not start."""


class Control:
    """A client of one rtpengine."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._socket = socket.socket(type=socket.SOCK_DGRAM)
        self._socket.connect(address)
        self._socket.settimeout(ANSWER_SECONDS)

    def ask(self, command: str, **words: Any) -> Words:
        """Send a command and return its answer; raise Unwilling for an error, OSError if no answer comes."""
        cookie = secrets.token_hex(8).encode()
        plain = {name.replace("_", "-"): value for name, value in words.items()}
        self._socket.send(
            cookie + b" " + encode({"command": command, **{BLANK.get(k, k): v for k, v in plain.items()}})
        )
        while not (data := self._socket.recv(LARGEST)).startswith(cookie + b" "):
            pass  # a late answer to an earlier command
        reply: Words = decode(data, len(cookie) + 1)[0]
        if reply.get("result") not in ("ok", "pong"):
            raise Unwilling(f"rtpengine refuses {command}: {reply}")
        return reply

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


@contextlib.contextmanager
def running(folder: Path, address: tuple[str, int], *words: str) -> Iterator[tuple[subprocess.Popen[bytes], Control]]:
    """Start rtpengine in user space with additional arguments and wait until it answers."""
    command = ["rtpengine", "--foreground", "--config-file=none", "--table=-1", f"--interface={address[0]}"]
    command += [f"--listen-ng={address[0]}:{address[1]}", "--log-level=3", "--log-stderr", f"--pidfile={folder}/pid"]
    log = folder / "rtpengine.log"
    with log.open("wb") as out:
        process = subprocess.Popen([*command, *words], stdout=out, stderr=out, cwd=folder)
    control = Control(address)
    try:
        _wait(control, process, log)
        yield process, control
    finally:
        control.close()
        process.kill()  # Debian's 12.5 may dump core when told to stop with calls open
        process.wait(30)


def _wait(control: Control, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            control.ask("ping")
            return
        except OSError:
            time.sleep(0.1)
    raise Unwilling(f"rtpengine does not start: {log.read_text(errors='replace')[-500:]}")


def encode(value: object) -> bytes:
    """Write a value as bencode."""
    match value:
        case int():
            return b"i%de" % value
        case str():
            return encode(value.encode())
        case bytes():
            return b"%d:%s" % (len(value), value)
        case list():
            return b"l" + b"".join(map(encode, value)) + b"e"
        case dict():
            return b"d" + b"".join(encode(key) + encode(value[key]) for key in sorted(value)) + b"e"
    raise TypeError(f"bencode has no {type(value).__name__}")


def decode(data: bytes, at: int = 0) -> tuple[Any, int]:
    """Read one bencoded value, strings as text; return it and where it ends."""
    kind = data[at : at + 1]
    if kind == b"i":
        end = data.index(b"e", at)
        return int(data[at + 1 : end]), end + 1
    if kind in (b"l", b"d"):
        items, at = [], at + 1
        while data[at : at + 1] != b"e":
            item, at = decode(data, at)
            items.append(item)
        return (items if kind == b"l" else dict(zip(items[::2], items[1::2], strict=True))), at + 1
    colon = data.index(b":", at)
    end = colon + 1 + int(data[at:colon])
    return data[colon + 1 : end].decode(errors="replace"), end
