"""What `recorder simulate` sends is recorded as it says: every suite over every transport, and video."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import wave
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import av
import pytest

from recorder.simulate import video
from recorder.simulate.coded import SAMPLES, Found, find
from recorder.simulate.plan import SUITES
from tests.daemon.api import Api, running, until
from tests.daemon.server import command

CALLS = 3
"""Of each suite over each transport."""
SECONDS, HOLD = 3, 0.6
RATE = 3
"""New calls a second over each transport: of five times as many a busy machine refuses some, as it should."""
APART = 160
"""Samples that two streams may be apart: their clocks meet only through arrival times and sender reports."""
TRANSPORTS = ("udp", "tcp", "tls")
FEW = 5
"""Pictures at either end where one stream may not be there yet, or no more."""
BRIGHT = 190
"""The bar, the softened edge of which is darker; it is 230."""


@pytest.fixture(scope="module")
def it(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with running(tmp_path_factory.mktemp("simulate"), ports=1200) as it:
        yield it


@pytest.fixture(scope="module")
def sent(it: Api) -> dict[str, list[dict[str, Any]]]:
    """Place all calls at the same time; give the clients' own reports by transport."""
    clients = [
        (transport, simulate(it, transport, "--calls", count, "--hold", HOLD, "--srtp", suites, "--rate", rate))
        for transport in TRANSPORTS
        for suites, count, rate in (("all", CALLS * len(SUITES), RATE), ("none", CALLS, RATE / 4))
    ]
    placed: dict[str, list[dict[str, Any]]] = {transport: [] for transport in TRANSPORTS}
    for transport, client in clients:
        output, problem = client.communicate(timeout=90)
        assert client.returncode == 0, problem or output[-2000:]
        placed[transport] += json.loads(output)["each"]
    return placed


def simulate(it: Api, transport: str, *words: object) -> subprocess.Popen[str]:
    line = ["simulate", "--to", it.one.uri(transport), "--duration", SECONDS, "--insecure", "--json", *words]
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-m", "recorder", *map(str, line)], stdout=pipe, stderr=pipe, text=True)


@pytest.fixture(scope="module")
def recorded(it: Api, sent: dict[str, list[dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """List the calls once the index has taken the ends of all: it writes many at once, some seconds later."""
    calls = it.ended(sum(map(len, sent.values())))
    return {call["session_id"]: call for call in calls}


def judge(call: dict[str, Any], channels: list[list[Found]]) -> None:
    """Hold each channel against its stream: every frame once, spaced as sent, begun where the stream began."""
    first = min(stream["sent"][0][0] for stream in call["streams"])
    for stream, heard in zip(call["streams"], channels, strict=True):
        ticks = [tick for begin, end in stream["sent"] for tick in range(begin, end)]
        assert {(f.run, f.call, f.stream) for f in heard} == {(stream["run"], stream["call"], stream["stream"])}
        assert [f.frame for f in heard] == ticks
        assert [f.position - heard[0].position for f in heard] == [SAMPLES * (tick - ticks[0]) for tick in ticks]
        assert abs(heard[0].position - SAMPLES * (ticks[0] - first)) <= APART


@pytest.mark.parametrize("suite", [*SUITES, None])
def test_every_frame_in_its_place(
    it: Api, sent: dict[str, list[dict[str, Any]]], recorded: dict[str, dict[str, Any]], suite: str | None
) -> None:
    mine = [call for calls in sent.values() for call in calls if call["streams"][0]["suite"] == suite]
    assert len(mine) == CALLS * len(TRANSPORTS)
    for call in mine:
        judge(call, it.channels(recorded[call["session_id"]]["id"]))


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


def placed(it: Api, *words: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Place a call and return what the client says of it, and what the recorder does."""
    output, problem = simulate(it, "tls", *words).communicate(timeout=90)
    assert output, problem
    (sent,) = json.loads(output)["each"]
    (found,) = until(
        lambda: [c for c in it.calls() if c["session_id"] == sent["session_id"] and c["state"] == "complete"]
    )
    return sent, it.get(f"/calls/{found['id']}").json()


def seen(frame: av.VideoFrame) -> list[tuple[float, int]]:
    """Give the shade and the number of the picture in each half of what is shown, by its middle row."""
    plane, half = frame.reformat(format="yuv420p").planes[0], frame.width // 2
    row = bytes(plane)[frame.height // 2 * plane.line_size :][: frame.width]
    found = []
    for part in (row[:half], row[half:]):
        bar = [x for x, shade in enumerate(part) if shade > BRIGHT]
        middle = (bar[0] + bar[-1]) / 2 * video.WIDTH / half
        found.append((median(part), round((middle - video.BAR / 2) / video.STEP)))
    return found


@pytest.mark.parametrize("codec", ["VP8", "H264"])
def test_each_partys_video_is_stored_as_sent(it: Api, tmp_path: Path, codec: str) -> None:
    sent, call = placed(it, "--video", "--video-codec", codec.lower())
    told = [(s["media"], s["codec"], s["party"], s["packets"]) for s in call["streams"]]
    frames = [stream["frames"] for stream in sent["streams"]]
    kinds = (("audio", "PCMA"), ("audio", "PCMU"), ("video", codec), ("video", codec))
    assert told == [(*kind, n % 2, frames[n]) for n, kind in enumerate(kinds)]
    assert min(frames[2:]) > (SECONDS - 1) * video.PICTURES and [s["lost"] for s in call["streams"]] == [0] * 4
    file = tmp_path / "call.mkv"
    exported = command("export", call["id"], "-o", file, "--config", it.one.config, timeout=180)
    assert exported.returncode == 0, exported.stderr
    with av.open(str(file)) as container:
        frames_shown = [seen(frame) for frame in container.decode(container.streams.video[0])][FEW:-FEW]
    for party in range(2):
        shades, numbers = zip(*(each[party] for each in frames_shown), strict=True)
        assert {round(shade - video.luma(party, 0)[-1]) // 4 for shade in shades} <= {-1, 0}
        steps = Counter((later - now) % video.PICTURES for now, later in pairwise(numbers))
        assert steps[2] > 0.8 * len(numbers), steps  # 25 of the 50 pictures a second are shown


@pytest.mark.parametrize("swaps", [False, True])
def test_a_clip_of_each_stream_is_written_beside_its_speaker(tmp_path: Path, swaps: bool) -> None:
    with running(tmp_path, more=f"swap_owners = {str(swaps).lower()}") as it:
        _, call = placed(it)
        clips = tmp_path / "clips"
        words = ("check-owners", call["id"])
        told = it.one.run(*words, "-o", clips, "--seconds", 1, "--json")
        assert told.returncode == 0, told.stderr
        found = json.loads(told.stdout)
        assert (found["swapped"], found["swap_owners"]) == (swaps, swaps)
        names = ["Caller 1.1", "Agent 1.2"]
        told_of = [[who["name"] for who in stream["speakers"]] for stream in found["streams"]]
        assert told_of == [[name] for name in (reversed(names) if swaps else names)]
        for stream in found["streams"]:
            with wave.open(stream["clip"]) as file:
                assert (file.getnchannels(), file.getnframes()) == (1, file.getframerate())
                heard = {frame.stream for frame in find(file.readframes(file.getnframes()))}
            assert heard == {stream["stream"] - 1}
            assert stat.S_IMODE(Path(stream["clip"]).stat().st_mode) == 0o600
        again = it.one.run(*words, "-o", clips)
        assert again.returncode == 2 and "already exists" in again.stderr
        plain = it.one.run(*words)
        assert plain.returncode == 0 and "Caller 1.1" in plain.stdout
        assert ("swap_owners = true" in plain.stderr) is not swaps
        assert it.one.run("check-owners", "11111111-2222-4333-8444-555555555555").returncode == 1
