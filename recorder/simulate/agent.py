"""Transactions of a client (RFC 3261 section 17.1) and answers to the recorder's requests, over one link."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Protocol

from recorder.simulate import dialog
from recorder.simulate.dialog import Self
from recorder.simulate.link import StreamLink, UdpLink, Unreachable, open_link
from recorder.simulate.plan import Plan
from sip.errors import SipError
from sip.message.message import Framed, Request, Response, parse

T1, T2 = 0.5, 4.0
"""RFC 3261 section 17.1.1.1, in seconds."""
GREETING_SECONDS = 2.0
"""Seconds for the answer to OPTIONS: three retransmissions."""
_LOOK_SECONDS = 0.25
"""Seconds between checks by a waiting request whether its connection was replaced."""


class Owner(Protocol):
    """Receives what concerns one dialog."""

    def asked(self, request: Request) -> Response:
        """Answer a request of the recorder."""
        ...

    def repeated(self, response: Response) -> Request | None:
        """Send the ACK of a repeated 2xx."""
        ...


class Agent:
    """One client on one link."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._waiting: dict[tuple[str, str], asyncio.Queue[Response]] = {}
        self.owners: dict[str, Owner] = {}
        self._link: UdpLink | StreamLink | None = None
        self._sending: set[asyncio.Task[None]] = set()
        self._opening = asyncio.Lock()

    async def start(self) -> None:
        """Open the link; raise Unreachable."""
        self._link = await open_link(self._plan, self._receive)

    async def ready(self) -> bool:
        """Tell whether there is a link, after another try to open it if there never was one."""
        async with self._opening:
            if self._link is None:
                try:
                    await self.start()
                except Unreachable:
                    return False
        return self.link.up

    async def greet(self) -> None:
        """Send OPTIONS (RFC 3261 section 11); raise Unreachable if nobody listens, which UDP does not show otherwise.

        A recorder that does not answer it still gets its calls.
        """
        me, uri = self.link.me, self._plan.to
        sender = f"<sip:{dialog.AGENT}@{me.host}>;tag={secrets.token_hex(6)}"
        asking = dialog.Dialog(uri, f"<{uri.partition(';')[0]}>", sender, f"{secrets.token_hex(12)}@{me.host}")
        response, _ = await self.ask(asking.request("OPTIONS", me, self.branch()), GREETING_SECONDS)
        if response is None and self.link.refused:
            host, port = self.link.remote
            raise Unreachable(f"Nobody answers at {host}:{port} over UDP.")

    async def close(self) -> None:
        """Send what is queued and close the link."""
        if self._link is None:
            return
        if self._sending:
            await asyncio.wait(self._sending, timeout=1)
        await self.link.close()

    @property
    def link(self) -> UdpLink | StreamLink:
        """The link to the recorder; raises Unreachable before `start`."""
        if self._link is None:
            raise Unreachable("The link is not open.")
        return self._link

    @property
    def me(self) -> Self:
        """Our address on the current connection."""
        return self.link.me

    @staticmethod
    def branch() -> str:
        """Return a new transaction id."""
        return f"z9hG4bK{secrets.token_hex(10)}"

    async def ask(self, request: Request, timeout: float | None = None) -> tuple[Response | None, float]:
        """Send a request and wait for its final answer; return it, or None on a timeout, and the
        seconds that it took.
        """
        key = (request.via.branch or "", request.method)
        queue = self._waiting[key] = asyncio.Queue()
        began = time.monotonic()
        try:
            response = await self._wait(request, queue, began + (timeout or self._plan.setup_timeout))
        except TimeoutError:  # the connection was never opened again
            response = None
        finally:
            del self._waiting[key]
        return response, time.monotonic() - began

    async def _wait(self, request: Request, queue: asyncio.Queue[Response], end: float) -> Response | None:
        pause, losses, provisional, data = T1, self.link.losses, False, bytes(request)
        datagram = isinstance(self.link, UdpLink)
        await asyncio.wait_for(self.link.send(data), max(0.01, end - time.monotonic()))
        due = time.monotonic() + pause
        while (left := end - time.monotonic()) > 0:
            look = due - time.monotonic() if datagram else _LOOK_SECONDS
            try:
                response = await asyncio.wait_for(queue.get(), max(0.001, min(left, look)))
            except TimeoutError:
                quiet = provisional and request.method == "INVITE"
                if datagram and not quiet:
                    await self.link.send(data)
                elif self.link.losses != losses:
                    losses = self.link.losses
                    await asyncio.wait_for(self.link.send(data), max(0.01, end - time.monotonic()))
                pause = min(2 * pause, T2) if request.method != "INVITE" or quiet else 2 * pause
                due = time.monotonic() + pause
                continue
            if response.status >= 200:
                return response
            provisional = True
        return None

    def post(self, message: Request | Response) -> None:
        """Send a message that needs no answer."""
        task = asyncio.create_task(self.link.send(bytes(message)), name="simulate-send")
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    def _receive(self, data: Framed | bytes) -> None:
        try:
            message = parse(data)
            self._answered(message) if isinstance(message, Response) else self._asked(message)
        except SipError:
            return  # invalid SIP messages are ignored

    def _answered(self, response: Response) -> None:
        method = response.cseq.method
        queue = self._waiting.get((response.via.branch or "", method))
        if queue is not None:
            queue.put_nowait(response)
            return
        owner = self.owners.get(response.call_id)
        ack = owner.repeated(response) if owner and method == "INVITE" else None
        if ack is not None:
            self.post(ack)

    def _asked(self, request: Request) -> None:
        owner = self.owners.get(request.call_id)
        if request.method == "ACK":
            return
        if request.method == "OPTIONS":
            self.post(dialog.reply(request, 200, "OK", extra=(("Allow", dialog.ALLOW),), tag=secrets.token_hex(4)))
        elif owner is None:
            self.post(dialog.reply(request, 481, "Call/Transaction Does Not Exist", tag=secrets.token_hex(4)))
        else:
            self.post(owner.asked(request))
