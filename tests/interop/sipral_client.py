"""Two phones of sipral call each other, and one records the call to a server.

Runs inside an environment of its own: `sipral_client.py HOST:PORT SRTP SECONDS`, SRTP as sipral numbers it. Prints
`done` if the recording session stood.
"""

from __future__ import annotations

import asyncio
import sys
import time

from sipral import Call, SipralError, Stack  # type: ignore[import-not-found]  # not installed beside the recorder

HOST = "127.0.0.1"
PATIENCE = 10.0
NOT_OFFERED = 1


async def answer(called: Stack) -> None:
    """Take the call."""
    while True:
        event = await asyncio.wait_for(called.events.get(), PATIENCE)
        if event.kind_name == "incoming call":
            called.answer_call(event, media_host=HOST)
            return


async def record(call: Call, recorder: str, seconds: float) -> None:
    """Record for so long. Without media or an open connection yet it fails at once or in silence: try again."""
    end = time.monotonic() + PATIENCE
    while True:
        await asyncio.sleep(0.3)
        try:
            call.record_to(f"sip:rec@{recorder};transport=tcp", destination=recorder)
            await asyncio.sleep(seconds)
            call.stop_recording_to()
            return
        except SipralError:
            if time.monotonic() > end:
                raise


async def main(recorder: str, srtp: int, seconds: float) -> None:
    """Place the call, record it, end it."""
    loop = asyncio.get_running_loop()
    with (
        Stack(bind_host=HOST, loop=loop, srtp=srtp) as called,
        Stack(bind_host=HOST, loop=loop, srtp=srtp, stream_server=recorder) as caller,
    ):
        called.add_account("sip:bob@127.0.0.1", registrar_address=recorder, srtp=srtp)
        here = caller.add_account(
            "sip:alice@127.0.0.1",
            registrar_address=recorder,
            display_name="Alice",
            srtp=srtp,
            recording_in_clear=srtp == NOT_OFFERED,
        )
        call = caller.place_call(here, "sip:bob@127.0.0.1", destination=called.bind_address, media_host=HOST, srtp=srtp)
        await answer(called)
        await record(call, recorder, seconds)
        await asyncio.sleep(1)
    print("done")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
