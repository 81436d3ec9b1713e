"""A media worker: `python -m recorder.workers.process REGION TICK PARENT`, with its control socket as descriptor 3.

It empties the sockets of its calls once a tick and otherwise does what main tells it. It holds no state that would be
missed: if it is killed, everything that counts is in the spools and in its receive region. When main ends, the worker
empties its sockets once more, because no other process may hold them, and ends too.
"""

import contextlib
import ctypes
import os
import select
import signal
import socket
import sys
import time
import traceback
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from media.receive.recvmmsg import Region
from media.receive.sockets import dropped, widen
from media.records.commit_slots import KEY, Nonces
from media.stream.fast_path_library import library
from media.stream.gaps import MAX_GAPS
from recorder.runtime.sandbox import close_others, confine_media, forbid_dumps, landlock_version
from recorder.workers import codec, messages
from recorder.workers.call_recorder import CallRecorder
from recorder.workers.priority import HandshakePriority
from recorder.workers.rcvbuf_overflow import LOOK, Overflow
from recorder.workers.stream_sockets import close_all, expect
from recorder.workers.version_check import GREETING

CONTROL = 3
#: prctl(2): have the kernel send a signal when main's thread that started us ends.
PR_SET_PDEATHSIG = 1
#: Seconds for the last round: less than the 0.2 s after which systemd starts a successor, which needs the ports.
LAST_ROUND = 0.15
#: Seconds after main's end at which we exit whatever we are doing.
DEADLINE = 0.3
#: Calls served between two checks of the control socket: 1 ms of work, less than an SBC takes to act on an answer.
CALLS_BETWEEN_LOOKS = 8
#: Seconds after which the control socket is read before any media: a process that did not run for so long may find
#: packets under keys that main has sent meanwhile.
STALE = 0.002
#: Messages read at once, so that a busy main cannot keep us from reading media.
MESSAGES_AT_ONCE = 64
BEAT = 1.0
#: Bad packets a second on one stream above which it still counts as flooded.
FLOOD = 500
#: Exit status of a worker that ran out of memory, EX_OSERR of sysexits.h.
NO_MEMORY = 71
STATS = 5.0
#: Streams in one Stats message, so that it stays below codec.MAX_MESSAGE: counters take 220 bytes at most.
STREAMS_PER_STATS = 512
#: Gaps listed for each stream of a call: fewer if the message would be too long, with more than 25 streams.
GAPS_LISTED = (MAX_GAPS, 64, 32, 16, 8)
#: As a plain number: combining enum members takes longer than reading a message.
_CUT = int(socket.MSG_TRUNC | socket.MSG_CTRUNC)
_ANCILLARY = socket.CMSG_SPACE(4 * codec.MAX_DESCRIPTORS)
#: Messages that bring a call. A tuple because a union would be built anew on every use.
_BRINGING = (messages.Add, messages.Adopt)
#: Events buffered for a main that does not read; figures are dropped before that.
MAX_OUTBOX = 10_000


class Worker:
    """The loop of one worker."""

    def __init__(self, control: socket.socket, region: Region, tick: float) -> None:
        control.setblocking(False)
        self._control = control
        self._region = region
        self._tick = tick
        self._nonces = Nonces(os.urandom(KEY))
        self._recorders: dict[str, CallRecorder] = {}
        self._outbox: deque[bytes] = deque([GREETING])
        #: One buffer for all messages: allocating one of this size each time fragments the heap.
        self._inbox = bytearray(codec.MAX_MESSAGE)
        self._seen: dict[tuple[str, int], tuple[int, int]] = {}
        self._busy = 0.0
        #: Start of a running round whose time is not in `_busy` yet.
        self._since: float | None = None
        self._next_beat = self._next_stats = 0.0
        self._troubled: set[str] = set()
        self._adopted = False
        #: When the control socket was last read; a poll that a signal interrupted did not read it, whatever it returns.
        self._looked = 0.0
        self._overflow = Overflow(dropped, widen)
        self._urgent = HandshakePriority(self._overflow)
        self._handlers: dict[type, Callable[[Any, list[int]], None]] = {
            messages.Add: self._add,
            messages.Adopt: self._adopt,
            messages.Change: self._change,
            messages.Pause: lambda m, _: self._recorders[m.call].pause(m.at),
            messages.Unpause: lambda m, _: self._recorders[m.call].unpause(m.at),
            messages.Reached: lambda m, _: self._recorders[m.call].reached(),
            messages.Close: self._close,
            messages.Drop: self._drop,
            messages.Ask: self._ask,
            messages.NextPart: self._next_part,
        }

    # ---- the loop ----
    def run(self) -> None:
        """Work until main closes the control socket."""
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        self._flush()
        now = time.monotonic()
        due, self._next_beat, self._next_stats = now + self._tick, now + BEAT, now + STATS
        while True:
            poll.modify(self._control, select.POLLIN | (select.POLLOUT if self._outbox else 0))
            wake = min(due, self._urgent.due)
            wake = min(wake, time.monotonic() + LOOK) if self._recorders else wake
            readable = poll.poll(max(0.0, wake - time.monotonic()) * 1000)
            self._since = time.monotonic()
            if readable and not self._listen():
                return
            if time.monotonic() >= due:
                if not self._work():
                    return
                due = max(due + self._tick, time.monotonic())
            self._account()
            self._since = None
            self._do_periodic_work()

    def last_round(self) -> None:
        """Read what the kernel has once main is gone, so that a successor only has to take what arrives from now on."""
        until = time.monotonic() + LAST_ROUND
        for recorder in list(self._recorders.values()):
            if time.monotonic() > until:
                return
            self._guard(recorder.id, partial(recorder.drain, self._region, time.time_ns()))

    def _do_periodic_work(self) -> None:
        """Check for floods, advance handshakes, send heartbeats and reports when due, also during a long round."""
        now = time.monotonic()
        if self._recorders or self._overflow.hot:
            self._overflow.look(self._media_sockets, time.monotonic)
        if now >= self._urgent.due:
            took = self._urgent.serve(self._advance_handshake, time.monotonic)
            self._busy += took if self._since is None else 0.0  # a round is counted as a whole
        self._beat()
        if now >= self._next_stats:
            self._next_stats = now + STATS
            self._report()

    def _media_sockets(self) -> Iterator[tuple[str, list[int]]]:
        """Yield each call with its sockets for RTP."""
        for recorder in self._recorders.values():
            yield recorder.id, [sockets.rtp for sockets in recorder.sockets.values() if sockets.rtp >= 0]

    def _advance_handshake(self, call: str) -> bool:
        """Empty the sockets of a call between two rounds; True if one of its handshakes is in progress."""
        if call in self._recorders:
            self._guard(call, partial(self._recorders[call].advance_handshakes, self._region, time.time_ns()))
        return call in self._recorders and self._recorders[call].handshaking

    def _work(self) -> bool:
        """Empty the sockets of every call once; False if main is gone."""
        for number, recorder in enumerate(self._in_turn(), 1):
            # what a paused call drops is lost for ever, and the message that ends the pause may be waiting
            if (recorder.paused or time.monotonic() - self._looked > STALE) and not self._listen():
                return False
            if recorder.id in self._recorders:
                self._guard(recorder.id, partial(recorder.drain, self._region, time.time_ns()))
                if bool(recorder.trouble) != (recorder.id in self._troubled):
                    self._trouble(recorder)
            if number % CALLS_BETWEEN_LOOKS == 0:
                self._do_periodic_work()
                if not self._listen():
                    return False
        return True

    def _in_turn(self) -> list[CallRecorder]:
        """Return all calls; after a worker died, those that waited longest first, since workers may die repeatedly."""
        recorders = list(self._recorders.values())
        if self._adopted:
            self._adopted = False
            recorders.sort(key=lambda recorder: recorder.heard)
        return recorders

    def _guard(self, call: str, act: Callable[[], Any]) -> None:
        """Run a step for a call; any failure ends only our work on this call, and main decides what follows."""
        try:
            act()
        except MemoryError:
            os._exit(NO_MEMORY)  # a successor has what this one received, and fresh memory
        except Exception as problem:
            place = traceback.extract_tb(problem.__traceback__)[-1]
            where = f"{os.path.basename(place.filename)}:{place.lineno} {type(problem).__name__}"
            self._forget(call)
            self._send_event(messages.CallFault(call, where))

    def _trouble(self, recorder: CallRecorder) -> None:
        if recorder.trouble:
            self._troubled.add(recorder.id)
            self._send_event(messages.DiskTrouble(recorder.id, recorder.trouble))
        else:
            self._troubled.discard(recorder.id)
            self._send_event(messages.DiskWell(recorder.id))

    # ---- messages ----
    def _listen(self) -> bool:
        """Send waiting events, read every waiting message; False at the end of the control socket."""
        self._flush()
        self._looked = time.monotonic()
        taken: list[tuple[Any, list[int]]] = []
        going = self._take(taken)
        # apply the keys of all re-offers before any of them: packets under each may be waiting
        changes = [message for message, _ in taken if type(message) is messages.Change]
        self._expect(changes)
        for message, descriptors in taken:
            self._handle(message, descriptors)
            self._beat()  # hundreds of them take a worker with little CPU time longer than a hang
            if changes and isinstance(message, _BRINGING):
                self._expect(change for change in changes if change.call == message.new.call)
        return going

    def _expect(self, changes: Iterable[messages.Change]) -> None:
        for change in changes:
            if change.call in self._recorders:
                self._guard(change.call, partial(expect, self._recorders[change.call].sockets, change.streams))

    def _take(self, taken: list[tuple[Any, list[int]]]) -> bool:
        """Read messages with their descriptors; False at the end of the control socket."""
        for _ in range(MESSAGES_AT_ONCE):
            try:
                length, ancillary, flags, _ = self._control.recvmsg_into([self._inbox], _ANCILLARY)
            except BlockingIOError:
                return True
            except ConnectionResetError:
                continue  # main died with an unread message of ours: what it sent before waits behind this error
            except OSError:
                return False
            if not length:
                return False
            if flags & _CUT:
                raise codec.WireError("a message from main is truncated: too many descriptors for this process?")
            descriptors = array("i", b"".join(data for _, _, data in ancillary)).tolist()
            taken.append((codec.decode_command(memoryview(self._inbox)[:length]), descriptors))
        return True

    def _handle(self, message: Any, descriptors: list[int]) -> None:
        call = message.new.call if isinstance(message, _BRINGING) else message.call
        if call not in self._recorders and not isinstance(message, _BRINGING):
            close_all(descriptors)
            return
        # not the number of a commit: it only says which call is at fault if we crash
        self._region.begin(call.encode(), 0, (), ())
        self._guard(call, partial(self._handlers[type(message)], message, descriptors))

    def _add(self, message: messages.Add, descriptors: list[int]) -> None:
        part, spool, *sockets = descriptors
        recorder = self._recorders[message.new.call] = CallRecorder(
            message.new, part, spool, os.urandom, self._send_event, self._nonces
        )
        recorder.add_streams(message.new.streams, _shared_out(message.sockets, sockets), time.time_ns())
        self._await_keys(recorder)

    def _adopt(self, message: messages.Adopt, descriptors: list[int]) -> None:
        part, spool, *sockets = descriptors
        raw = sockets.pop(0) if message.raw else None
        recorder = self._recorders[message.new.call] = CallRecorder(
            message.new, part, spool, os.urandom, self._send_event, self._nonces
        )
        recorder.add_streams(message.new.streams, _shared_out(message.sockets, sockets), time.time_ns())
        for number, each in recorder.sockets.items():
            if each.stream.srtp.keyring:
                each.stream.srtp.keyring.precede(
                    [(suite, key, mki) for stream, suite, key, mki in message.earlier if stream == number]
                )
        recorder.resume(self._region, raw, message.kept, message.at)
        self._send_event(messages.Resumed(recorder.id, recorder.part, recorder.parts))
        self._adopted = True
        self._await_keys(recorder)

    def _change(self, message: messages.Change, descriptors: list[int]) -> None:
        sockets = _shared_out(message.sockets, descriptors)
        recorder = self._recorders[message.call]
        recorder.change(self._region, message.streams, sockets, message.removed, message.at)
        self._await_keys(recorder)

    def _await_keys(self, recorder: CallRecorder) -> None:
        if recorder.handshaking:
            self._urgent.handshaking.add(recorder.id)

    def _close(self, message: messages.Close, _: list[int]) -> None:
        recorder = self._recorders[message.call]
        committed = recorder.close(self._region, message.at)
        final = _fitting(
            lambda gaps: messages.Final(
                recorder.id, recorder.part, committed, recorder.parts, recorder.figures(gaps), recorder.clean
            )
        )
        self._forget(recorder.id)
        self._post(final)

    def _drop(self, message: messages.Drop, _: list[int]) -> None:
        self._forget(message.call)

    def _ask(self, message: messages.Ask, _: list[int]) -> None:
        recorder = self._recorders[message.call]
        recorder.drain(self._region, time.time_ns())
        self._post(_fitting(lambda gaps: messages.Figures(recorder.id, message.token, recorder.figures(gaps))))

    def _next_part(self, message: messages.NextPart, descriptors: list[int]) -> None:
        recorder = self._recorders[message.call]
        ended = recorder.next_part(self._region, message.part, descriptors[0], time.time_ns(), message.finished)
        self._send_event(messages.PartEnded(message.call, *ended))

    def _forget(self, call: str) -> None:
        recorder = self._recorders.pop(call, None)
        self._troubled.discard(call)
        if recorder is not None:
            for number in recorder.sockets:
                self._seen.pop((call, number), None)
            with contextlib.suppress(OSError):
                recorder.release()
            self._region.forget()

    # ---- events ----
    def _account(self) -> None:
        """Count the time of a running round; without that, an overloaded worker looks idle in every other heartbeat."""
        now = time.monotonic()
        if self._since is not None:
            self._busy += now - self._since
            self._since = now

    def _beat(self) -> None:
        """Report each second that we live, and which streams had packets refused."""
        late = time.monotonic() - self._next_beat
        if late < 0:
            return
        self._account()
        self._send_event(messages.Beat(round(min(1.0, self._busy / (late + BEAT)), 4)))
        self._busy, self._next_beat = 0.0, self._next_beat + late + BEAT
        for recorder in self._recorders.values():
            for number, sockets in recorder.sockets.items():
                now = (sockets.stream.reception.rejected, sockets.stream.reception.foreign)
                before = self._seen.get((recorder.id, number), (0, 0))
                if now != before:
                    self._seen[recorder.id, number] = now
                    if sum(now) - sum(before) >= FLOOD:
                        self._overflow.keep(recorder.id, time.monotonic())
                    # fewer than before if a re-offer brought the key of some
                    fresh = [max(0, new - old) for new, old in zip(now, before, strict=True)]
                    self._send_event(messages.RefusedPackets(recorder.id, number, *fresh))

    def _report(self) -> None:
        if self._outbox:
            return  # main is behind: old counters would not help it
        counts: dict[str, tuple[messages.Counts, ...]] = {}
        streams = 0
        for recorder in self._recorders.values():
            if counts and streams + len(recorder.sockets) > STREAMS_PER_STATS:
                self._send_event(messages.Stats(counts))
                counts, streams = {}, 0
            counts[recorder.id] = recorder.counts()
            streams += len(recorder.sockets)
        if counts:
            self._send_event(messages.Stats(counts))

    def _send_event(self, event: Any) -> None:
        self._post(codec.encode(event))

    def _post(self, data: bytes) -> None:
        if len(self._outbox) < MAX_OUTBOX:
            self._outbox.append(data)
        self._flush()

    def _flush(self) -> None:
        try:
            while self._outbox:
                self._control.send(self._outbox[0])
                self._outbox.popleft()
        except OSError:
            return  # full: POLLOUT reports it; gone: the next recv reports it


def _fitting(report: Callable[[int], Any]) -> bytes:
    """Encode a report with all gaps of each stream, or as many as fit; raises WireError if it never fits."""
    for gaps in GAPS_LISTED[:-1]:
        with contextlib.suppress(codec.WireError):
            return codec.encode(report(gaps))
    return codec.encode(report(GAPS_LISTED[-1]))


def _shared_out(sockets: messages.Sockets, descriptors: list[int]) -> dict[int, list[int]]:
    """Give each stream its descriptors."""
    out: dict[int, list[int]] = {}
    at = 0
    for stream, count in sockets:
        out[stream] = descriptors[at : at + count]
        at += count
    return out


def main() -> None:
    """Run a worker until main ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a terminal's or systemd's signal is for main, which ends us
    signal.signal(signal.SIGUSR1, lambda *_: signal.setitimer(signal.ITIMER_REAL, DEADLINE))
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGUSR1, 0, 0, 0)
    try:
        forbid_dumps()
        close_others((CONTROL,))  # descriptors that our parent left open for its children are inherited
        _work()
    except MemoryError:  # effective both between two calls and during one
        os._exit(NO_MEMORY)
    except Exception as problem:  # Python would print its text
        _log_crash(problem)
        os._exit(1)
    os._exit(0)


def _log_crash(problem: Exception) -> None:
    """Log the class of an exception and where it was raised, if code may still be read to do so."""
    with contextlib.suppress(Exception):
        from recorder.observe import logs

        logs.Pipeline(sys.stdout, process="media").log.critical("process.crashed", exc_info=problem)


def _work() -> None:
    library()  # now, from the same files as this process: they may be replaced before the first packet comes
    worker = Worker(socket.socket(fileno=CONTROL), Region(sys.argv[1]), float(sys.argv[2]))
    if os.getppid() != int(sys.argv[3]):
        # Main died before our region existed for its successor to wait for, and left us calls to record. They belong to
        # the successor, and two workers would split their packets.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(sys.argv[1])
        return
    if not landlock_version():
        import recorder.workers.dtls_sockets  # noqa: F401 - now or never: nothing can be opened from here on
    confine_media()
    worker.run()
    worker.last_round()


if __name__ == "__main__":
    main()
