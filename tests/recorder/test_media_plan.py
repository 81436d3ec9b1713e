"""From what was negotiated to what a worker has to know."""

from __future__ import annotations

from pathlib import Path

from recorder.commands import StreamPlan
from recorder.media_plan import stream_specs
from tests.recorder.stage import configured
from tests.recorder.test_stream import line


def test_keys_payloads_and_where_media_may_come_from(tmp_path: Path) -> None:
    customer = configured(tmp_path).customers[0]
    (spec,) = stream_specs([StreamPlan(3, line(), b"o" * 30, True)], customer)
    assert (spec.stream, spec.suite, spec.held) == (3, "AES_CM_128_HMAC_SHA1_80", True)
    assert spec.key == b"A" * 30
    assert spec.own_key == b"o" * 30
    assert spec.payloads == ((8, "PCMA", 8000),)
    assert spec.networks == ("127.0.0.0/8",)
