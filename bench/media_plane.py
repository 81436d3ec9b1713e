"""CPU per packet of a media worker under two-stream SRTP G.711 calls.

Run `python bench/media_plane.py [CALLS] [SECONDS] [TICK]`.

A second process sends; the worker is the real one, its CPU time that of the kernel's books (user and system).
"""

import asyncio
import ctypes
import os
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from pylibsrtp import Policy, Session

from media import rtp, sockets
from media.spec import StreamSpec
from recorder import wire
from recorder.workers import Workers
from storage.container import MEDIA_SEGMENT, new_part

SUITE = "AES_CM_128_HMAC_SHA1_80"
KEY = bytes(range(30))
BASE = 21000
PACE = 0.02
SLOTS = 10


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Message(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p), ("name_length", ctypes.c_uint), ("iov", ctypes.c_void_p),
        ("iov_count", ctypes.c_size_t), ("control", ctypes.c_void_p), ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int), ("length", ctypes.c_uint), ("pad", ctypes.c_uint),
    )  # fmt: skip


def load(streams: int, seconds: float) -> None:
    """Send every stream its 50 packets a second, a tenth of the streams every 2 ms."""
    import socket

    session = Session(Policy(key=KEY, ssrc_type=Policy.SSRC_ANY_OUTBOUND))
    packets = [
        ctypes.create_string_buffer(session.protect(rtp.build(8, n, n * 160, 0x1234, os.urandom(160))))
        for n in range(1, int(seconds / PACE) + 1)
    ]
    size = len(packets[0]) - 1
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.bind(("127.0.0.1", 0))
    names = ctypes.create_string_buffer(16 * streams)
    vectors, messages = (_Iovec * streams)(), (_Message * streams)()
    for i in range(streams):
        name = (2).to_bytes(2, "little") + (BASE + 2 * i).to_bytes(2, "big") + socket.inet_aton("127.0.0.1") + bytes(8)
        ctypes.memmove(ctypes.addressof(names) + 16 * i, name, 16)
        vectors[i].length = size
        messages[i].name, messages[i].name_length = ctypes.addressof(names) + 16 * i, 16
        messages[i].iov, messages[i].iov_count = ctypes.addressof(vectors) + 16 * i, 1
    libc = ctypes.CDLL(None)
    bounds = [streams * i // SLOTS for i in range(SLOTS + 1)]
    due = time.monotonic()
    for packet in packets:
        for low, high in pairwise(bounds):
            address = ctypes.addressof(packet)
            for i in range(low, high):
                vectors[i].base = address
            done = low
            while done < high:
                sent = libc.sendmmsg(sender.fileno(), ctypes.byref(messages, done * 64), high - done, 0)
                if sent <= 0:
                    raise SystemExit("the sender failed")
                done += sent
            due += PACE / SLOTS
            time.sleep(max(0.0, due - time.monotonic()))


def cpu(pid: int) -> float:
    """Give the seconds a process was on a processor."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


async def measure(calls: int, seconds: float, tick: float, folder: Path) -> None:
    """Run one load and print what it cost."""
    workers = Workers(
        1,
        folder / "run",
        lambda event: print(event) if isinstance(event, wire.WorkerDied | wire.CallFault) else None,
        tick,
    )
    await workers.start()
    pid = workers._processes[0].pid
    (folder / "run/spool").mkdir()
    pairs = [sockets.open_pair("127.0.0.1", BASE + 2 * i, rtcp=False) for i in range(2 * calls)]
    for number in range(calls):
        header, secret = new_part(os.urandom(32), b"bench", MEDIA_SEGMENT, os.urandom)
        part = os.open(folder / f"{number}.m1", os.O_CREAT | os.O_WRONLY, 0o600)
        spool = os.open(folder / f"run/spool/{number}", os.O_CREAT | os.O_RDWR, 0o600)
        os.write(part, header)
        specs = tuple(StreamSpec(s, SUITE, KEY, own_key=KEY, payloads=((8, "PCMA", 8000),)) for s in range(2))
        new = wire.NewCall(f"{number:036}", wire.Part("m1", secret.key, secret.prefix, secret.segment), specs)
        workers.add(new, {0: pairs[2 * number], 1: pairs[2 * number + 1]}, part, spool)
        os.close(part)
        os.close(spool)
    await workers.snapshot(f"{calls - 1:036}")
    sender = await asyncio.create_subprocess_exec(sys.executable, __file__, "load", str(2 * calls), str(seconds))
    await asyncio.sleep(2.5)
    began, before = cpu(pid), [await workers.snapshot(f"{n:036}") for n in range(calls)]
    await sender.wait()
    await asyncio.sleep(2 * tick)
    ended = cpu(pid)
    finals = await asyncio.gather(*(workers.close(f"{n:036}") for n in range(calls)))
    figures = [f for final in finals for f in final.streams.values()]
    packets = sum(f["packets"] for f in figures) - sum(f["packets"] for each in before for f in each.streams.values())
    lost = sum(f["lost"] for f in figures) + 2 * calls * int(seconds / PACE) - sum(f["packets"] for f in figures)
    each = (ended - began) / max(1, packets) * 1e6
    size = sum(path.stat().st_size for path in folder.glob("*.m1"))
    share = size / max(1, sum(f["bytes"] for f in figures))
    print(
        f"{calls} calls, tick {tick} s: {packets} packets, {each:.2f} us each, {1e4 / each:.0f} calls per core, "
        f"{lost} lost, {share:.3f} x payload on disk"
    )
    await workers.stop()
    for pair in pairs:
        pair.close()


def main() -> None:
    """Read the arguments and run."""
    if sys.argv[1:2] == ["load"]:
        load(int(sys.argv[2]), float(sys.argv[3]))
        return
    numbers = [float(each) for each in sys.argv[1:]]
    calls, seconds, tick = [*numbers, *(200.0, 10.0, 0.5)[len(numbers) :]]
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        asyncio.run(measure(int(calls), seconds, tick, Path(folder)))


if __name__ == "__main__":
    main()
