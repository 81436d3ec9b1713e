"""Fixtures that more than one folder needs, and how hypothesis searches."""

from __future__ import annotations

import os

import hypothesis
import pytest

hypothesis.settings.register_profile("quick", max_examples=100, deadline=None, derandomize=bool(os.environ.get("CI")))
hypothesis.settings.register_profile("long", max_examples=1_000, deadline=None)  # a round of `make fuzz`
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show why a test failed the first time that had a second try (`.ci/run`): it is to be mended all the same."""
    for report in terminalreporter.getreports("rerun"):
        terminalreporter.write_sep("_", f"failed once: {report.nodeid}")
        terminalreporter.write_line(report.longreprtext)
