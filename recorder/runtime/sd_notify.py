"""Talk to systemd: ready, alive, stopping, and the descriptor store, which keeps our sockets while we are not running.

The protocol is one datagram with lines KEY=VALUE to $NOTIFY_SOCKET, descriptors attached
(sd_notify(3), sd_listen_fds(3)).
Without that variable every method does nothing and returns False.
"""

from __future__ import annotations

import array
import os
import re
import socket
import struct
from collections.abc import Iterable, MutableMapping, Sequence

from storage.batches import batches

FIRST_DESCRIPTOR = 3  # SD_LISTEN_FDS_START
MAX_DESCRIPTORS = 253  # SCM_MAX_FD: the kernel refuses more in one message
MAX_NAME = 255  # characters; systemd ignores longer names

SEND_SECONDS = 0.05
"""How long to wait for a manager whose queue (ten messages by default) is full: usually it has room within a
millisecond. After one such wait nobody waits again until it takes a message."""

_TIMEVAL = struct.Struct("@ll")  # seconds and microseconds, socket(7)
_NAME = re.compile(r"[A-Za-z0-9_.+-]{1,255}")  # no colon: it separates the names in LISTEN_FDNAMES


class Notifier:
    """The connection to the service manager, if there is one."""

    def __init__(self, address: str | None) -> None:
        """Take the value of $NOTIFY_SOCKET: a path, or an abstract name after `@`; None or empty if there is none."""
        self._address = address or None
        self._channel: socket.socket | None = None
        self._may_wait = True
        self._owed: dict[str, list[str]] = {}  # messages that must arrive and were not taken, in order
        self.was_ready = False  # READY=1 was reported
        self.stored_early: set[str] = set()  # names of what was stored before that
        self.deaf = False  # a wait for it was in vain; do not wait again until it takes a message

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str] = os.environ) -> Notifier:
        """Remove $NOTIFY_SOCKET from the environment, so that no child process sends in our name."""
        return cls(environment.pop("NOTIFY_SOCKET", None))

    @property
    def present(self) -> bool:
        """Tell whether there is a service manager."""
        return self._address is not None

    @property
    def busy(self) -> bool:
        """Tell whether it had no room for the last message."""
        return not self._may_wait

    def ready(self) -> bool:
        """Report that calls, media and the API are served."""
        self.was_ready = True
        return self._send_reliably(["READY=1"])

    def stopping(self) -> bool:
        """Report that the daemon has begun to stop."""
        return self._send_reliably(["STOPPING=1"])

    def watchdog(self) -> bool:
        """Report that the loop is running, well within WATCHDOG_USEC."""
        return self._send(["WATCHDOG=1"])

    def status(self, sentence: str) -> bool:
        """Set the line that `systemctl status` shows; it must hold no personal data."""
        return self._send(["STATUS=" + " ".join(sentence.split())])

    def extend(self, seconds: float) -> bool:
        """Ask for more time to start or stop."""
        return self._send([f"EXTEND_TIMEOUT_USEC={int(seconds * 1_000_000)}"])

    def store(self, name: str, descriptors: Sequence[int]) -> bool:
        """Put descriptors into the store under one name; `listen_fds` returns them after the next start.

        FDPOLL=0, because systemd would drop a connected UDP socket at the first ICMP error of its peer.
        False if any could not be sent: those are not kept.
        """
        if not self.settle():
            return False  # a removal of that name may still be waiting
        if not self.was_ready:
            self.stored_early.add(name)
        lines = ["FDSTORE=1", f"FDNAME={_checked(name)}", "FDPOLL=0"]
        # each is worth sending, even after one that failed
        sent = [self._send(lines, part) for part in batches(descriptors, MAX_DESCRIPTORS)]
        return all(sent)

    def remove(self, name: str) -> bool:
        """Remove every descriptor of that name from the store."""
        return self._send_reliably(["FDSTOREREMOVE=1", f"FDNAME={_checked(name)}"])

    def give_up(self) -> None:
        """Note that a wait for the manager was in vain: do not wait again until it takes a message."""
        self.deaf = True

    def settle(self) -> bool:
        """Send again what the manager did not take; True if nothing is left."""
        while self._owed:
            first = next(iter(self._owed))
            if not self._send(self._owed[first]):
                return False
            del self._owed[first]
        return True

    def _send_reliably(self, lines: list[str]) -> bool:
        """Send a message that must arrive; `settle` repeats it if the manager does not take it now."""
        if self._address is None:
            return False
        self._owed.setdefault(lines[-1], lines)
        return self.settle()

    def _send(self, lines: Iterable[str], descriptors: Sequence[int] = ()) -> bool:
        """Send one message; False if there is no manager or it does not take the message."""
        if self._address is None:
            return False
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        data = ["\n".join(lines).encode()]
        for _ in range(2):  # a manager that restarted has a new socket under the same name
            try:
                self._channel = self._channel or _connected(self._address)
                self._channel.sendmsg(data, rights, 0 if self._may_wait else socket.MSG_DONTWAIT)
            except BlockingIOError:
                self._may_wait = False
                return False
            except OSError:
                self.close()
            else:
                self._may_wait, self.deaf = True, False
                return True
        return False

    def close(self) -> None:
        """Close the connection to the manager; the next message opens it again."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None


def _connected(address: str) -> socket.socket:
    """Open a connection to the manager, to be kept: each call sends two messages over it."""
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        # The kernel waits and not Python, which would poll before each message.
        whole = int(SEND_SECONDS)
        channel.setsockopt(
            socket.SOL_SOCKET, socket.SO_SNDTIMEO, _TIMEVAL.pack(whole, round((SEND_SECONDS - whole) * 1e6))
        )
        channel.connect("\0" + address[1:] if address.startswith("@") else address)
    except OSError:
        channel.close()
        raise
    return channel


def _checked(name: str) -> str:
    """Return the name; raises ValueError if systemd would ignore it or could not give it back."""
    if not _NAME.fullmatch(name):
        raise ValueError("a descriptor's name is 1 to 255 letters, digits and _ . + -")
    return name


def listen_fds(environment: MutableMapping[str, str] = os.environ, pid: int | None = None) -> dict[str, list[int]]:
    """Take the descriptors that the service manager handed over: name -> descriptors, in their order.

    Remove the variables, and close the descriptors on exec, so that no child takes them for its own. Empty if they are
    not meant for this process. Unnamed ones are called `unknown`, as in sd_listen_fds_with_names(3).
    """
    count, meant = environment.pop("LISTEN_FDS", ""), environment.pop("LISTEN_PID", "")
    names = environment.pop("LISTEN_FDNAMES", "")
    if meant != str(pid or os.getpid()) or not re.fullmatch(r"[0-9]{1,7}", count):
        return {}
    listed = names.split(":") if names else []
    found: dict[str, list[int]] = {}
    for index in range(int(count)):
        descriptor = FIRST_DESCRIPTOR + index
        try:
            os.set_inheritable(descriptor, False)
        except OSError:
            continue  # announced but not open: the manager gave it up
        found.setdefault(listed[index] if index < len(listed) else "unknown", []).append(descriptor)
    return found
