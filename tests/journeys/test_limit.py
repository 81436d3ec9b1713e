"""Past the limit of calls: the next one is sent elsewhere at once, the running ones lose nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

from sip.message.message import Response
from tests.daemon.coded_calls import Watched, place, verified, wishes
from tests.daemon.sbc_link import OFFER, Link
from tests.daemon.server import server
from tests.in_process.offers import beyond_a_message
from tests.journeys.test_kill import HOLD, nothing_lost

LIMIT = 4
BEYOND = 40  # calls that are tried while so many run
SECONDS = 9.0  # that these last: longer than a busy machine needs for the tries


def _told(answer: Response | None) -> tuple[int, str | None]:
    return (answer.status, answer.headers.get("Retry-After")) if answer else (0, None)


def _try(port: int, answers: list[tuple[int, str | None]]) -> None:
    """Offer calls that are too many, then ask whether it is worth while."""
    link = Link("tcp", port)
    for _ in range(BEYOND):
        answers.append(_told(link.invite()))
    link.say("OPTIONS")
    answers.append(_told(link.hear()))
    link.close()


def test_calls_beyond_the_limit_get_503(tmp_path: Path) -> None:
    with server(tmp_path) as one:
        one.config.write_text(one.config.read_text().replace("[sip]\n", f"[sip]\nmax_calls = {LIMIT}\n"))
        it = Watched(one, one.init())
        one.start()
        answers: list[tuple[int, str | None]] = []

        async def meanwhile() -> None:
            await it.talking(LIMIT)
            await asyncio.to_thread(_try, one.udp, answers)

        placed = place(wishes(one, LIMIT, SECONDS, hold=HOLD), meanwhile)
        assert [call.status for call in placed] == [200] * LIMIT
        nothing_lost(it, placed)
        assert answers == [(503, "30")] * (BEYOND + 1)  # OPTIONS says the same, so that an SBC need not try
        asyncio.run(it.until(lambda: it.figure("recorder_calls_active") == 0))
        again = place(wishes(one, 2, seconds=2.5, hold=HOLD))
        assert [call.status for call in again] == [200] * 2
        nothing_lost(it, again)
        assert "Traceback" not in one.log.read_text()
        assert one.stop() == 0
        assert verified(one) == []


def test_a_too_long_reoffer_is_refused_and_the_call_continues(tmp_path: Path) -> None:
    with server(tmp_path) as one:
        one.init()
        one.start()
        link = Link("tcp", one.udp)
        answer = link.invite()
        assert answer is not None
        to = answer.headers.get("To") or ""
        link.again("ACK", to)
        statuses = [answer.status]
        for cseq, body in ((2, beyond_a_message()), (3, OFFER)):
            link.again("INVITE", to, cseq, body=body)
            statuses.append(_told(link.hear())[0])
            link.again("ACK", to, cseq)
        link.again("BYE", to, 4)
        statuses.append(_told(link.hear())[0])
        link.close()
        assert statuses == [200, 488, 200, 200]
        assert "Traceback" not in one.log.read_text()
        assert one.stop() == 0
        assert verified(one) == []
