"""Options that several commands share mean the same everywhere."""

from __future__ import annotations

from recorder.cli import calls, options, setup


def test_there_is_one_of_each() -> None:
    assert calls.Config is setup.Config is options.Config
    assert calls.AsJson is setup.AsJson is options.AsJson
