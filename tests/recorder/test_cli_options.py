"""Options that several commands share mean the same everywhere."""

from __future__ import annotations

from recorder import cli_calls, cli_options, cli_setup


def test_there_is_one_of_each() -> None:
    assert cli_calls.Config is cli_setup.Config is cli_options.Config
    assert cli_calls.AsJson is cli_setup.AsJson is cli_options.AsJson
