"""Continue the live calls of a previous process: sockets, dialog, media part, recording."""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from media.receive.sockets import Pair
from recorder.calls.context import Node, Resources
from recorder.calls.executor import Executor
from recorder.calls.live_call import LiveCall
from recorder.calls.recordings import Recordings
from recorder.calls.registry import Live
from recorder.calls.repair_queue import Left, RepairQueue
from recorder.calls.stream_specs import keys_from_state
from recorder.calls.worker_events import WorkerEvents
from recorder.persist.checkpoint import REFUSED, Checkpoints, Outer
from sip.ua.session_state import Phase
from storage.customer.customers import Customer
from storage.errors import NoSpace
from storage.files.reserved_space import ReservedSpace


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A call whose customer cannot be opened yet."""

    outer: Outer
    sockets: dict[str, list[socket.socket]]  # those that the service manager kept, by name
    bound: dict[int, Pair]  # those that were bound again, by port


class Resume:
    """Reads the checkpoints once, at the start, before the first SIP message is read."""

    def __init__(
        self,
        node: Node,
        resources: Resources,
        customers: Mapping[str, Customer],
        recordings: Recordings,
        live: Live,
        executor: Executor,
        checkpoints: Checkpoints,
        workers: WorkerEvents,
        repairs: RepairQueue,
    ) -> None:
        self._node = node
        self._endpoint = resources.endpoint
        self._ports = resources.ports
        self._notify = resources.notify
        self._syncer = resources.syncer
        self._customers = customers
        self._recordings = recordings
        self._live = live
        self._executor = executor
        self._checkpoints = checkpoints
        self._workers = workers
        self._repairs = repairs
        self._room = ReservedSpace(node.settings.node.data_dir)
        self._waiting: dict[str, list[_Waiting]] = {}  # by customer, calls of those that cannot be opened yet

    def run(
        self, sockets: Mapping[str, Sequence[socket.socket]], bound: dict[int, Pair], away: Collection[str] = ()
    ) -> None:
        """Resume what can be resumed; leave the rest to the repair queue, which marks it as interrupted.

        Calls of customers that are `away` wait with their sockets, in which media gather, until `join`.
        """
        unused = {name: list(group) for name, group in sockets.items() if name.startswith("m")}
        for outer in self._checkpoints.left():
            customer = self._customers.get(outer.customer)
            if customer is not None:
                self._take(outer, customer, unused, bound)
            elif outer.customer in away:
                self._wait(outer, unused, bound)
            else:
                self._checkpoints.remove(outer.call)
        self._room.keep()
        for pair in bound.values():
            pair.close()
        self._close(unused)

    def join(self, customer: Customer) -> None:
        """Resume the calls of a customer that is no longer away."""
        for each in self._waiting.pop(customer.name, ()):
            self._take(each.outer, customer, each.sockets, each.bound)
            self._close(each.sockets)
            for pair in each.bound.values():
                pair.close()
            call = self._live.by_id(each.outer.call)
            ours = {pair.port for pair in call.sockets.pairs.values()} if call else set()
            for port in set(each.outer.ports) - ours:
                if self._ports.taken(port):
                    self._ports.retire(port)
        self._room.keep()
        self._executor.end_closed(self._node.settings.closed)

    def _wait(self, outer: Outer, unused: dict[str, list[socket.socket]], bound: dict[int, Pair]) -> None:
        """Keep a call and whatever belongs to it out of what is closed and handed out."""
        names = [name for name, group in unused.items() if any(_port(each) in outer.ports for each in group)]
        sockets = {name: unused.pop(name) for name in names}
        pairs = {port: bound.pop(port) for port in outer.ports if port in bound}
        for port in outer.ports:
            self._ports.adopt(port)
        self._waiting.setdefault(outer.customer, []).append(_Waiting(outer, sockets, pairs))

    def _close(self, sockets: Mapping[str, Sequence[socket.socket]]) -> None:
        """Close kept sockets that no call needs."""
        for name, group in sockets.items():
            for left in group:
                left.close()
            self._notify.remove(name)

    def _take(
        self, outer: Outer, customer: Customer, unused: dict[str, list[socket.socket]], bound: dict[int, Pair]
    ) -> None:
        """Resume one call, or leave it to the repair queue; take its sockets out of `unused` and `bound`."""
        state = self._checkpoints.unseal(outer, customer.keys)
        if state is None:
            self._checkpoints.remove(outer.call)
            return
        if state.get(REFUSED) is True:
            self._repairs.refuse(outer.call)
            self._repairs.put(Left(customer, outer.call, outer.leaf))
            return
        try:
            self._resume(outer, customer, state, unused, bound)
        except Exception as problem:  # whatever is wrong with one call, the others and the service continue
            self._node.log.fault("call.resume_failed", problem, call=outer.call)
            self._repairs.put(Left(customer, outer.call, outer.leaf))

    def _resume(
        self,
        outer: Outer,
        customer: Customer,
        state: Mapping[str, Any],
        unused: dict[str, list[socket.socket]],
        bound: dict[int, Pair],
    ) -> None:
        if outer.over or state["over"] or _is_finished(customer, outer, state["control"]):
            self._repairs.put(Left(customer, outer.call, outer.leaf))  # it was finished: only indexing is left
            self._await_bye(state["dialog"], customer)
            return
        recording = self._recordings.restore(state["recording"])
        now = self._node.monotonic()
        session = self._endpoint.restore(state["dialog"], now)
        self._endpoint.own(session, customer.name)
        call = LiveCall(recording, customer, outer.leaf, session)
        call.restore(state, self._syncer.epoch)
        self._live.add(call)
        try:
            name = state["fd_name"]
            kept = call.sockets.restore(name, recording.streams, unused, bound, self._ports, self._notify)
            self._with_room(lambda: self._executor.new_control(call, int(state["control"][1:]) + 1))
            call.files.spool(self._checkpoints.begin(call.id))
            earlier = keys_from_state(state.get("keys", ()))  # earlier versions did not store them
            if recording.locked:
                self._executor.checkpoint(call)  # its media start with the answer; until then the sockets buffer them
            else:
                self._with_room(lambda: self._workers.go_on(call, kept=kept, earlier=earlier))
            self._executor.linger(call, tuple(s.number for s in recording.streams if s.removed and s.port))
        except BaseException:
            self._endpoint.hang_up(session, "internal", now)
            self._executor.finishing.abandon(call)
            raise
        if call.replaces:
            self._ask(call)

    def _ask(self, call: LiveCall) -> None:
        """Ask whether the client has our 200 if its ACK can no longer arrive because the connection closed with the
        process.

        The call that it replaces continues until then (recorder.calls.replaces).
        """
        now = self._node.monotonic()
        call.asked(now)
        self._endpoint.probe(call.session, now)

    def _await_bye(self, dialog: Mapping[str, Any], customer: Customer) -> None:
        """Answer a repeated BYE whose answer was lost: everything that it ends is durable."""
        with suppress(ValueError):  # with a damaged dialog the repeated BYE gets a 481
            gone = {**dialog, "phase": Phase.LEAVING.value}
            self._endpoint.own(self._endpoint.restore(gone, self._node.monotonic()), customer.name)

    def _with_room(self, begin: Callable[[], None]) -> None:
        """Start a new part of a call, control or media.

        On a full disk, live calls use some KB each of the 16 MB that are reserved for erasure.
        """
        try:
            begin()
        except NoSpace:
            if not self._room.release():
                raise
            begin()


def _port(kept: socket.socket) -> int:
    try:
        return int(kept.getsockname()[1])
    except (OSError, IndexError):
        return 0


def _is_finished(customer: Customer, outer: Outer, control: str) -> bool:
    """Tell whether a call has already ended: a compromised worker may replay an older state of it."""
    ref = customer.vault.find(outer.call, outer.leaf, control)
    return ref is not None and ref.finished
