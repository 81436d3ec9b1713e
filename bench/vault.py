"""Speed of verifying stored media, and cost of 10,000 scattered erasures: `python -m bench.vault [MEGABYTES]`.

The first row writes recordings with the vault's own writer and times `recorder verify` on them, including the start of
Python and the database; then one byte is changed, and `verify` must report it. The second row cuts 10,000 leaves,
scattered over five years, from a key tree, and prints the size of its state and the time it takes.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench.node import RECORDER
from recorder.config.loader import load
from recorder.persist.customers import open_customers
from storage.calls.call_row import CallRow, CallState
from storage.customer.customers import Customer
from storage.keys.key_tree import KeyTree, leaf_of
from storage.timestamps import day_of
from storage.vault.container import Sealer

GOAL = 200.0  # MB/s
PART = 16 << 20  # bytes of one part: half an hour of two G.711 streams has 29 MB
CUTS, YEARS = 10_000, 5


def main() -> int:
    """Measure both; return 1 if verifying is slower than the goal or misses the change."""
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        well = verifying(Path(place), megabytes)
    cutting()
    return 0 if well else 1


def verifying(place: Path, megabytes: int) -> bool:
    """Time `recorder verify` on intact recordings and on a defect."""
    config = place / "recorder.toml"
    subprocess.run([RECORDER, "init", "--config", config], check=True, capture_output=True)
    parts = asyncio.run(_fill(config, megabytes))
    size = sum(part.stat().st_size for part in parts)
    found, seconds, cpu = _verify(config)
    rate, of_cpu = size / seconds / 1e6, size / cpu / 1e6
    print(f"verify: {size / 1e6:,.0f} MB in {len(parts)} parts, {seconds:.2f} s ({cpu:.2f} s of CPU), ", end="")
    print(f"{rate:,.0f} MB/s, {of_cpu:,.0f} MB a second of CPU, {len(found)} defects (goal: {GOAL:.0f} MB/s)")
    at = 5 * 4096 + 17
    with parts[-1].open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))
    found, _, _ = _verify(config)
    call, _, part = parts[-1].name.split(".")
    named = [(f["call"], f["part"], f["offset"]) for f in found] == [(call, part, 5 * 4096)]
    print(f"one changed byte: {'named' if named else 'NOT NAMED'} as {found}")
    return rate >= GOAL and named


def cutting() -> None:
    """Cut scattered leaves one by one; print the size of the key tree's state and the time."""
    chance, days = random.Random(1), YEARS * 365
    leaves = {leaf_of(20_000 + chance.randrange(days), chance.randrange(10_000)) for _ in range(CUTS)}
    tree, begun = KeyTree.new(os.urandom(32)), time.process_time()
    for leaf in leaves:
        tree.cut(leaf)
    cut = time.process_time() - begun
    begun = time.process_time()
    state = bytes(tree)
    written = time.process_time() - begun
    begun = time.process_time()
    again = KeyTree.from_bytes(state)
    read = time.process_time() - begun
    begun = time.process_time()
    for number in range(1_000):
        again.derive(leaf_of(20_000 + number, 20_000))
    derived = (time.process_time() - begun) * 1e3
    size = f"{tree.nodes:,} nodes, {len(state) / 1e6:.1f} MB"
    print(f"{len(leaves):,} cuts over {YEARS} years: {size}, {cut:.2f} s to cut, {written:.2f} s to write, ", end="")
    print(f"{read:.2f} s to read, {derived:.0f} us to derive a key of an untouched place")


async def _fill(config: Path, megabytes: int) -> list[Path]:
    customers = await open_customers(load(config))
    (acme,) = customers.values()
    made = [await _recording(acme, number) for number in range(max(1, megabytes * 1_000_000 // PART))]
    await customers.close()
    return made


async def _recording(acme: Customer, number: int) -> Path:
    begin = datetime.now(UTC) - timedelta(minutes=number)
    id, leaf = str(uuid.uuid4()), acme.keys.allocate(day_of(begin))
    made = acme.vault.create(id, leaf, "m1")
    os.write(made.fd, Sealer(made.secret).finish(os.urandom(1 << 20) * (PART >> 20)))
    os.close(made.fd)
    ref = acme.vault.finish(id, leaf, "m1")
    await acme.calls.put([CallRow(id, leaf, CallState.COMPLETE, begin, begin, 0, PART)], [[]])
    return ref.path


def _verify(config: Path) -> tuple[list[dict[str, Any]], float, float]:
    """Run the command; return its defects, seconds, and seconds of CPU."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([RECORDER, "verify", "--config", config, "--json"], capture_output=True, check=False)
    seconds, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    defects: list[dict[str, Any]] = json.loads(done.stdout)["defects"]
    return defects, seconds, cpu


if __name__ == "__main__":
    sys.exit(main())
