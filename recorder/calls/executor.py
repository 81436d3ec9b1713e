"""Carry out the commands of recordings: sockets, files, workers, answers, database.

A bug in one call ends only that call.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from media.errors import MediaError
from media.receive.sockets import Pair, disconnect
from media.spec import StreamSpec
from recorder.calls import fd_store
from recorder.calls.context import Node, Resources
from recorder.calls.finalize import Finalizer
from recorder.calls.live_call import LiveCall
from recorder.calls.registry import Live
from recorder.calls.repair_queue import RepairQueue
from recorder.calls.stream_specs import fits, new_call, stream_specs
from recorder.errors import NotPossible, RecorderError
from recorder.observe.rejections import Rejections
from recorder.persist.checkpoint import Checkpoints, Mark
from recorder.persist.indexer import Indexer
from recorder.runtime.disk_thread import DiskAway
from recorder.session import commands as c
from recorder.session import events as e
from recorder.session.session import RETRY_AFTER
from recorder.session.states import State
from recorder.workers.codec import WireError
from recorder.workers.messages import NewCall, Part
from storage.calls.call_document import CallDocument
from storage.errors import StorageError

TOO_LONG = (399, "The session description is too long")

SETTLED_SECONDS = 5.0
"""Delay until a checkpoint is saved after an ACK. Until then a successor repeats the 200 of the INVITE, which the
client must acknowledge again (RFC 3261 13.2.2.4).
"""


class Executor:
    """Carries out the commands of all recordings of the node."""

    def __init__(
        self,
        node: Node,
        resources: Resources,
        checkpoints: Checkpoints,
        live: Live,
        repairs: RepairQueue,
        indexer: Indexer,
        rejections: Rejections,
        *,
        flush: Callable[[], None],
        load_changed: Callable[[], None],
    ) -> None:
        """`flush` sends what the endpoint wants to send; `load_changed` is called when the answer to "are calls
        accepted?" may have changed.
        """
        self._node = node
        self._endpoint = resources.endpoint
        self._ports = resources.ports
        self._notify = resources.notify
        self._workers = resources.workers
        self._disk = resources.disk
        self._syncer = resources.syncer
        self._storage = resources.storage
        self._rejections = rejections
        self.live = live
        self.checkpoints = checkpoints
        self.flush = flush
        self.load_changed = load_changed
        self.finishing = Finalizer(
            node, resources, checkpoints, live, repairs, indexer, self.guarded, flush=flush, load_changed=load_changed
        )
        self._carry: Mapping[type, Callable[[LiveCall, Any], e.Event | None]] = {
            c.OpenSockets: self._open_sockets,
            c.CloseSockets: self._close_sockets,
            c.Keep: self._keep,
            c.ChangeMedia: self._change_media,
            c.EndStreams: self._end_streams,
            c.PauseMedia: lambda call, _: self._workers.pause(call.id),
            c.ResumeMedia: lambda call, _: self._workers.resume_call(call.id),
            c.CloseMedia: self._close_media,
            c.Accept: self._accept,
            c.Refuse: self._refuse,
            c.Report: self._report,
            c.Reoffer: self._reoffer,
            c.HangUp: self._hang_up,
            c.Index: self._index,
            c.Finish: self._finish,
            c.Discard: self._discard,
        }

    # ---- events and commands of one recording ----
    def feed(self, call: LiveCall, event: e.Event) -> None:
        """Give a recording an event and carry out all resulting commands, in order."""
        todo: deque[e.Event] = deque([event])
        while todo:
            for command in call.handle(todo.popleft(), self._node.now()):
                answer = self._carry[type(command)](call, command)
                if answer is not None:
                    todo.append(answer)
                if isinstance(answer, e.Unwanted):
                    break

    def guarded(self, call: LiveCall, event: e.Event) -> None:
        """Give a recording an event. Any failure ends only this call, and every request gets an answer."""
        try:
            self.feed(call, event)
        except Exception as problem:
            if isinstance(event, e.Offered | e.OfferWanted | e.HungUp):
                self._endpoint.refuse(event.token, 500, self._node.monotonic())
                self._list_refusal(call, event.request.method, 500, "internal", first=not call.started)
            self.give_up(call, problem)

    def give_up(self, call: LiveCall, problem: Exception) -> None:
        """End a call after an internal error; what was recorded is kept."""
        self._node.log.fault("call.fault", problem, call=call.id)
        self._endpoint.hang_up(call.session, "internal", self._node.monotonic())
        self.finishing.abandon(call)
        self.flush()

    def end_closed(self, closed: Collection[str]) -> int:
        """End the live calls of closed customers; return how many. They count as complete: they end on purpose."""
        ended = Counter[str]()
        for call in [each for each in self.live if each.customer.name in closed and each.recording.alive]:
            ended[call.customer.name] += 1
            self.guarded(call, e.StopAsked("customer-closed", interrupted=False))
        for name, calls in ended.items():
            self._node.log.info("customer.calls_ended", customer=name, calls=calls)
        if ended:
            self.flush()
        return ended.total()

    def checkpoint(self, call: LiveCall) -> None:
        """Save what a successor of this process needs to continue the call.

        If that fails, `save_settled` tries again within a second.
        """
        call.changed()  # the caller may have changed parts, dialog or keys
        revision = call.revision
        try:
            self._save(call)
        except (StorageError, OSError) as problem:
            self._storage.trouble(problem)
        else:
            call.saved(revision)

    def _save(self, call: LiveCall) -> None:
        if call.recording.state is State.OPENING:
            return  # it is not answered yet, so nobody could continue it
        try:
            dialog = self._endpoint.export(call.session)
        except KeyError:
            return  # the dialog is over: nobody could continue it
        state = call.to_state(dialog, self._workers.keys_of(call.id))
        self.checkpoints.save(Mark(call.id, call.customer.name, call.leaf, call.ports), call.customer.keys, state)

    def save_settled(self) -> None:
        """Save what only an ACK changed; runs every second.

        It waits for SETTLED_SECONDS, because a short call is over before it matters.
        """
        settled = self._node.monotonic() - SETTLED_SECONDS
        for call in self.live:
            began = call.recording.started
            if call.outdated and call.recording.alive and call.started and began and began.mono < settled:
                try:
                    self.checkpoint(call)
                except Exception as problem:
                    self.give_up(call, problem)

    # ---- sockets and files ----
    def _open_sockets(self, call: LiveCall, command: c.OpenSockets) -> e.Event | None:
        opened: dict[int, Pair] = {}
        try:
            if call.files.control is None and self._disk.away:
                raise DiskAway  # checked before anything is opened or a busy service manager is waited for
            for stream in command.streams:
                opened[stream.number] = self._ports.open(rtcp=not stream.line.rtcp_mux)
        except (MediaError, DiskAway, OSError) as problem:
            for pair in opened.values():
                self._ports.give_back(pair)
            if isinstance(problem, MediaError):
                self._node.log.warning("media.no_port")
                return e.OpenFailed("no-port")
            self._storage.trouble(problem)
            return e.OpenFailed("disk" if isinstance(problem, DiskAway) else "storage")
        call.sockets.store(self._notify, opened)
        ready = e.Opened({number: pair.port for number, pair in opened.items()})
        if call.recording.state is State.OPENING and call.sockets.waits(self._notify):
            self._node.tasks.start(self._open_once_kept(call, ready), "keep-sockets")
            return None
        return ready

    async def _open_once_kept(self, call: LiveCall, ready: e.Opened) -> None:
        """Continue a new call when its sockets would outlive this process; it is not answered before."""
        await call.sockets.wait_stored(self._notify)
        self.guarded(call, ready)
        self.flush()

    def _close_sockets(
        self, call: LiveCall, command: c.CloseSockets, figures: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        for pair, former in call.sockets.retire(self._notify, command.streams, figures):
            self._ports.release(pair, former)

    def new_control(self, call: LiveCall, least: int = 0) -> None:
        """Start the next control part, number `least` or above, and seal the earlier ones."""
        number = call.files.next_control(self._disk, least)
        self._node.tasks.start(self.finishing.end_controls(call, number), "controls")

    def next_part(self, call: LiveCall) -> Part:
        """Create the next media part of a call."""
        return call.files.next_media(self._disk)

    def _keep(self, call: LiveCall, command: c.Keep) -> None:
        try:
            call.files.keep(command)
        except NotPossible as problem:
            self._storage.trouble(problem)

    # ---- media ----
    def _start(self, call: LiveCall, new: NewCall, encoded: bytes = b"") -> None:
        self.checkpoints.lend(call.id)
        self._workers.add(new, call.sockets.pairs, call.files.media_fd, call.files.spool_fd, encoded)
        call.taken()

    def specs(self, call: LiveCall, plans: Sequence[c.StreamPlan]) -> tuple[StreamSpec, ...]:
        """Return the worker's view of a call's streams."""
        configured = self._node.settings.customer(call.customer.name)
        if configured is None:
            raise RecorderError("the customer is no longer configured")
        certificate = call.recording.agreement.certificate
        keyed = [plan for plan in plans if plan.line.crypto or not plan.line.suite]  # the others cannot be read
        identity, source = certificate.identity if certificate else b"", call.recording.source
        specs = stream_specs(keyed, configured, identity, source, reached=call.acknowledged)
        pairs, closed = call.sockets.pairs, call.sockets.closed_ports
        former = {n: self._ports.former(pair.port) for n, pair in pairs.items() if pair.port not in closed}
        return tuple(replace(x, former=former[x.stream]) if former.get(x.stream) else x for x in specs)

    def reached(self, call: LiveCall) -> None:
        """Note that the client has our answer: handshakes may start."""
        if call.has_answer() and any(stream.keys for stream in call.recording.streams):
            self._workers.reached(call.id)

    def _change_media(self, call: LiveCall, command: c.ChangeMedia) -> e.Event | None:
        specs = self.specs(call, command.streams)
        if not fits(specs):
            return self._end_too_long(call)
        if not call.started:  # the first offer was ours
            self._start(call, new_call(call.recording, call.files.part or self.next_part(call), specs, call.spool_key))
        else:
            for plan in command.streams:
                # at once: the client may have our answer before the worker reads its message
                if plan.moved:
                    disconnect(call.sockets.pairs[plan.number].rtp.fileno())
            pairs = {plan.number: call.sockets.pairs[plan.number] for plan in command.streams}
            self._workers.change(call.id, specs, pairs)
        self.linger(call, command.removed)
        return None

    def linger(self, call: LiveCall, streams: tuple[int, ...]) -> None:
        """Keep receiving removed streams for a moment: the client sends them until it has our answer."""
        if streams:
            self._node.tasks.start(self._lingered(call, streams), "linger")

    async def _lingered(self, call: LiveCall, streams: tuple[int, ...]) -> None:
        await fd_store.linger()
        self.guarded(call, e.Lingered(streams))

    def _end_streams(self, call: LiveCall, command: c.EndStreams) -> None:
        self.checkpoint(call)  # before another call gets the ports: two calls could not be resumed on one port
        self._workers.change(call.id, (), {}, command.streams)
        self._node.tasks.start(self._close_once_drained(call, c.CloseSockets(command.streams)), "close-sockets")

    def _end_too_long(self, call: LiveCall) -> e.Event:
        """End a call whose answer is too long for a message to a worker.

        After the client's ACK, only BYE is left (RFC 3261 13.2.2.4).
        """
        self._node.log.warning("call.answer_too_long", call=call.id)
        return e.StopAsked("too-long", interrupted=True)

    async def _close_once_drained(self, call: LiveCall, command: c.CloseSockets) -> None:
        """Release removed streams once a worker has the preceding message: the worker may die on it."""
        answer = await self._workers.snapshot(call.id)
        self._close_sockets(call, command, answer.figures)

    def _close_media(self, call: LiveCall, _: c.CloseMedia) -> None:
        self._node.tasks.start(self.finishing.close_media(call), "close")

    # ---- SIP ----
    def _accept(self, call: LiveCall, command: c.Accept) -> e.Event | None:
        """Let the endpoint answer, after doing all that a first 200 promises; ChangeMedia follows a later answer."""
        document = self._prepare_first_answer(call, command) if command.first else None
        if command.first:
            if document is None:
                return e.Unwanted()
        elif not fits(self.specs(call, command.streams)):
            self._too_long(call, command)
            return e.Unwanted()
        if not self._endpoint.accept(command.token, command.sdp, self._node.monotonic()):
            return e.Unwanted()
        self.checkpoint(call)
        if document is not None:
            self._answered(call, command)
            self.finishing.index(call, document)
        return None

    def _answered(self, call: LiveCall, command: c.Accept) -> None:
        """Log the start of a recording. Nothing was logged about the call before its first answer."""
        self._node.metrics.setup.observe(self._node.monotonic() - call.heard)
        lines = [stream.line for stream in command.streams]
        self._node.log.info(
            "call.started",
            call=call.id,
            customer=call.customer.name,
            source=call.recording.source,
            transport=call.transport,
            codec=[line.formats[0].encoding for line in lines if line.formats],
            suite=[line.suite or ("DTLS-SRTP" if line.fingerprints else None) for line in lines],
        )

    def _too_long(self, call: LiveCall, command: c.Accept) -> None:
        """Refuse an offer that is too long for a message to a worker; a running call goes on (RFC 3261 14.1)."""
        self._list_refusal(call, "INVITE" if command.first else "re-offer", 488, "too-long", first=command.first)
        self._endpoint.refuse(command.token, 488, self._node.monotonic(), warning=TOO_LONG)

    def _prepare_first_answer(self, call: LiveCall, command: c.Accept) -> CallDocument | None:
        """Do all that a first 200 promises; return None if the call was withdrawn, or refused because a step failed.

        The files come last: once they hold the document, they show that there is a call, whether it was answered or
        interrupted.
        """
        if not self._endpoint.waits(command.token):
            return None
        document, streams = call.recording.call_document(self._node.now()), command.streams
        if streams:  # after an offer of ours, media start with the ACK
            call.await_ack()
        try:
            specs = self.specs(call, streams)
            drafts, part = call.files.draft(self.checkpoints.begin(call.id))
            new = new_call(call.recording, part, specs, call.spool_key)
            encoded = self._workers.encode_new(new, call.sockets.pairs) if streams else b""
            call.files.create(drafts, document, self._disk, self._syncer.epoch)
            if streams:
                self._start(call, new, encoded)
        except WireError:
            self._too_long(call, command)
        except (StorageError, NotPossible, OSError) as problem:
            self._storage.trouble(problem)
            self._list_refusal(call, "INVITE", 503, "disk" if isinstance(problem, DiskAway) else "storage", first=True)
            self._endpoint.refuse(command.token, 503, self._node.monotonic(), retry_after=RETRY_AFTER)
        except Exception as problem:
            self._node.log.fault("call.fault", problem, call=call.id)
            self._list_refusal(call, "INVITE", 500, "internal", first=True)
            self._endpoint.refuse(command.token, 500, self._node.monotonic())
        else:
            return document
        return None

    def _refuse(self, call: LiveCall, command: c.Refuse) -> None:
        first = call.recording.state is State.OVER
        self._list_refusal(call, "INVITE" if first else "re-offer", command.status, command.reason, first=first)
        now, warning, later = self._node.monotonic(), command.warning, command.retry_after
        self._endpoint.refuse(command.token, command.status, now, retry_after=later, warning=warning)

    def _list_refusal(self, call: LiveCall, method: str, status: int, reason: str, *, first: bool) -> None:
        """List a refusal as an incident; a refused first INVITE was never a call."""
        source, known = call.recording.source, None if first else call.id
        now = self._node.monotonic()
        self._rejections.report(method, status, reason, call.customer.name, source, now, call=known)

    def _report(self, call: LiveCall, command: c.Report) -> None:
        self._node.incidents.add(command.kind, call.customer.name, call=call.id, reason=command.reason)

    def _reoffer(self, call: LiveCall, command: c.Reoffer) -> None:
        self._endpoint.reoffer(call.session, command.sdp, self._node.monotonic(), paused=command.paused)

    def _hang_up(self, call: LiveCall, command: c.HangUp) -> None:
        self._endpoint.hang_up(call.session, command.reason, self._node.monotonic())

    # ---- database and end ----
    def _index(self, call: LiveCall, _: c.Index) -> None:
        document = call.recording.call_document(self._node.now())
        try:
            call.files.write(document)
        except NotPossible as problem:
            self._storage.trouble(problem)
        self.finishing.index(call, document)

    def _finish(self, call: LiveCall, command: c.Finish) -> None:
        self._node.tasks.start(self.finishing.finish(call, command), "finish")

    def _discard(self, call: LiveCall, _: c.Discard) -> None:
        self.finishing.discard(call)
