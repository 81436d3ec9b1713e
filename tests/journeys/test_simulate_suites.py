"""Calls of every suite over every transport: each frame once in the exported WAV, in place, on its channel."""

from __future__ import annotations

import io
import json
import subprocess
import time
import wave
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from recorder.simulate.coded import SAMPLES, find
from recorder.simulate.plan import SUITES
from tests.daemon.simulated_node import RECORDER, RunningNode, command, running_node

CALLS = 20
"""Of each suite over each transport."""
SECONDS, HOLD = 3, 0.6
RATE = 5
"""New calls a second over each transport: of three times as many a busy machine refuses some, as it should."""
APART = 160
"""Samples that two streams may be apart: their clocks meet only through arrival times and sender reports."""
TRANSPORTS = ("udp", "tcp", "tls")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    with running_node(tmp_path_factory.mktemp("suites")) as running:
        yield running


@pytest.fixture(scope="module")
def sent(node: RunningNode) -> dict[str, list[dict[str, Any]]]:
    """Place all calls at the same time; give the clients' own reports by transport."""
    clients = [
        (t, simulate(node, t, *wish))
        for t in TRANSPORTS
        for wish in (("all", CALLS * len(SUITES), RATE), ("none", CALLS, RATE / 4))
    ]
    placed: dict[str, list[dict[str, Any]]] = {transport: [] for transport in TRANSPORTS}
    try:
        for transport, client in clients:
            output, problem = client.communicate(timeout=90)
            assert client.returncode == 0, problem or output[-2000:]
            placed[transport] += json.loads(output)["each"]
    finally:
        for _, client in clients:
            client.kill()
            client.communicate()
    return placed


def simulate(node: RunningNode, transport: str, suites: str, count: int, rate: float) -> subprocess.Popen[str]:
    words = [
        "--calls",
        count,
        "--duration",
        SECONDS,
        "--hold",
        HOLD,
        "--srtp",
        suites,
        "--rate",
        rate,
        "--insecure",
        "--json",
    ]
    line = [str(word) for word in (RECORDER, "simulate", "--to", node.target(transport), *words)]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def recorded(node: RunningNode, sent: dict[str, list[dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """List the calls once the index has taken the ends of all: it writes many at once, some seconds later."""
    end = time.monotonic() + 60
    while True:
        found = {call["session_id"]: call for call in node.calls()}
        over = len(found) >= sum(map(len, sent.values()))
        if (over and all(call["state"] == "complete" for call in found.values())) or time.monotonic() > end:
            return found
        time.sleep(0.5)


def channels(wav: bytes) -> list[bytes]:
    with wave.open(io.BytesIO(wav)) as file:
        assert (file.getframerate(), file.getsampwidth()) == (8000, 2)
        whole = memoryview(file.readframes(file.getnframes())).cast("h")
        return [whole[i :: file.getnchannels()].tobytes() for i in range(file.getnchannels())]


def judge(call: dict[str, Any], wav: bytes) -> None:
    """Hold each channel against its stream: every frame once, spaced as sent, begun where the stream began."""
    first = min(stream["sent"][0][0] for stream in call["streams"])
    for stream, channel in zip(call["streams"], channels(wav), strict=True):
        ticks = [tick for begin, end in stream["sent"] for tick in range(begin, end)]
        heard = list(find(channel))
        assert {(f.run, f.call, f.stream) for f in heard} == {(stream["run"], stream["call"], stream["stream"])}
        assert [f.frame for f in heard] == ticks
        assert [f.position - heard[0].position for f in heard] == [SAMPLES * (tick - ticks[0]) for tick in ticks]
        assert abs(heard[0].position - SAMPLES * (ticks[0] - first)) <= APART


@pytest.mark.parametrize("suite", [*SUITES, None])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_every_frame_in_its_place(
    node: RunningNode, sent: dict[str, list[dict[str, Any]]], recorded: dict[str, dict[str, Any]],
    transport: str, suite: str | None, tmp_path: Path,
) -> None:  # fmt: skip
    mine = [call for call in sent[transport] if call["streams"][0]["suite"] == suite]
    assert len(mine) == CALLS
    with ThreadPoolExecutor(2) as pool:
        one, *others = pool.map(
            lambda call: export(node, recorded[call["session_id"]]["id"], tmp_path, call is mine[0]), mine
        )
    for call, wav in zip(mine, [one, *others], strict=True):
        judge(call, wav)


def export(node: RunningNode, call: str, folder: Path, by_command: bool) -> bytes:
    """Export one call of a combination by the command, the others by the API: the command costs a second to start."""
    if not by_command:
        return node.ask(f"/calls/{call}/media?format=wav")
    done = command("export", call, "-o", folder / "call.wav", "--config", node.config)
    assert done.returncode == 0, done.stderr
    return (folder / "call.wav").read_bytes()


def test_the_recorder_lists_the_simulated_calls_correctly(
    sent: dict[str, list[dict[str, Any]]], recorded: dict[str, dict[str, Any]]
) -> None:
    for call in (call for calls in sent.values() for call in calls):
        listed = recorded[call["session_id"]]
        assert listed["state"] == "complete"
        assert [(s["srtp"], s["packets"], s["lost"], s["gap_ms"], len(s["pauses"])) for s in listed["streams"]] == [
            (s["suite"], s["frames"], 0, 0, 1) for s in call["streams"]
        ]
        assert [(p["name"], p["uri"]) for p in listed["parties"]] == [(p["name"], p["aor"]) for p in call["parties"]]
        assert [s["party"] for s in listed["streams"]] == [0, 1]
