"""Who is who: what an administrator hears of a test call, with a client that is right and with one that is not."""

from __future__ import annotations

import json
import stat
import time
import wave
from pathlib import Path

import pytest

from recorder.simulate.coded import find
from tests.daemon.simulated_node import RunningNode, command, running_node


def finished(node: RunningNode) -> str:
    """Return the id of the one call, once the index has its end."""
    end = time.monotonic() + 60
    while not (found := [call["id"] for call in node.calls() if call["state"] == "complete"]):
        assert time.monotonic() < end
        time.sleep(0.2)
    return str(found[0])


@pytest.mark.parametrize("swaps", [False, True])
def test_a_clip_of_each_stream_is_written_beside_its_speaker(tmp_path: Path, swaps: bool) -> None:
    with running_node(tmp_path, ("swap_owners = .*", f"swap_owners = {str(swaps).lower()}")) as node:
        placed = command("simulate", "--to", node.target("tcp"), "--duration", 2, "--insecure", "--json")
        assert placed.returncode == 0, placed.stderr
        call, clips = finished(node), tmp_path / "clips"
        words = ("check-owners", call, "--config", node.config)
        told = command(*words, "-o", clips, "--seconds", 1, "--json")
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
        again = command(*words, "-o", clips)
        assert again.returncode == 2 and "already exists" in again.stderr
        plain = command(*words)
        assert plain.returncode == 0 and "Caller 1.1" in plain.stdout
        assert ("swap_owners = true" in plain.stderr) is not swaps
        assert command("check-owners", "11111111-2222-4333-8444-555555555555", "--config", node.config).returncode == 1
