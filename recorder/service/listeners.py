"""Open the daemon's listening sockets, or take them over from systemd's descriptor store.

A file in the runtime directory lists these sockets, so that `recorder check-config --start` can tell the ports that a
running daemon of this configuration holds from those of other programs.
"""

from __future__ import annotations

import errno
import ipaddress
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from recorder.config.model import Settings
from recorder.config.value_readers import Listener, Transport
from recorder.errors import NotPossible

BACKLOG = 1024
"""All SBCs reconnect at the same moment after a restart."""

RELEASE_SECONDS = 1.0
"""How long the service manager may take to close its copies of sockets that are no longer wanted."""

RELEASE_AGAIN_SECONDS = 0.02
"""Seconds between two tries to bind their ports."""

SIP, API = "sip", "api"
"""First letters of the names of listeners in the descriptor store; their numbers follow."""

MEDIA = "m"
"""First letter of the names of media sockets in the descriptor store (recorder.calls.fd_store)."""

HELD = "listening"
"""File in the runtime directory: the inodes of the listening sockets, as JSON. No other socket has one of these while
they are open, whoever holds them: this process, or systemd while it restarts."""

TABLES = Path("/proc/self/net")
"""The kernel's lists of open sockets: udp, udp6, tcp and tcp6 (proc_pid_net(5))."""

LISTENING = "0A"
"""State of a listening socket there (TCP_LISTEN)."""


@dataclass(frozen=True, slots=True)
class Listening:
    """One open socket and where it came from."""

    address: Listener
    socket: socket.socket
    name: str  # name in the descriptor store
    adopted: bool


class PortTaken(NotPossible):
    """Another socket is bound to the port."""


def open_socket(address: Listener) -> socket.socket:
    """Open and bind one listening socket; raises NotPossible with a clear sentence if that fails."""
    made = _bind(address)
    if address.transport != "udp":
        try:
            made.listen(BACKLOG)
        except OSError as error:
            made.close()
            raise _refused(address, error) from None
    return made


def check_free(address: Listener, held: frozenset[int]) -> None:
    """Raise NotPossible if `open_socket` would; a port of the sockets with these inodes counts as free."""
    try:
        _bind(address).close()
    except PortTaken:
        there = bound_sockets(address)
        if not there or not there <= held:
            raise


def _bind(address: Listener) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    stream = address.transport != "udp"
    kind = socket.SOCK_STREAM if stream else socket.SOCK_DGRAM
    proto = (
        socket.IPPROTO_TCP if stream else socket.IPPROTO_UDP
    )  # asyncio sets TCP_NODELAY only if the protocol is named
    made = socket.socket(family, kind, proto)
    try:
        made.setblocking(False)
        if stream:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((address.host, address.port))
    except OSError as error:
        made.close()
        raise _refused(address, error) from None
    return made


def _refused(address: Listener, error: OSError) -> NotPossible:
    return (PortTaken if error.errno == errno.EADDRINUSE else NotPossible)(
        f"Cannot listen on {address}: {error.strerror}.",
        "Is another recorder running? Choose another address or port in the configuration.",
    )


def bound_sockets(address: Listener) -> set[int]:
    """Return the inodes of the sockets that take this address, as the kernel lists them."""
    datagrams = address.transport == "udp"
    table = TABLES / (("udp" if datagrams else "tcp") + ("6" if ":" in address.host else ""))
    found = set()
    for line in table.read_text().splitlines()[1:]:
        fields = line.split()
        host, _, port = fields[1].partition(":")
        words = [int(host[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(host), 8)]
        there, here = ipaddress.ip_address(b"".join(words)), ipaddress.ip_address(address.host)
        overlapping = there == here or there.is_unspecified or here.is_unspecified
        if int(port, 16) == address.port and overlapping and (datagrams or fields[3] == LISTENING):
            found.add(int(fields[9]))
    return found


def note_held(runtime_dir: Path, listening: Sequence[Listening]) -> None:
    """Write down which sockets are ours. A full disk prevents that but does not stop the start."""
    path = runtime_dir / HELD
    with suppress(OSError):
        new = path.with_suffix(".new")
        new.write_text(json.dumps([os.fstat(each.socket.fileno()).st_ino for each in listening]))
        new.replace(path)


def held_sockets(runtime_dir: Path) -> frozenset[int]:
    """Return the inodes of the sockets on which a daemon of this runtime directory listens, or last did."""
    try:
        found = json.loads((runtime_dir / HELD).read_text())
    except (OSError, ValueError):
        return frozenset()
    return frozenset(each for each in found if type(each) is int) if isinstance(found, list) else frozenset()


def open_all(
    addresses: Sequence[Listener], prefix: str, stored: Mapping[str, Sequence[socket.socket]]
) -> list[Listening]:
    """Open every address in order; take over a stored socket that is still bound to the same address.

    If one cannot be opened, the stored ones stay open, so that it can be tried again.
    """
    out: list[Listening] = []
    try:
        for number, address in enumerate(addresses):
            name = f"{prefix}{number}"
            adopted = next((s for s in stored.get(name, ()) if _same(s, address)), None)
            out.append(Listening(address, adopted or open_socket(address), name, adopted is not None))
    except NotPossible:
        _close_new(out)
        raise
    return out


def open_listeners(
    settings: Settings, stored: Mapping[str, list[socket.socket]], forget: Callable[[str], object]
) -> list[Listening]:
    """Open the listeners of SIP, then that of the API and that of [metrics], if there is one; raises NotPossible.

    `forget` removes a name from the service manager's store: stored sockets whose addresses are not configured any more
    are closed, here and there.
    """
    sip, api = settings.sip.listen, list(api_addresses(settings).values())
    wanted = {
        f"{prefix}{number}": each for prefix, all_ in ((SIP, sip), (API, api)) for number, each in enumerate(all_)
    }
    stale = _drop_stale(wanted, stored)
    for name in stale:
        forget(name)
    until = time.monotonic() + (RELEASE_SECONDS if stale else 0.0)
    while True:
        listening = []
        try:
            listening += open_all(sip, SIP, stored)
            listening += open_all(api, API, stored)
        except PortTaken:
            _close_new(listening)
            if time.monotonic() > until:
                raise
            time.sleep(RELEASE_AGAIN_SECONDS)
        else:
            return [replace(each, adopted=each.adopted and each.name not in stale) for each in listening]


def api_addresses(settings: Settings) -> dict[str, Listener]:
    """Return where the API and [metrics] listen, by the key that configures it."""
    found = {"admin_api.listen": settings.admin_api.listen, "metrics.listen": settings.metrics.listen}
    return {key: Listener(Transport.TCP, address) for key, address in found.items() if address}


def _close_new(listening: Iterable[Listening]) -> None:
    for each in listening:
        if not each.adopted:
            each.socket.close()


def _drop_stale(wanted: Mapping[str, Listener], stored: Mapping[str, list[socket.socket]]) -> list[str]:
    """Close stored listening sockets of addresses that are no longer wanted under their name; return these names.

    The service manager's own copies keep the ports bound until it removes these names.
    """
    stale = []
    for name in listening_names(stored):
        address = wanted.get(name)
        for each in [each for each in stored[name] if address is None or not _same(each, address)]:
            each.close()
            stored[name].remove(each)
            stale.append(name)
    return stale


def listening_names(stored: Iterable[str]) -> list[str]:
    """Return the names in the descriptor store that are not those of media sockets."""
    return [name for name in stored if not name.startswith(MEDIA)]


def _same(stored: socket.socket, address: Listener) -> bool:
    try:
        bound = stored.getsockname()
        kind = socket.SOCK_DGRAM if address.transport == "udp" else socket.SOCK_STREAM
    except OSError:
        return False
    return stored.type == kind and bound[:2] == (address.host, address.port)
