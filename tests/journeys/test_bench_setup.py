"""The bench of call set-up runs and counts: a short run of it on either transport."""

from __future__ import annotations

import pytest

from bench import setup
from sip.message.message import Request, parse


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_every_call_of_a_short_run_is_answered_and_counted(transport: str, capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = setup.main(["--rates", "20", "--seconds", "1", "--transport", transport])
    assert (row.rate, row.failed) == (20, 0)
    assert 0 < row.middle <= row.high
    assert row.cpu > 0.2  # ms: a daemon that was not measured would have used none
    assert "INVITE/s and core" in capsys.readouterr().out


def test_the_benchmark_invite_carries_the_stated_metadata() -> None:
    client = setup.Client(5070, "udp", bytes, bytes)
    invite = parse(client.message("c1", 1, "INVITE", body=setup.invitation(7)))
    assert isinstance(invite, Request)
    assert len(invite.body) > setup.METADATA_BYTES
    assert invite.body.count(b"m=audio") == 2


def test_a_rate_counts_only_if_all_were_answered_in_time() -> None:
    kept = setup.Row(100, 2.0, 99.0, 0, 3.0, 0.3, 1.0)
    assert kept.good
    assert "VOID" not in str(kept)
    assert not setup.Row(100, 2.0, 101.0, 0, 3.0, 0.3, 1.0).good
    assert not setup.Row(100, 2.0, 9.0, 1, 3.0, 0.3, 1.0).good
    assert "VOID" in str(setup.Row(100, 2.0, 9.0, 0, 3.0, 0.3, 21.0))
