"""Whatever kills an erasure, it goes on where it stopped, and is never called done before it is."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

from personal import Personal
from storage.calls.call_row import Query
from storage.customer.customers import Customer
from storage.erasure.erasure_rows import State
from tests.in_process.storage_node import StorageNode, opens, permit, record

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
        return await real(*given)
    setattr(kind, name, step)

for name in ("cut", "unlink", "remove", "reindex", "verify"):
    dying(erasure_steps.ErasureSteps, name)
for name in ("_mark", "_forget_reasons", "_conclude", "_sign"):
    dying(erasures.Erasures, name)

async def main(copy):
    async with StorageNode(copy).opened() as acme:
        await acme.erasures.work()

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
POINTS = range(1, 13)
"""Before which step it is killed; what is done after one step is done before the next."""


async def test_a_killed_erasure_resumes_and_never_finishes_early(
    node: StorageNode, acme: Customer, tmp_path: Path
) -> None:
    gone, stays = await record(acme), await record(acme, name="Tove Lind", number="+4940777888")
    await permit(acme)
    filed = await acme.erasures.file(calls=[gone.id], reason="x", by="paula")
    await acme.close()
    copies = [tmp_path / f"killed-{point}" for point in POINTS]
    for copy in copies:
        shutil.copytree(node.data, copy)
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", NURSERY, *map(str, copies)]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    run = partial(subprocess.run, command, check=True, stdout=subprocess.PIPE, cwd=root, env=environment)
    ended = await asyncio.to_thread(run)
    statuses = [int(status) for status in ended.stdout.split()]
    assert len(statuses) == len(copies) and set(statuses) <= {0, -signal.SIGKILL}
    assert len(statuses) - statuses.count(0) >= 9
    for copy in copies:
        async with StorageNode(copy).opened() as again:
            before = await again.erasures.get(filed.id)
            if before and before.state == State.DONE:
                assert not again.keys.keeps(gone.leaf) and await again.calls.get(gone.id) is None
            assert await again.erasures.work()
            done = await again.erasures.get(filed.id)
            assert done and done.state == State.DONE and done.receipt and done.receipt["calls"] == [gone.id]
            assert not again.keys.keeps(gone.leaf) and not list(again.vault.parts(gone.id, gone.leaf))
            assert opens(again, stays)
            assert [row.id for row in (await again.calls.find(Query(party=Personal("0 40 777888")))).items] == [
                stays.id
            ]
