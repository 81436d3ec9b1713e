"""What comes at the moment of READY is answered: a call at once, a question to the API when its code is loaded."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path

import httpx2

from tests.daemon.sbc_link import Link
from tests.daemon.server import Server, server


def test_a_call_and_a_question_at_ready(tmp_path: Path) -> None:
    with server(tmp_path) as one:
        one.init()
        starting = threading.Thread(target=one.start)
        starting.start()
        one.until("recorder.ready")
        asked: list[int] = []
        url = f"http://127.0.0.1:{one.api}/readyz"
        asking = threading.Thread(target=lambda: asked.append(httpx2.get(url, timeout=60).status_code))
        asking.start()
        link = Link("udp", one.udp)
        answer = link.invite()
        assert answer is not None and answer.status == 200
        for each in (asking, starting):
            each.join()
        assert asked == [200]
        said = one.events()
        assert said.index("recorder.ready") < said.index("api.ready")
        link.again("BYE", answer.headers.get("To") or "")
        while (bye := link.hear()) is not None and b"INVITE" in (bye.headers.get("CSeq") or "").encode():
            pass  # the 200 again: it was not acknowledged
        assert bye is not None and bye.status == 200
        link.close()
        assert one.stop() == 0
        assert "Traceback" not in one.log.read_text()


def test_a_stop_before_the_api_is_loaded_ends_it_well(tmp_path: Path) -> None:
    with server(tmp_path) as one:
        one.init()
        starting = threading.Thread(target=_begun, args=(one,))
        starting.start()
        one.until("recorder.ready")
        assert one.stop() == 0
        starting.join()
        assert "Traceback" not in one.log.read_text()
        one.start()
        assert one.stop() == 0


def _begun(one: Server) -> None:
    """Start; that it ends meanwhile is meant."""
    with suppress(RuntimeError, AttributeError):
        one.start()
