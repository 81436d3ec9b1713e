"""The trial call of `recorder doctor --call`: place it, find its recording, compare the audio, ask for its erasure."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from recorder.config.installation import Installation
from recorder.config.model import Customer as Configured
from recorder.config.model import Settings
from recorder.config.value_readers import Listener, Srtp, Transport
from recorder.diagnosis.check import Check, fail, ok, unchecked, warn
from recorder.diagnosis.own_api import ANYWHERE, reachable
from recorder.exports.render_client import RenderFailed, render
from recorder.exports.render_sources import media_parts, render_streams
from recorder.maintenance.cli_audit import actor, tell
from recorder.persist import call_list
from recorder.persist.customers import open_customer
from recorder.signalling.customer_lookup import CustomerLookup
from recorder.simulate.coded import find
from recorder.simulate.compare import difference
from recorder.simulate.plan import Party, Plan
from recorder.simulate.report import CallReport, Report
from recorder.simulate.run import run
from storage.calls.call_row import CallState
from storage.erasure.erasures import NoWaiver
from storage.errors import StorageError

NAME = "trial-call"
CALL_SECONDS = 3.0
FOUND_SECONDS = 20.0
"""Time for the call to be in the index; usually it is there within a second."""
LOOK_SECONDS = 0.25
MAX_FOUND = 50
"""Most trial calls of the last minutes that are looked at."""
ADDRESS = "sip:doctor@trial.invalid"
"""Address of a party, which belongs to nobody; the call is found by it."""
PARTIES = (Party("recorder doctor", ADDRESS), Party("trial call", "sip:trial@trial.invalid"))
ORDER = (Transport.TLS, Transport.TCP, Transport.UDP)
REASON = "trial call of recorder doctor"
WAV_HEAD = 44


def trial_call(settings: Settings, customer: str) -> Iterator[Check]:
    """Place one call of known audio as the customer's SBC would, from an address of this machine."""
    configured = settings.customer(customer)
    if configured is None:
        return
    plan, how = planned(settings, configured), Installation.of(settings.source)
    if plan is None:
        remedy = (
            f'Add "127.0.0.1" to sources of {customer} for the trial, then {how.reload}; or call from '
            "where the SBC is: recorder simulate --to 'sip:rec@ADDRESS:5061;transport=tls' --ca tls.crt"
        )
        yield unchecked(NAME, "the recorder would not take a call from this machine as this customer's", remedy)
        return
    report = asyncio.run(run(plan))
    (call,) = report.calls or (None,)
    if call is None or not call.well:
        yield fail(NAME, _refused(report, call), f"docs/sbc.md explains each answer; {how.log}")
        return
    yield ok(NAME, f"accepted over {plan.carrier} after {call.setup_ms or 0:.0f} ms, {report.frames} packets sent")
    try:
        yield from asyncio.run(_looked(settings, configured, call))
    except StorageError as problem:
        yield unchecked(
            f"{NAME}.listed",
            f"the recording cannot be opened here: {problem}",
            how.command(f"doctor --call {customer}"),
        )


def planned(settings: Settings, customer: Configured) -> Plan | None:
    """Plan a call from this machine that the daemon takes as this customer's; return None if that is impossible."""
    if customer.digest is not None:
        return None
    lookup = CustomerLookup(settings.customers)
    for transport in ORDER:
        for listener in settings.sip.listen:
            if listener.transport is not transport or (transport is Transport.TLS and settings.sip.client_ca):
                continue
            for host in _hosts(settings, listener):
                srtp = _srtp(settings, customer, transport)
                if srtp is None or lookup.customer_of(host, (), host) != customer.name:
                    continue
                place = f"[{host}]" if ":" in host else host
                return Plan(
                    f"sip:rec@{place}:{listener.port};transport={transport.value}", seconds=CALL_SECONDS, srtp=srtp,
                    parties=(PARTIES,), source=host, insecure=True, setup_timeout=10.0,
                )  # fmt: skip
    return None


def _hosts(settings: Settings, listener: Listener) -> list[str]:
    """Return addresses of this machine at which a listener is reached."""
    if listener.host not in ANYWHERE:
        return [listener.host]
    advertised = [each for each in (settings.sip.advertise, settings.media.advertise) if each]
    media = settings.media.bind if settings.media.bind not in ANYWHERE else None
    if media:
        return [media]
    family = ":" in listener.host
    return [reachable(listener.host), *(each for each in advertised if (":" in each) is family)]


def _srtp(settings: Settings, customer: Configured, transport: Transport) -> str | None:
    """Return how to encrypt the media as the customer's policy demands; None if a trial call cannot."""
    if settings.srtp_of(customer) is Srtp.OFF:
        return "none"
    if transport is Transport.TLS or customer.sdes_without_tls:
        return "AES_CM_128_HMAC_SHA1_80"
    return "dtls" if customer.dtls else None


def _refused(report: Report, call: CallReport | None) -> str:
    if report.unreachable:
        return report.unreachable
    if call is None or not call.answered:
        return f"refused: {call.status or 'no answer'} {call.reason}" if call else "not placed"
    return "; ".join(call.faults) or (
        "the recorder ended it" if call.ended_by_recorder else "it was not ended in order"
    )


async def _looked(settings: Settings, configured: Configured, call: CallReport) -> list[Check]:
    customer, how = await open_customer(settings, configured), Installation.of(settings.source)
    try:
        row = await _row(customer, call)
        if row is None:
            detail = f"after {FOUND_SECONDS:g} s it is not in the list of calls"
            return [fail(f"{NAME}.listed", detail, f"{how.log}; {how.command('verify')}")]
        checks = [ok(f"{NAME}.listed", f"{row.id}, {row.state.value}")]
        tell(customer.audit, "call.media", row.id, reason=REASON)
        checks.append(await _heard(customer, row, call, how))
        checks.append(await _erased(customer, row.id))
        return checks
    finally:
        await customer.close()


async def _row(customer: Any, call: CallReport) -> Any:
    """Wait for the row of the finished call in the index; return it, None after FOUND_SECONDS."""
    asked = {"party": ADDRESS, "since": datetime.now(UTC) - timedelta(minutes=5), "until": None, "state": None}
    loop = asyncio.get_running_loop()
    until = loop.time() + FOUND_SECONDS
    while loop.time() < until:
        for item in await call_list.find(customer, asked, MAX_FOUND):
            if item["session_id"] == call.session_id and item["state"] != CallState.RECORDING.value:
                return await customer.calls.get(item["id"])
        await asyncio.sleep(LOOK_SECONDS)
    return None


async def _heard(customer: Any, row: Any, call: CallReport, how: Installation) -> Check:
    """Decode the recording in memory, and compare every frame with what was sent."""
    name = f"{NAME}.heard"
    remedy = f"{how.command(f'verify {row.id}')}; {how.command(f'export {row.id} -o /tmp/trial.wav')}"
    fd = os.memfd_create("trial", os.MFD_CLOEXEC)
    try:
        async with media_parts(customer, row) as parts:
            await render(parts, render_streams(row.details["streams"]), "wav", fd)
        sound = os.pread(fd, os.fstat(fd).st_size, 0)
    except RenderFailed as problem:
        return fail(name, f"it cannot be decoded: {problem}", remedy)
    finally:
        os.close(fd)
    samples = memoryview(sound[WAV_HEAD:][: (len(sound) - WAV_HEAD) // 2 * 2]).cast("h")
    first = min(stream.sent[0][0] for stream in call.streams if stream.sent)
    sent = missing = 0
    for number, stream in enumerate(call.streams):
        channel = samples[number :: len(call.streams)].tobytes()
        found = difference(stream, list(find(channel)), first)
        sent, missing = sent + found.sent, missing + len(found.missing)
    if missing:
        return fail(name, f"{missing} of {sent} frames of audio are missing", remedy)
    return ok(name, f"all {sent} frames of audio are there, each on its channel")


async def _erased(customer: Any, call: str) -> Check:
    """Ask for the erasure of the trial call; without a waiver it stays until its rule ends."""
    name, by = f"{NAME}.erased", actor()
    try:
        filed = await customer.erasures.file(
            calls=[call], reason=REASON, by=by.name, identity=by.identity, approval=customer.settings.approval,
            told=_telling(customer),
        )  # fmt: skip
    except NoWaiver:
        detail = f"it stays in the list as a call of 'recorder doctor' until its retention ends: {call}"
        remedy = "If a waiver is on file (PUT /waiver), a trial call asks for its own erasure."
        return warn(name, detail, remedy)
    if customer.settings.approval:
        return warn(name, f"its erasure waits for a second person: {filed.id}", "An approver approves it on the page.")
    return ok(name, f"its erasure is requested; the next sweep (sweep_seconds) erases it: {filed.id}")


def _telling(customer: Any) -> Any:
    async def told(erasure: str) -> None:
        await asyncio.to_thread(tell, customer.audit, "erasure.create", erasure, "done", "1 calls")

    return told
