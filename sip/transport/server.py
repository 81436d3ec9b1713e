"""The sockets of the SIP endpoint: UDP, TCP and TLS under asyncio. With `sip.transport.sockets` the only I/O of `sip`.

After every datagram, read and timer it does the same: feed the endpoint, hand over its events, send, set the timer.
Nothing is logged here; the user learns of failures by `Dropped` events.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from sip.endpoint import Endpoint
from sip.message.header_values import Flow
from sip.transport.resolver import Resolver
from sip.transport.sockets import Connection, Datagrams, TlsAcceptor, certificate_matches, certificate_names
from sip.transport.tls_handshakes import Handshakes
from sip.ua.events import Close, Dropped, Event, Send
from sip.ua.settings import Settings

# Receive buffer requested on UDP: 4 MiB hold a second of INVITEs at 1,000/s while the process restarts.
UDP_BUFFER = 4 * 1024 * 1024
# Connections that the kernel queues while we are busy.
BACKLOG = 512
# Seconds to open a connection of ours; without a limit, a route that drops packets would block for two minutes.
CONNECT_TIMEOUT = 3.0
# Seconds that an unknown peer may stay on a connection without sending anything.
UNKNOWN_PEER_SECONDS = 5.0
# Messages that may wait while a connection is opened: all calls of an SBC may send at the same moment.
MAX_WAITING = 512


@dataclass(frozen=True)
class Listener:
    """One address to listen on; its socket is already bound and may outlive this process."""

    # udp, tcp or tls.
    transport: str
    # SOCK_DGRAM, or SOCK_STREAM made with IPPROTO_TCP (else asyncio leaves Nagle's algorithm on).
    socket: socket.socket
    # Returns the context for a new TLS connection, so that certificates can be renewed; None on udp and tcp.
    ssl_context: Callable[[], ssl.SSLContext] | None = None


def open_socket(transport: str, host: str, port: int) -> socket.socket:
    """Bind a listening socket for a `Listener`; raise OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    kind, protocol = (
        (socket.SOCK_DGRAM, socket.IPPROTO_UDP) if transport == "udp" else (socket.SOCK_STREAM, socket.IPPROTO_TCP)
    )
    made = socket.socket(family, kind, protocol)
    try:
        if transport != "udp":
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((host, port))
        made.setblocking(False)
    except OSError:
        made.close()
        raise
    return made


class Server:
    """Run an endpoint on real sockets."""

    def __init__(
        self,
        endpoint: Endpoint,
        on_event: Callable[[Event], None],
        admits: Callable[[Flow], bool],
        *,
        clock: Callable[[], float],
        settings: Settings | None = None,
        client_context: Callable[[], ssl.SSLContext] | None = None,
        known: Callable[[Flow], bool] = lambda _: True,
        filter_names: Callable[[bytes, tuple[str, ...]], tuple[str, ...]] = lambda _, names: names,
    ) -> None:
        """Set the user's decisions: `admits` for who may send at all, `known` for who may stay on a connection.

        `filter_names` is given a verified certificate (DER) with its names and returns those that count.
        """
        self._endpoint = endpoint
        self._on_event = on_event
        self._admits = admits
        self._clock = clock
        self._settings = settings or Settings()
        self._client_context = client_context
        self._known = known
        self._filter_names = filter_names
        self._udp: dict[int, Datagrams] = {}
        self._servers: list[asyncio.Server] = []
        self._connections: dict[int, Connection] = {}
        self._outgoing: dict[tuple[str, tuple[str, int]], Connection | list[Send]] = {}
        self._resolver = Resolver()
        self._peers: Counter[str] = Counter()
        self._handshakes: Handshakes[TlsAcceptor] = Handshakes()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0  # when it fires, on our clock
        self._numbers = 0
        self._turning = False
        self._closed = False

    async def start(self, listeners: Sequence[Listener]) -> None:
        """Start listening; the order of the listeners gives `Flow.listener`."""
        loop = asyncio.get_running_loop()
        for number, listener in enumerate(listeners):
            if listener.transport == "udp":
                with contextlib.suppress(OSError):
                    listener.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UDP_BUFFER)
                self._udp[number] = Datagrams(self, number, listener.socket)
                self._udp[number].open()
            else:
                self._servers.append(await self._listen(loop, number, listener))
        self.flush()

    def flush(self) -> None:
        """Process the result of commands to the endpoint: hand over its events, send, set the timer."""
        if self._turning or self._closed:
            return
        self._turning = True
        try:
            self._drain()
        finally:
            self._turning = False
        self._arm()

    async def close(self) -> None:
        """Send what is waiting, close all connections and stop listening; also close sockets that were passed in."""
        self.flush()
        self._closed = True
        if self._timer:
            self._timer.cancel()
        for datagrams in self._udp.values():
            datagrams.close()
        for server in self._servers:
            server.close()
        for connection in list(self._connections.values()):
            connection.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # Called by the sockets.

    def received(self, data: bytes, flow: Flow) -> None:
        """Process one datagram."""
        try:
            self._endpoint.receive_datagram(data, flow, self._clock())
        except Exception:  # the endpoint catches its own bugs; no other may end the listener
            self._tell(Dropped(flow, "internal"))
        self.flush()

    def admits(self, flow: Flow) -> bool:
        """Ask the user whether a source belongs to a customer; a bug there admits nobody."""
        try:
            admitted = self._admits(flow)
        except Exception:
            self._tell(Dropped(flow, "internal"))
            return False
        if not admitted:
            self._tell(Dropped(flow, "source"))
        return admitted

    def room_for(self, host: str) -> bool:
        """Make room for one more connection of a source; return False if its limit is reached. Handshakes count too."""
        settings = self._settings
        if self._peers.get(host, 0) + self._handshakes.of(host) >= settings.max_connections_per_peer:
            return False
        if len(self._connections) + len(self._handshakes) < settings.max_connections:
            return True
        acceptor = self._handshakes.to_abort_for(host)
        if acceptor is not None:
            self._handshakes.end(acceptor)
            acceptor.transport.abort()
        return acceptor is not None

    def unsent(self, flow: Flow) -> None:
        """Report a message that was longer than a datagram can be."""
        self._tell(Dropped(flow, "too-long-for-udp"))

    def rejected(self, flow: Flow, reason: str) -> None:
        """Report a connection that was not established."""
        self._tell(Dropped(flow, reason))

    def names_of(self, tls: ssl.SSLObject | None) -> tuple[str, ...]:
        """Return the names in a peer's certificate that count; none if the user's code fails."""
        names = certificate_names(tls)
        try:
            return self._filter_names(tls.getpeercert(binary_form=True) or b"", names) if tls and names else ()
        except Exception:
            self._tell(Dropped(None, "internal"))
            return ()

    def secure(self, acceptor: TlsAcceptor) -> None:
        """Run the TLS handshake of an accepted connection."""
        self._handshakes.begin(acceptor)
        self._own(self._handshake(acceptor), "tls-handshake")

    def connected(self, connection: Connection) -> bool:
        """Add a connection; return False if it must be closed, because the peer is unknown or the limit is reached."""
        flow = connection.flow
        if not self.room_for(flow.remote[0]):
            self._tell(Dropped(flow, "too-many-connections"))
            return False
        # A connection that we opened leads where a dialog pointed, so its answers must be admitted.
        if not connection.opened_by_us and not self.admits(flow):
            return False
        if not connection.opened_by_us and not self._known(flow):
            connection.close_after_answer(UNKNOWN_PEER_SECONDS)
        self._connections[flow.connection] = connection
        self._peers[flow.remote[0]] += 1
        self._endpoint.connection_made(flow, self._clock(), ours=connection.opened_by_us)
        self.flush()
        return True

    def read(self, data: bytes, flow: Flow) -> None:
        """Process bytes from a connection; a bug ends that connection."""
        try:
            self._endpoint.receive_stream(data, flow, self._clock())
        except Exception:
            self._tell(Dropped(flow, "internal"))
            self._connections[flow.connection].close()
        self.flush()

    def disconnected(self, connection: Connection) -> None:
        """Remove a connection."""
        flow = connection.flow
        if self._connections.pop(flow.connection, None) is None:
            return
        _less(self._peers, flow.remote[0])
        if self._outgoing.get((flow.transport, flow.remote)) is connection:
            del self._outgoing[flow.transport, flow.remote]
        self._endpoint.connection_lost(flow, self._clock())
        self.flush()

    def next_number(self) -> int:
        """Return the number of the next connection."""
        self._numbers += 1
        return self._numbers

    # The loop: events, sending, timer.

    def _drain(self) -> None:
        """Repeat until neither events nor data are left, since the user's answers produce new data."""
        while True:
            idle = True
            while (event := self._endpoint.next_event()) is not None:
                idle = False
                self._tell(event)
            for item in self._endpoint.data_to_send():
                idle = False
                self._send(item)
            if idle:
                return

    def _tell(self, event: Event) -> None:
        """Hand over an event; a bug in the user's code ends that event, not the listener."""
        try:
            self._on_event(event)
        except Exception:
            if not isinstance(event, Dropped):
                self._tell(Dropped(None, "internal"))

    def _arm(self) -> None:
        at = self._endpoint.next_timer()
        if self._timer:
            if at is not None and self._timer_at <= at + 0.001:
                return
            self._timer.cancel()
        self._timer = None
        if at is not None:
            self._timer_at = at
            self._timer = asyncio.get_running_loop().call_later(max(0.0, at - self._clock()), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._endpoint.handle_timer(self._clock())
        self.flush()

    def _send(self, item: Send | Close) -> None:
        flow = item.flow
        connection = self._connections.get(flow.connection)
        if isinstance(item, Close):
            if connection:
                connection.close()
        elif flow.transport == "udp":
            self._send_datagram(item)
        elif connection:
            connection.write(item.data)
        elif not flow.connection:
            self._send_by_new(item)

    def _send_datagram(self, item: Send) -> None:
        datagrams = self._udp.get(item.flow.listener)
        host, port = item.flow.remote
        known = self._resolver.known(host)
        if datagrams and known:
            datagrams.put(item.data, (known, port), item.flow.local[0])
        elif datagrams:
            self._own(self._look_up(item, datagrams), "look-up")

    async def _look_up(self, item: Send, datagrams: Datagrams) -> None:
        """Send to a name; if it cannot be resolved, the flow counts as lost."""
        host, port = item.flow.remote
        try:
            found = await self._resolver.look_up(host, port, datagrams.family)
            datagrams.put(item.data, (found, port), item.flow.local[0])
        except OSError:
            self._endpoint.connection_lost(item.flow, self._clock())
            self.flush()

    def _send_by_new(self, item: Send) -> None:
        """Send on a connection that we open, unless one is open already."""
        key = (item.flow.transport, item.flow.remote)
        known = self._outgoing.get(key)
        if isinstance(known, list):
            if len(known) < MAX_WAITING:
                known.append(item)
        elif known:
            self._write(known, item)
        else:
            self._outgoing[key] = [item]
            self._own(self._connect(item.flow), "connect")

    def _write(self, connection: Connection, item: Send) -> None:
        """Send on a connection that we opened; if it leads to a different peer, the flow counts as lost."""
        if certificate_matches(item.flow, connection.flow):
            connection.write(item.data)
        else:
            self._endpoint.connection_lost(item.flow, self._clock())

    async def _handshake(self, acceptor: TlsAcceptor) -> None:
        try:
            connection = await acceptor.handshake()
        finally:
            self._handshakes.end(acceptor)
        if connection:
            connection.establish()

    async def _connect(self, flow: Flow) -> None:
        key = (flow.transport, flow.remote)
        try:
            context = self._client_context() if flow.transport == "tls" and self._client_context else None
            if flow.transport == "tls" and context is None:
                raise OSError("no client certificate")
            loop = asyncio.get_running_loop()
            opened = loop.create_connection(
                lambda: Connection(self, flow.listener, flow.transport, asked=flow), *flow.remote, ssl=context
            )
            _, connection = await asyncio.wait_for(opened, CONNECT_TIMEOUT)
        except (OSError, TimeoutError, ValueError):
            self._lose(key)
            return
        if connection.transport.is_closing() or not certificate_matches(flow, connection.flow):
            # Over the limit, or already gone, or the peer is not the one of the dialog (RFC 5923 section 5.1).
            connection.close()
            self._lose(key)
            return
        waiting = self._outgoing.get(key)
        self._outgoing[key] = connection
        for item in waiting if isinstance(waiting, list) else ():
            self._write(connection, item)
        self.flush()

    def _lose(self, key: tuple[str, tuple[str, int]]) -> None:
        """Tell the endpoint that a flow that it asked for is not available."""
        failed = self._outgoing.pop(key, None)
        for lost in {item.flow for item in failed} if isinstance(failed, list) else ():
            self._endpoint.connection_lost(lost, self._clock())
        self.flush()

    async def _listen(self, loop: asyncio.AbstractEventLoop, number: int, listener: Listener) -> asyncio.Server:
        if listener.ssl_context is None:
            return await loop.create_server(
                lambda: Connection(self, number, listener.transport), sock=listener.socket, backlog=BACKLOG
            )
        wanted = listener.ssl_context
        return await loop.create_server(
            lambda: TlsAcceptor(self, number, wanted), sock=listener.socket, backlog=BACKLOG
        )

    def _own(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _less(counter: Counter[str], key: str) -> None:
    """Decrement, and remove the entry at zero, so that one-time sources use no memory."""
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]
