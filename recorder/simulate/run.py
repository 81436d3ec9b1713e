"""Place the calls of a plan and report what became of them."""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from recorder.simulate import video
from recorder.simulate.agent import Agent
from recorder.simulate.call import SimulatedCall
from recorder.simulate.link import Unreachable
from recorder.simulate.media_link import MediaLink, MediaLost
from recorder.simulate.plan import Plan, PlanError
from recorder.simulate.report import CallReport, Report, Sending, write_audio
from recorder.simulate.sounds import encode, tune

Progress = Callable[[float], None]
"""Receives the share of the run that is done, 0 to 1."""
VOICES = 8
"""Number of different voices; enough that participants of neighbouring calls differ."""
CODED: tuple[int, Any] = (0, None)
"""Used for a stream of coded audio, which has no encoded voice."""
_STEP = 0.2
"""Seconds between reports of progress."""


async def run(
    plan: Plan, on_progress: Progress | None = None, on_media: Callable[[MediaLink], None] | None = None
) -> Report:
    """Place the calls of a plan; raise PlanError for an impossible plan.

    `on_media` gets the media process as soon as it runs: a benchmark asks it for its counters during the run.
    """
    plan.check()
    plan = replace(plan, run=plan.run if plan.run is not None else secrets.randbits(32))
    agents, media = [Agent(one) for one in plan.each], MediaLink()
    try:
        address = await _connect(agents)
    except Unreachable as problem:
        await _close(agents)
        return Report((), Sending(), str(problem))
    await media.start()
    if on_media:
        on_media(media)
    try:
        return await _run(plan, agents, media, address, on_progress or _nobody)
    except MediaLost as problem:
        raise PlanError(f"{problem} Is {address} an address of this machine with free ports?") from None
    finally:
        await media.stop()
        await _close(agents)


async def _connect(agents: list[Agent]) -> str:
    """Open the links to all recorders and return our address towards the first; raise Unreachable if none is there."""
    found, problems = list[str](), list[Unreachable]()
    for agent in agents:
        try:
            await agent.start()
            await agent.greet()
        except Unreachable as problem:
            problems.append(problem)
        else:
            found.append(agent.link.address)
    if not found:
        raise problems[0]
    return found[0]


async def _close(agents: list[Agent]) -> None:
    for agent in agents:
        await agent.close()


async def _run(plan: Plan, agents: list[Agent], media: MediaLink, address: str, on_progress: Progress) -> Report:
    opened = await media.do("open", address=address, lanes=plan.lines, certificate=plan.srtp == "dtls")
    ports, fingerprint = opened["ports"], opened.get("fingerprint", "")
    voices = [] if plan.coded else await _voices(plan, media)
    pictures = await _pictures(plan, media) if plan.video else []
    before = (await media.do("count"))["cpu"]
    meter = asyncio.create_task(_meter(plan, on_progress), name="simulate-progress")
    try:
        calls = await _place_all(plan, agents, media, address, ports, voices, pictures, fingerprint)
    finally:
        meter.cancel()
    on_progress(1.0)
    sending = Sending.of(await media.do("count"), before)
    if plan.audio is not None:
        await asyncio.to_thread(write_audio, plan.audio, calls)
    unreachable = None
    if not any(call.status for call in calls):
        uri = plan.target
        unreachable = f"Nobody answers at {uri.host}:{plan.port} over {plan.carrier.upper()}."
    return Report(tuple(calls), sending, unreachable)


async def _place_all(
    plan: Plan, agents: list[Agent], media: MediaLink, address: str, ports: list[int], voices: list[Any],
    pictures: list[Any], fingerprint: str,
) -> list[CallReport]:  # fmt: skip
    """Start calls at the planned rate; wait for all."""
    began, tasks, placed = time.monotonic(), [], []
    for number in range(plan.calls):
        await asyncio.sleep(max(0.0, began + number / plan.rate - time.monotonic()))
        first = number * plan.streams
        mine = [voices[(first + i) % len(voices)][plan.codec_of(i)] for i in range(plan.streams)] if voices else []
        mine = [*(mine or [CODED] * plan.streams), *pictures]
        call = SimulatedCall(plan, number, agents, media, address, ports, mine, fingerprint)
        placed.append(call.report)
        tasks.append(asyncio.create_task(call.place(), name=f"simulate-call-{number}"))
    await asyncio.gather(*tasks)
    return placed


async def _voices(plan: Plan, media: MediaLink) -> list[dict[str, tuple[int, Any]]]:
    """Encode the voices and send them to the media process; return id and samples by voice and codec."""
    voices: list[dict[str, tuple[int, Any]]] = []
    for number in range(min(VOICES, plan.calls * plan.streams)):
        voices.append({})
        for codec in sorted({plan.codec_of(i) for i in range(plan.streams)}):
            sound = await asyncio.to_thread(tune, number, codec, plan.seconds)
            frames = await asyncio.to_thread(encode, codec, sound)
            identity = 1 + len(voices) * 10 + len(voices[-1])
            await media.do("sound", id=identity, frames=[frame.hex() for frame in frames])
            voices[-1][codec] = identity, sound
    return voices


async def _pictures(plan: Plan, media: MediaLink) -> list[tuple[int, Any]]:
    """Encode the pictures of each participant and send them to the media process; return their ids, and no audio."""
    made = []
    for number in range(plan.streams):
        frames = await asyncio.to_thread(video.encode, plan.video_codec.upper(), number)
        await media.do("sound", id=-1 - number, frames=[frame.hex() for frame in frames])
        made.append((-1 - number, None))
    return made


async def _meter(plan: Plan, on_progress: Progress) -> None:
    began, whole = time.monotonic(), plan.seconds + math.ceil(plan.calls / plan.rate)
    while True:
        await asyncio.sleep(_STEP)
        on_progress(min(0.999, (time.monotonic() - began) / whole))


def _nobody(share: float) -> None:
    """Ignore progress."""
