"""Past the limit of calls: the next one is sent elsewhere at once, the running ones lose nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

from sip.message.message import Response
from tests.daemon.api import running, until
from tests.daemon.coded_calls import in_order, nothing_lost, place, wishes
from tests.daemon.sbc import OFFER
from tests.in_process.offers import beyond_a_message

LIMIT = 4
BEYOND = 40  # calls that are tried while so many run
SECONDS, HOLD = 6.0, 0.8


def told(answer: Response) -> tuple[int, str | None]:
    return answer.status, answer.headers.get("Retry-After")


def test_calls_beyond_the_limit_get_503(tmp_path: Path) -> None:
    with running(tmp_path, start=False) as it:
        it.one.replace("[sip]\n", f"[sip]\nmax_calls = {LIMIT}\n")
        it.one.start()
        answers: list[tuple[int, str | None]] = []

        def attempt() -> None:
            """Offer calls that are too many, then ask whether it is worth while."""
            with it.one.sbc("tcp") as sbc:
                for method in ["INVITE"] * BEYOND + ["OPTIONS"]:
                    sbc.anew()
                    answers.append(told(sbc.ask(method, OFFER if method == "INVITE" else b"")))

        async def meanwhile() -> None:
            await it.talking(LIMIT)
            await asyncio.to_thread(attempt)

        placed = place(wishes(it.one, LIMIT, SECONDS, hold=HOLD), meanwhile)
        nothing_lost(it, placed)
        assert answers == [(503, "30")] * (BEYOND + 1)  # OPTIONS says the same, so that an SBC need not try
        until(lambda: it.figure("recorder_calls_active") == 0)
        nothing_lost(it, place(wishes(it.one, 2, seconds=2.5, hold=HOLD)))
        in_order(it)


def test_a_too_long_reoffer_is_refused_and_the_call_continues(tmp_path: Path) -> None:
    with running(tmp_path) as it:
        with it.one.sbc("tcp") as sbc:
            statuses = [sbc.ask("INVITE", body).status for body in (OFFER, beyond_a_message(), OFFER)]
            assert statuses == [200, 488, 200]
            assert sbc.ask("BYE").status == 200
        in_order(it)
