"""One simulated call from INVITE to BYE."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from recorder.simulate import dialog
from recorder.simulate.agent import Agent
from recorder.simulate.batch import random_number
from recorder.simulate.bodies import Line, Picture, Target, asks_for_silence, combine, offer, read_answer
from recorder.simulate.dialog import Dialog
from recorder.simulate.media_link import MediaLink
from recorder.simulate.plan import CODECS, DTLS, SUITES, Plan
from recorder.simulate.report import CallReport, StreamReport
from sip.message.message import Request, Response

_STALL = 30.0
"""Seconds a machine may stall before its last packets are given up."""
_LOOK = 0.02
"""Seconds between checks of a condition."""
_NEXT = 4.0
"""Seconds without an answer until a call goes to the next recorder: an answer takes milliseconds."""
_UNAVAILABLE = 503
_GRACE = 0.06
"""Seconds between the last packet and the hold or BYE after it: signalling rarely overtakes audio by more."""


def _dialog_with(uri: str, address: str) -> Dialog:
    """Begin a dialog of our address with a recorder."""
    host = f"[{address}]" if ":" in address else address
    return Dialog(
        target=uri,
        to=f"<{uri.partition(';')[0]}>",
        sender=f"<sip:recorder-simulate@{host}>;tag={secrets.token_hex(6)}",
        call_id=f"{secrets.token_hex(12)}@{host}",
    )


class _Left:
    """Ends the dialog with a recorder whose 2xx comes after its call went to the next one."""

    def __init__(self, agent: Agent, dialog: Dialog, invite: Request) -> None:
        self._agent, self._dialog, self._invite = agent, dialog, invite
        self._ack: Request | None = None

    def asked(self, request: Request) -> Response:
        """Agree to everything."""
        return dialog.reply(request, 200, "OK")

    def repeated(self, response: Response) -> Request | None:
        """Send the ACK of a 2xx, and a BYE after the first."""
        if not 200 <= response.status < 300:
            return None
        if self._ack is None:
            self._dialog.established(response)
            self._ack = self._dialog.ack(response, self._agent.me, self._agent.branch(), self._invite)
            self._agent.post(self._ack)
            self._agent.post(self._dialog.request("BYE", self._agent.me, self._agent.branch()))
            return None
        return self._ack


class SimulatedCall:
    """Places one call and keeps its report."""

    def __init__(
        self, plan: Plan, number: int, agents: Sequence[Agent], media: MediaLink, address: str, ports: Sequence[int],
        voices: Sequence[Any], fingerprint: str = "",
    ) -> None:  # fmt: skip
        self._plan, self._number, self._agent, self._media, self._voices = plan, number, agents[0], media, voices
        self._others = list(zip(plan.others, agents[1:], strict=True))
        suite = plan.suite_of(number)
        size = SUITES.get(suite or "", 0)
        self._lines = [
            Line(str(i + 1), plan.codec_of(i), ports[i], suite, os.urandom(size), fingerprint)
            for i in range(plan.lines)
        ]
        parties = plan.parties_of(number)
        self._picture = Picture(parties, [line.label for line in self._lines], datetime.now(UTC).isoformat())
        self._dialog = _dialog_with(plan.to, address)
        self.report = CallReport(number, self._dialog.call_id, self._picture.session, parties, to=plan.to)
        self._address, self._session, self._version = address, random_number(31), 0
        self._invite: Request | None = None
        self._ack: Request | None = None
        self._direction = "sendonly"
        self._role = "actpass"
        self._silenced = False
        self._turning: asyncio.Future[None] | None = None
        self._ids: list[int] = []
        self._targets: list[Target | None] = []
        self._over = asyncio.Event()
        self.sending = False

    async def place(self) -> None:
        """Set the call up, send audio as planned, hang up."""
        self._agent.owners[self._dialog.call_id] = self
        await self._set_up()
        if self._ids:
            await self._send_audio()
            await self._end()

    async def _set_up(self) -> None:
        response, took = await self._invited()
        setup_ms = round(took * 1000, 3)
        if response is None:
            self.report.no_answer(setup_ms)
            return
        self.report.final_answer(setup_ms, response.status, response.reason)
        if not self.report.answered:
            return
        targets = self._targets = self._judge(response)
        await self._add_streams(targets)
        if not self._ids:
            self.report.fault("The recorder accepted the call but none of its streams.")
            await self._bye()

    def _judge(self, response: Response) -> list[Target | None]:
        """Note what is wrong with a 2xx; return where each stream goes."""
        targets, faults = read_answer(response.body, self._lines, self._direction, mux=self._plan.rtcp_mux)
        self.report.fault(*faults)
        if "+sip.srs" not in (response.headers.get("Contact") or "").lower():
            self.report.fault("The Contact of an answer lacks +sip.srs (RFC 7866 section 6.2).")
        if self._targets and targets != self._targets:
            self.report.fault("The answer to a re-INVITE changes address or key of a stream that it goes on with.")
        return targets

    async def _invited(self) -> tuple[Response | None, float]:
        """Invite one recorder after the other until one answers, and not with 503 (RFC 3263 section 4.3)."""
        passed = 0.0
        for uri, agent in self._others:
            if await self._agent.ready():
                response, took = await self._offer("INVITE", self._picture.document(), _NEXT)
                passed += took
                if response is not None and response.status != _UNAVAILABLE:
                    return response, passed
                if response is None and self._invite is not None:
                    self._agent.owners[self._dialog.call_id] = _Left(self._agent, self._dialog, self._invite)
            self._turn_to(uri, agent)
        if self._others and not await self._agent.ready():
            return None, passed
        response, took = await self._offer("INVITE", self._picture.document())
        return response, passed + took

    def _turn_to(self, uri: str, agent: Agent) -> None:
        """Go on to another recorder, with another dialog."""
        self._agent, self._dialog = agent, _dialog_with(uri, self._address)
        self._agent.owners[self._dialog.call_id] = self
        self.report.turned_to(uri, self._dialog.call_id)

    async def _offer(
        self, method: str, metadata: bytes | None, timeout: float | None = None
    ) -> tuple[Response | None, float]:
        """Send an offer in an INVITE or UPDATE and acknowledge its answer."""
        self._version += 1
        sdp = offer(self._lines, self._address, self._session, self._version, self._direction, mux=self._plan.rtcp_mux)
        return await self._ask(method, combine(sdp, metadata), timeout)

    async def _ask(
        self, method: str, body: tuple[str, str | None, bytes] = ("", None, b""), timeout: float | None = None
    ) -> tuple[Response | None, float]:
        request = self._dialog.request(method, self._agent.me, self._agent.branch(), body)
        if method == "INVITE":
            self._invite, self._ack = request, None
        response, took = await self._agent.ask(request, timeout)
        if response is None:
            return None, took
        if 200 <= response.status < 300 and method != "BYE":
            self._dialog.established(response)
        if method == "INVITE":
            self._ack = self._dialog.ack(response, self._agent.me, self._agent.branch(), request)
            await self._agent.link.send(bytes(self._ack))
        return response, took

    async def _add_streams(self, targets: Sequence[Target | None]) -> None:
        words = []
        for i, (line, target) in enumerate(zip(self._lines, targets, strict=True)):
            if target is not None:
                number = self._number * self._plan.lines + i
                self._ids.append(number)
                self._role = "passive" if target.setup == "active" else "active"
                words.append(self._words(number, i, line, target))
                self.report.streams.append(self._stream(i, line))
        if words:
            await self._media.do("add", streams=words)
            await self._shake_hands()

    async def _shake_hands(self) -> None:
        """Wait for the keys of DTLS-SRTP."""
        if self._lines[0].suite != DTLS:
            return
        state = await self._media.do("keyed", ids=self._ids)
        while not state["over"]:
            await asyncio.sleep(_LOOK)
            state = await self._media.do("keyed", ids=self._ids)
        self.report.fault(*(f"DTLS-SRTP: {fault}." for fault in state["faults"]))

    def _words(self, number: int, i: int, line: Line, target: Target) -> dict[str, Any]:
        who = {
            "id": number,
            "lane": i,
            "run": self._plan.run,
            "call": self._number,
            "stream": i,
            "ssrc": random_number(32),
            "batched": self._plan.batched,
        }
        where = {"host": target.host, "port": target.port, "rtcp_port": target.rtcp_port}
        how = {"codec": line.codec, "suite": line.suite, "key": line.key.hex(), "peer_key": target.key.hex()}
        words: dict[str, Any] = who | where | how | {"sound": self._voices[i][0] if self._voices else 0}
        if line.suite == DTLS:
            words |= {"fingerprints": target.fingerprints, "active": target.setup == "passive"}
        return words

    def _stream(self, i: int, line: Line) -> StreamReport:
        tune = self._voices[i][1] if self._voices else None
        party = self.report.parties[self._picture.senders[i]]
        return StreamReport(line.label, line.codec, line.suite, self._plan.run or 0, self._number, i, party, tune=tune)

    async def _send_audio(self) -> None:
        """Send audio for the planned time, with the planned update and hold."""
        plan, began = self._plan, time.monotonic()
        await self._switch("on")
        if plan.update:
            await self._until(began + plan.seconds / 4)
            await self._update()
        if plan.hold:
            await self._until(began + (plan.seconds - plan.hold) / 2)
            await self._hold("inactive", held=True)
            await self._until(began + (plan.seconds + plan.hold) / 2)
            await self._hold("sendonly", held=False)
        if plan.swap_speakers:
            await self._until(began + max(3 * plan.seconds, 2 * (plan.seconds + plan.hold)) / 4)
            await self._swap()
        await self._until(began + plan.seconds)
        await self._stop_audio()

    async def _until(self, moment: float) -> None:
        """Wait for a moment or the recorder's BYE."""
        try:
            await asyncio.wait_for(self._over.wait(), max(0.0, moment - time.monotonic()))
        except TimeoutError:
            return

    async def _switch(self, what: str) -> None:
        if not self._over.is_set() or what == "off":
            await self._media.do(what, ids=self._ids)
            self.sending = what == "on"

    async def _stop_audio(self) -> None:
        """Stop sending; return once the last packet is sent, even if a busy machine delays it."""
        state = await self._media.do("off", ids=self._ids)
        self.sending = False
        await asyncio.sleep(_GRACE)
        for _ in range(round(_STALL / _LOOK)):
            if (await self._media.do("time"))["tick"] >= state["tick"]:
                return
            await asyncio.sleep(_LOOK)

    async def _update(self) -> None:
        """Send a changed name in an UPDATE without SDP (RFC 7866 section 9.1)."""
        if self._over.is_set():
            return
        self._picture.rename_last()
        self.report.renamed(self._picture.parties)
        response, _ = await self._ask("UPDATE", combine(None, self._picture.document()))
        self._expect(response, "UPDATE")

    async def _swap(self) -> None:
        """Report in a re-INVITE that two participants have swapped streams (RFC 7865 section 6.9)."""
        if self._over.is_set():
            return
        self._picture.swap()
        response, _ = await self._offer("INVITE", self._picture.document())
        self._expect(response, "re-INVITE")
        if response is not None and 200 <= response.status < 300:
            self._judge(response)
            for stream in self.report.streams:
                stream.later = self.report.parties[self._picture.senders[stream.stream]]

    async def _hold(self, direction: str, *, held: bool) -> None:
        """Hold or resume by re-INVITE (RFC 7866 section 7.1.1.1)."""
        if self._over.is_set():
            return
        self._direction = direction
        if held:
            await self._stop_audio()
        response, _ = await self._offer("INVITE", self._picture.document(held=held))
        self._expect(response, "re-INVITE")
        if response is not None and 200 <= response.status < 300:
            self._judge(response)
        if not held:
            await self._switch("on")

    def _expect(self, response: Response | None, what: str) -> None:
        if response is None:
            self.report.fault(f"There was no answer to a {what}.")
        elif response.status >= 300:
            self.report.fault(f"A {what} was answered {response.status} {response.reason}.")

    async def _end(self) -> None:
        if not self._over.is_set():
            await self._bye()
        reply = await self._media.do("drop", ids=self._ids)
        for stream, figures in zip(self.report.streams, reply["streams"], strict=True):
            stream.settle(figures, CODECS[stream.codec].clock // 1000)
            self.report.fault(*stream.faults())

    async def _bye(self) -> None:
        response, _ = await self._ask("BYE")
        self.report.ended(bye_status=response.status if response else 0)
        self._expect(response, "BYE")

    def asked(self, request: Request) -> Response:
        """Answer a request of the recorder."""
        if request.method == "BYE":
            self.report.ended(by_recorder=True)
            self._over.set()
            return dialog.reply(request, 200, "OK")
        if request.method in ("INVITE", "UPDATE"):
            self._dialog.refresh(request.headers.get("Contact"))
            body = self._turned(request.body) if request.body or request.method == "INVITE" else b""
            return dialog.reply(request, 200, "OK", extra=(("Contact", self._agent.me.contact),), body=body)
        return dialog.reply(request, 501, "Not Implemented", extra=(("Allow", dialog.ALLOW),))

    def _turned(self, theirs: bytes) -> bytes:
        """Answer an offer of the recorder: with inactive while it asks for silence, else as before."""
        if theirs:
            before, self._silenced = self._silenced, asks_for_silence(theirs)
            if before is not self._silenced:
                self._turning = asyncio.create_task(
                    self._switch("off" if self._silenced else "on"), name="simulate-pause"
                )
        self._version += 1
        direction = "inactive" if self._silenced else self._direction
        where = (self._lines, self._address, self._session, self._version, direction)
        return offer(*where, mux=self._plan.rtcp_mux, setup=self._role if theirs else "actpass")

    def repeated(self, response: Response) -> Request | None:
        """Send the ACK of a repeated 2xx (RFC 3261 section 13.2.2.4)."""
        same = self._invite is not None and response.cseq.number == self._invite.cseq.number
        return self._ack if same and 200 <= response.status < 300 else None
