"""Datagrams of an attacker, many thousands a second: `python -m tests.daemon.flood FILE RATE SECONDS`.

FILE holds the datagrams, which are sent over and over, each from the address it names. Ordinary sockets send those from
addresses of this machine (127.0.0.0/8, or those of a network namespace). A datagram that also names its sender's port
is forged by a raw socket, which only root may open. At the end, print the number of datagrams that the kernel accepted.
"""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEAD = struct.Struct("=4sH4sHI")
AT_ONCE = 64
PAUSE = 0.002
BEHIND = 0.1
"""Seconds of datagrams that a stalled flood makes up for; more at once would fill any socket's buffer."""
IP_PKTINFO = 8
LARGEST = 65_507
UDP = 17


@dataclass(frozen=True)
class Datagram:
    """One datagram."""

    source: tuple[str, int]  # port 0: chosen by the kernel; any other is forged
    target: tuple[str, int]
    data: bytes


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Message(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint),
        ("iov", ctypes.c_void_p),
        ("iov_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
        ("length", ctypes.c_uint),
        ("pad", ctypes.c_uint),
    )


def write(path: Path, datagrams: Iterable[Datagram]) -> None:
    """Write the datagrams of a flood to a file."""
    with path.open("wb") as file:
        for one in datagrams:
            ends = [part for host, port in (one.source, one.target) for part in (socket.inet_aton(host), port)]
            file.write(HEAD.pack(*ends, len(one.data)) + one.data)


def read(path: Path) -> Iterator[Datagram]:
    """Read the datagrams of a flood from a file."""
    data, at = path.read_bytes(), 0
    while at < len(data):
        source, source_port, target, target_port, length = HEAD.unpack_from(data, at)
        at += HEAD.size
        ends = (socket.inet_ntoa(source), source_port), (socket.inet_ntoa(target), target_port)
        yield Datagram(*ends, data[at : at + length])
        at += length


@contextlib.contextmanager
def flood(path: Path, datagrams: Sequence[Datagram], rate: int, seconds: float) -> Iterator[Flood]:
    """Send from a separate process, which ends with the block."""
    write(path, datagrams)
    line = [sys.executable, "-m", "tests.daemon.flood", str(path), str(rate), str(seconds)]
    process = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE)
    try:
        yield Flood(process, seconds)
    finally:
        process.kill()
        process.communicate()


@dataclass
class Flood:
    """A running flood."""

    process: subprocess.Popen[bytes]
    seconds: float

    def over(self) -> bool:
        """Return whether it has ended."""
        return self.process.poll() is not None

    def sent(self) -> int:
        """Wait for the end and return the number of datagrams that were sent."""
        out, _ = self.process.communicate(timeout=self.seconds + 30)
        if self.process.returncode:
            raise RuntimeError("the flood failed")
        return int(out)


class _Batch:
    """Prepared messages for sendmmsg."""

    def __init__(self, sender: socket.socket, datagrams: Sequence[Datagram], *, raw: bool) -> None:
        self.sender = sender
        self.count = len(datagrams)
        self.messages = (_Message * self.count)()
        self._kept: list[object] = []
        for message, one in zip(self.messages, datagrams, strict=True):
            data = _packet(one) if raw else one.data
            message.iov, message.iov_count = self._keep((_Iovec * 1)(_Iovec(self._keep(_bytes(data)), len(data)))), 1
            message.name, message.name_length = self._keep(_bytes(_address(one.target))), 16
            if not raw:
                control = struct.pack("=QiiI4s4s4x", 28, socket.IPPROTO_IP, IP_PKTINFO, 0, _ip(one.source), bytes(4))
                message.control, message.control_length = self._keep(_bytes(control)), len(control)

    def _keep(self, thing: ctypes.Array[ctypes.c_char] | ctypes.Array[_Iovec]) -> int:
        self._kept.append(thing)
        return ctypes.addressof(thing)


def _bytes(data: bytes) -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(data, max(1, len(data)))


def _ip(end: tuple[str, int]) -> bytes:
    return socket.inet_aton(end[0])


def _address(end: tuple[str, int]) -> bytes:
    return struct.pack("=H", socket.AF_INET) + struct.pack("!H", end[1]) + _ip(end) + bytes(8)


def _packet(one: Datagram) -> bytes:
    """Return the datagram with IP and UDP headers; the kernel adds the IP checksum, the UDP checksum is omitted."""
    length = 8 + len(one.data)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 0, 0, 64, UDP, 0) + _ip(one.source) + _ip(one.target)
    return head + struct.pack("!HHHH", one.source[1], one.target[1], length, 0) + one.data


def _batches(datagrams: Sequence[Datagram]) -> list[_Batch]:
    """Make the batches in the order of the file, one for each run of forged or honest datagrams."""
    honest = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    honest.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
    forged = [one for one in datagrams if one.source[1]]
    plain = [one for one in datagrams if not one.source[1]]
    out = [_Batch(honest, plain[i : i + AT_ONCE], raw=False) for i in range(0, len(plain), AT_ONCE)]
    if forged:
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        out += [_Batch(raw, forged[i : i + AT_ONCE], raw=True) for i in range(0, len(forged), AT_ONCE)]
    return out


def main(path: str, rate: int, seconds: float) -> int:
    """Send the datagrams; return how many the kernel accepted."""
    batches = _batches(list(read(Path(path))))
    sendmmsg = ctypes.CDLL(None, use_errno=True).sendmmsg
    sendmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)
    began, tried, sent, turn = time.monotonic(), 0, 0, 0
    while (passed := time.monotonic() - began) < seconds:
        tried = max(tried, int(rate * (passed - BEHIND)))
        while tried < rate * passed:
            batch = batches[turn % len(batches)]
            done = sendmmsg(batch.sender.fileno(), ctypes.addressof(batch.messages), batch.count, 0)
            sent += max(0, done)
            tried += batch.count
            turn += 1
        time.sleep(PAUSE)
    return sent


if __name__ == "__main__":
    print(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
