"""An SBC that vanished sends no BYE: its silent calls end once it says that it does not know them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.daemon.api import running, until
from tests.daemon.sbc import OFFER

SILENT = 8
"""Seconds after which a call is asked about here."""
HELD = OFFER.replace(b"a=sendonly", b"a=inactive").replace(b"o=- 1 1", b"o=- 1 2")
NO_UPDATE = ""


def test_a_silent_call_ends_if_its_client_does_not_know_it(tmp_path: Path) -> None:
    with running(tmp_path, start=False) as it:
        it.one.replace("[sip]\n", f"[sip]\nsilent_seconds = {SILENT}\n")
        it.one.start()
        with it.one.sbc() as forgotten, it.one.sbc() as held:
            for each in (forgotten, held):
                assert each.ask("INVITE", OFFER, NO_UPDATE).status == 200
            assert held.ask("INVITE", HELD, NO_UPDATE).status == 200
            forgotten.asked("OPTIONS", status=481)
            forgotten.asked("BYE")
            states = {forgotten.call: ("complete", "dialog-gone"), held.call: ("recording", None)}
            until(lambda: {call["session_id"]: (call["state"], call["end_reason"]) for call in it.calls()} == states)
            with pytest.raises(TimeoutError):
                held.asked(seconds=0.5)
            (incident,) = it.get("/incidents").json()["items"]
            assert (incident["kind"], incident["status"]) == ("client-gone", 481)
