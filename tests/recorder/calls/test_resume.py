"""A successor goes on with the calls of a process that died; what it cannot take up is mended."""

from __future__ import annotations

import os
import socket
import time
from base64 import b64encode
from dataclasses import replace
from pathlib import Path

import pytest

from media.records import record_format
from recorder.calls.live_call import LiveCall
from recorder.calls.stream_specs import former_keys
from recorder.persist import part_files
from recorder.persist.checkpoint import Mark
from recorder.persist.checkpoint_file import SPOOL
from recorder.persist.repair import content
from recorder.session import events as e
from recorder.session.states import State
from sip.message.message import Request, parse
from sip.transaction.timers import T2
from storage.errors import NoSpace
from storage.files.reserved_space import ReservedSpace
from storage.vault.vault import NewPart, Vault
from tests.in_process.offers import KEYS, sdp
from tests.in_process.recorder_node import CONFIG, FLOW, Stage, sip_request, stage
from tests.in_process.worker_call import Sender
from tests.recorder.calls.client import hang_up, reinvite, state_of
from tests.recorder.calls.restart import forget_dialogs, kill_worker, leave, resume, resumed, stored


async def test_the_call_goes_on_and_ends_with_a_bye(one: Stage) -> None:
    """Its sockets are found by their ports: they may have another name than the checkpoint knows."""
    call = one.invite()
    tag, ports = one.tag(), [s.port for s in call.recording.streams]
    kept = {"mnew": [socket.socket(fileno=os.dup(fd)) for fd in call.sockets.descriptors()], "mx": []}
    again = resumed(one, call, kept)
    assert (again.id, again.sockets.name, again.sockets.unstored) == (call.id, "mnew", False)
    assert [again.sockets.pairs[n].port for n in (0, 1)] == ports
    assert again.files.control and again.files.control.name == "c2"
    await one.until(lambda: again.recording.alive and again.started)
    one.hear(sip_request("BYE", "c1", 9, to=tag))
    await one.until(lambda: one.statuses("BYE"))
    assert one.statuses("BYE") == [200]
    await one.until(lambda: not again.customer.vault.left_open())
    assert len(again.customer.vault.parts(call.id, call.leaf)) >= 4
    defects = [d for r in call.customer.vault.parts(call.id, call.leaf) for d in call.customer.vault.verify(r)]
    assert defects == []


@pytest.mark.parametrize(("lacking", "owned"), [("c", True), ("m", True), ("c", False)])
async def test_a_call_resumes_on_a_full_disk_in_reserved_space(
    one: Stage, monkeypatch: pytest.MonkeyPatch, lacking: str, owned: bool
) -> None:
    """The last blocks that are free may be enough for the control part and not for the media part."""
    leave(one, one.invite())
    room = ReservedSpace(one.node.settings.node.data_dir)
    assert room.keep()
    kept, free_part = room.release, part_files.free_part

    def full(vault: Vault, call: str, leaf: int, kind: str, number: int) -> tuple[int, NewPart]:
        if kind == lacking and not freed:
            raise NoSpace("no byte is left")
        return free_part(vault, call, leaf, kind, number)

    def release(self: ReservedSpace) -> bool:
        freed.append(owned)
        return owned and kept()

    freed: list[bool] = []
    monkeypatch.setattr(part_files, "free_part", full)
    monkeypatch.setattr(ReservedSpace, "release", release)
    resume(one)
    assert freed == [owned]
    assert len(one.live) == owned
    assert kept()  # what was left of it is owned again


async def test_a_pause_survives_a_restart_until_it_is_ended(one: Stage) -> None:
    call, sender = one.invite(), Sender(KEYS[0], 7)
    one.executor.guarded(call, e.PauseAsked())
    again = resumed(one, call)
    assert await stored(one, again, sender) == 0
    kill_worker(one)
    assert await stored(one, again, sender) == 0
    one.executor.guarded(again, e.ResumeAsked())
    assert await stored(one, again, sender) == 5
    sender.socket.close()


async def test_the_keys_of_before_a_re_offer_outlive_restarts(one: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Main and worker may die before the worker has followed it, twice: packets under either key wait."""
    call, tag, old = one.invite(), one.tag(), Sender(KEYS[0], 7)
    for number, key in enumerate((KEYS[2], KEYS[3]), 2):
        offer = sdp("sendonly", "sendonly", version=number).replace(b64encode(KEYS[0]), b64encode(key))
        reinvite(one, number, offer, to=tag)
    for _ in range(2):
        call = resumed(one, call)
        monkeypatch.setattr(one.executor, "checkpoint", lambda _: None)  # it dies before the next one is due
        await one.resources.workers.snapshot(call.id)  # a worker has it, with all the keys
    again = call
    assert await stored(one, again, old) == 5
    between, new = Sender(KEYS[2], 8), Sender(KEYS[3], 9)
    for count, sender in enumerate((between, new), 2):
        sender.socket.close()
        sender.socket = old.socket  # one source, as it was chosen
        assert await stored(one, again, sender) == 5 * count
    old.socket.close()
    assert len(former_keys(again.recording, one.resources.workers.keys_of(again.id))) == 2  # for the next one


async def test_a_lost_spool_keeps_the_vault_and_interrupts_the_call(one: Stage) -> None:
    """Nobody can tell what was committed: what is genuine was said, and it may be all there is of an hour."""
    call, tag, sender = one.invite(), one.tag(), Sender(KEYS[0], 7)
    for _ in range(10):
        await stored(one, call, sender)
    leave(one, call)
    (left,) = one.checkpoints.left()
    os.truncate(left.path, SPOOL)
    resume(one)
    (again,) = one.live
    await one.until(lambda: again.recording.notes)
    one.hear(sip_request("BYE", "c1", 9, to=tag))
    await one.until(lambda: not len(one.live))
    document = content(call.customer, call.id, call.leaf).document
    assert document
    assert (document["state"], [note["kind"] for note in document["notes"]]) == ("interrupted", ["spool-lost"])
    (first,) = (ref for ref in call.customer.vault.parts(call.id, call.leaf) if ref.part == "m1")
    kept = record_format.read(call.customer.vault.read(first))
    said = [record for record in kept if isinstance(record, record_format.Run | record_format.Mixed)]
    assert sum(len(record.payloads) for record in said) >= 20  # of 50; the rest waited for a full segment
    sender.socket.close()


async def test_a_finished_call_is_indexed_and_not_taken_up(one: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    call, tag = one.invite(), one.tag()
    with monkeypatch.context() as away:
        away.setattr(one.indexer, "put", lambda *given: None)
        await hang_up(one)
    assert [left.over for left in one.checkpoints.left()] == [True]
    forget_dialogs(one)
    resume(one)
    assert not len(one.live)
    one.hear(sip_request("BYE", "c1", 9, to=tag, branch="again"))
    one.hear(sip_request("BYE", "c1", 10, to=tag))
    assert one.statuses("BYE") == [200, 200, 481]
    await one.until(lambda: not len(one.repairs))
    assert await state_of(one, call.id) == "complete"
    assert not list(one.checkpoints.left())


@pytest.mark.parametrize("harm", ["dialog", "recording", "control"])
async def test_one_damaged_checkpoint_costs_one_call_only(one: Stage, harm: str) -> None:
    spoilt, whole = one.invite("c1"), one.invite("c2")
    leave(one, spoilt, whole)
    (outer,) = [o for o in one.checkpoints.left() if o.call == spoilt.id]
    state = one.checkpoints.unseal(outer, spoilt.customer.keys)
    assert state
    ports = tuple((s.port, True) for s in spoilt.recording.streams)
    mark = Mark(spoilt.id, "acme", spoilt.leaf, ports)
    one.checkpoints.save(mark, spoilt.customer.keys, {**state, harm: 7})
    before = one.descriptors()
    resume(one)
    assert [call.id for call in one.live] == [whole.id]
    await one.until(lambda: not len(one.repairs))
    assert {r.call for r in whole.customer.vault.left_open()} == {whole.id}
    assert one.descriptors() >= before


async def test_a_checkpoint_of_a_customer_that_is_gone_is_removed(one: Stage) -> None:
    call = one.invite()
    leave(one, call)
    one.checkpoints.save(Mark(call.id, "gone", call.leaf, ()), call.customer.keys, {})
    resume(one)
    assert not len(one.live)
    assert not list(one.checkpoints.left())


# --- an offer of ours whose answer went with the process that made it ---

OURS = CONFIG + 'siprec = "plain"\nlate_offer = true\n'


def asked_again(one: Stage) -> tuple[LiveCall, str, Request]:
    """Have a client's answer to our first offer go with the process and its connection; our successor asks anew."""
    one.hear(sip_request("INVITE", "c1", 1))
    (call,) = one.live
    tag, endpoint = one.tag(), one.resources.endpoint
    session = endpoint._context.sessions.get(call.session)
    assert session
    session.flow = replace(session.flow, transport="tcp", connection=5)
    again = resumed(one, call)
    endpoint.handle_timer(time.monotonic() + T2 + 0.1)
    one.flush()
    asked = parse(one.said[-1])
    assert isinstance(asked, Request) and asked.method == "INVITE"
    return again, tag, asked


def unreachable(one: Stage) -> None:
    """Let the connection that was asked for be refused."""
    one.resources.endpoint.connection_lost(replace(FLOW, transport="tcp"), time.monotonic())


@pytest.mark.parametrize("codec", [8, 101])
@pytest.mark.parametrize("srtp", ["off", "required"])
async def test_a_clients_offer_stands_in_for_its_lost_answer(tmp_path: Path, srtp: str, codec: int) -> None:
    async with stage(tmp_path, OURS + f'srtp = "{srtp}"\n') as one:
        again, tag, _ = asked_again(one)
        unreachable(one)
        sender = Sender(KEYS[0] if srtp == "required" else None, 7)
        peer = sender.socket.getsockname()[1]
        line = b"RTP/SAVP %d" % codec if srtp == "required" else b"RTP/AVP %d" % codec
        meant = b"" if codec == 8 else b"\r\na=rtpmap:101 PCMA/8000"
        offer = sdp("sendonly").replace(b"30000 RTP/SAVP 8", b"%d %s%s" % (peer, line, meant))
        one.hear(sip_request("INVITE", "c1", 2, offer, to=tag))
        answer = parse(one.said[-1])
        one.hear(sip_request("ACK", "c1", 2, to=tag))
        assert b"a=recvonly\r\n" in answer.body
        assert b"a=label:1\r\n" in answer.body  # it answers the client's: ours had no labels
        assert (again.recording.state, again.started) == (State.RECORDING, True)
        stream = next(each for each in again.recording.streams if not each.removed)
        # Another meaning of a payload type is another stream where something may have been kept.
        assert stream.number == (codec == 101 and srtp == "off")
        sender.send(stream.port, 5)
        figures = (await one.resources.workers.snapshot(again.id)).streams
        assert figures[stream.number]["packets"] == 5
        sender.socket.close()
        assert one.faults == []


@pytest.mark.parametrize(("srtp", "state"), [("off", State.RECORDING), ("required", State.CLOSING)])
async def test_readable_media_are_kept_without_a_new_answer(tmp_path: Path, srtp: str, state: State) -> None:
    async with stage(tmp_path, OURS + f'srtp = "{srtp}"\n') as one:
        again, _, asked = asked_again(one)
        names = ("Via", "From", "To", "Call-ID", "CSeq")
        head = "".join(f"{name}: {asked.headers.get(name)}\r\n" for name in names)
        one.hear(f"SIP/2.0 488 Not Acceptable Here\r\n{head}Content-Length: 0\r\n\r\n".encode())
        assert again.recording.state is state
