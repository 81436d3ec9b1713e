"""Whatever kills an erasure, it goes on where it stopped, and is never called done before it is."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from storage.calls.call_row import Query
from storage.customer.customers import Customer
from storage.erasure.erasure_rows import State
from tests.in_process.storage_node import StorageNode, opens, permit, record, story

# Forks for each copy, since thirty interpreters that each import everything take a busy machine minutes.
NURSERY = """
import asyncio, os, signal, sys
from pathlib import Path
from storage.erasure import erasure_steps, erasures
from tests.in_process.storage_node import StorageNode

point = count = 0

def dying(kind, name):
    real = getattr(kind, name)
    async def step(*given):
        global count
        count += 1
        if count == point:
            os.kill(os.getpid(), signal.SIGKILL)
        result = await real(*given)
        count += 1
        if count == point:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    setattr(kind, name, step)

for name in ("cut", "unlink", "remove", "reindex", "verify"):
    dying(erasure_steps.ErasureSteps, name)
for name in ("_mark", "_forget_reasons", "_conclude", "_sign"):
    dying(erasures.Erasures, name)

async def main(copy):
    acme = await StorageNode(copy).open()
    await acme.erasures.work()
    await acme.close()

born = []
for text in sys.argv[1:]:
    child = os.fork()
    if child == 0:
        signal.alarm(90)
        copy = Path(text)
        point = int(copy.name.rpartition("-")[2])
        try:
            asyncio.run(main(copy))
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    born.append(child)
print(*(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in born))
"""
POINTS = range(1, 31)


@pytest.mark.sqlite  # works on copies of the data directory, which hold no rows of a server
def test_a_killed_erasure_resumes_and_never_finishes_early(tmp_path: Path) -> None:
    known = []

    async def tell(node: StorageNode, acme: Customer) -> None:
        gone, stays = await record(acme), await record(acme, name="Tove Lind", number="+4940777888")
        await permit(acme)
        filed = await acme.erasures.file(calls=[gone.id], reason="x", by="paula")
        known.append((gone, stays, filed.id))

    story(tmp_path, tell)
    gone, stays, id = known[0]
    root = Path(__file__).parents[3]
    copies = [tmp_path / f"killed-{point}" for point in POINTS]
    for copy in copies:
        subprocess.run(["cp", "-a", tmp_path / "data", copy], check=True)

    async def look(copy: Path) -> bool:
        acme = await StorageNode(copy).open()
        try:
            before = await acme.erasures.get(id)
            assert before
            if before.state == State.DONE:
                assert not acme.keys.keeps(gone.leaf) and await acme.calls.get(gone.id) is None
            assert await acme.erasures.work()
            done = await acme.erasures.get(id)
            assert done and done.state == State.DONE and done.receipt and done.receipt["calls"] == [gone.id]
            assert not acme.keys.keeps(gone.leaf) and not list(acme.vault.parts(gone.id, gone.leaf))
            assert opens(acme, stays)
            assert [r.id for r in (await acme.calls.find(Query(party="0 40 777888"))).items] == [stays.id]
            return before.state == State.DONE
        finally:
            await acme.close()

    there = {"cwd": root, "env": {**os.environ, "PYTHONPATH": str(root)}}
    ended = subprocess.run([sys.executable, "-c", NURSERY, *copies], check=True, stdout=subprocess.PIPE, **there)
    statuses = [int(status) for status in ended.stdout.split()]
    assert len(statuses) == len(copies) and set(statuses) <= {0, -signal.SIGKILL}
    for copy in copies:
        asyncio.run(look(copy))
    assert len(statuses) - statuses.count(0) >= 18
