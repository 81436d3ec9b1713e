"""Writing calls leaves no cycles: at 300 calls a second nobody looks for them (recorder.service.gc_policy)."""

import asyncio
import gc
from collections.abc import Awaitable, Callable

from storage.calls.call_index import Calls
from storage.calls.call_row import CallState
from storage.database.database import Database
from storage.keys.key_store import CustomerKeys
from tests.storage.calls.test_call_index import call, put


def test_nothing_of_a_batch_waits_for_the_garbage_collector(
    empty: Callable[[], Awaitable[Database]], keys: CustomerKeys
) -> None:
    async def story() -> None:
        database = await empty()
        calls = Calls(database, keys, "DE")
        live = [[call(keys, state=CallState.RECORDING) for _ in range(3)] for _ in range(3)]
        for rows in (*live[:2], *live[:2]):  # what is made once is made
            await put(calls, *rows)
        gc.collect()
        gc.disable()
        try:
            await put(calls, *live[2])
            await put(calls, *live[2])
            assert gc.collect() == 0
        finally:
            gc.enable()
            await database.close()

    asyncio.run(story())
