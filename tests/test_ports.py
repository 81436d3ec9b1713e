"""Every process begins elsewhere, and none runs out of ports."""

from __future__ import annotations

import os
from itertools import islice

import pytest

from tests.ports import spans


@pytest.mark.parametrize("process", [0, 1, 2, 299, 4_711])
def test_spans_go_round(monkeypatch: pytest.MonkeyPatch, process: int) -> None:
    monkeypatch.setattr(os, "getpid", lambda: process)
    seen = list(islice(spans(20_000, 20_130, 40), 7))
    begin = process % 3
    assert seen == [20_000 + (begin + n) % 3 * 40 for n in range(7)]
