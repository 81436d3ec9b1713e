"""What `recorder simulate` sends beside voices that stay in their place: pictures, and speakers who change places."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import av
import pytest

from recorder.simulate import video
from tests.daemon.simulated_node import RunningNode, command, running_node

SECONDS = 4
FEW = 5
"""Pictures at either end where one stream may not be there yet, or no more."""
BRIGHT = 190
"""The bar, the softened edge of which is darker; it is 230."""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    with running_node(tmp_path_factory.mktemp("more")) as running:
        yield running


def placed(node: RunningNode, *words: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Place a call and return what the client says of it, and what the recorder does."""
    done = command("simulate", "--to", node.target("tls"), "--duration", SECONDS, "--insecure", "--json", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    (sent,) = json.loads(done.stdout)["each"]
    end = time.monotonic() + 60
    while True:
        found = [c for c in node.calls() if c["session_id"] == sent["session_id"] and c["state"] == "complete"]
        if found:
            return sent, json.loads(node.ask(f"/calls/{found[0]['id']}"))
        assert time.monotonic() < end
        time.sleep(0.2)


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


def test_each_partys_video_is_stored_as_sent(node: RunningNode, tmp_path: Path) -> None:
    sent, call = placed(node, "--video")
    told = [(s["media"], s["codec"], s["party"], s["packets"]) for s in call["streams"]]
    frames = [stream["frames"] for stream in sent["streams"]]
    kinds = (("audio", "PCMA"), ("audio", "PCMU"), ("video", "VP8"), ("video", "VP8"))
    assert told == [(*kind, n % 2, frames[n]) for n, kind in enumerate(kinds)]
    assert min(frames[2:]) > (SECONDS - 1) * video.PICTURES and [s["lost"] for s in call["streams"]] == [0] * 4
    file = tmp_path / "call.mkv"
    exported = command("export", call["id"], "-o", file, "--config", node.config)
    assert exported.returncode == 0, exported.stderr
    with av.open(str(file)) as container:
        frames_shown = [seen(frame) for frame in container.decode(container.streams.video[0])][FEW:-FEW]
    for party in range(2):
        shades, numbers = zip(*(each[party] for each in frames_shown), strict=True)
        assert {round(shade - video.luma(party, 0)[-1]) // 4 for shade in shades} <= {-1, 0}
        steps = Counter((later - now) % video.PICTURES for now, later in pairwise(numbers))
        assert steps[2] > 0.8 * len(numbers), steps  # 25 of the 50 pictures a second are shown


def test_swapped_speakers_are_recorded_in_the_call(node: RunningNode) -> None:
    sent, call = placed(node, "--swap-speakers")
    assert [(s["speaker"], s["later_speaker"]) for s in sent["streams"]] == [
        (sent["parties"][n]["aor"], sent["parties"][1 - n]["aor"]) for n in range(2)
    ]
    assert [(s["party"], s["earlier"], s["inferred"]) for s in call["streams"]] == [(1, [0], False), (0, [1], False)]
    assert [s["packets"] for s in call["streams"]] == [s["frames"] for s in sent["streams"]]
    assert [party["left_at"] is None for party in call["parties"]] == [False, False] and len(call["parties"]) == 2
