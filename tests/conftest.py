"""Fixtures that more than one folder needs, and how hypothesis searches."""

from __future__ import annotations

import os

import hypothesis

hypothesis.settings.register_profile("quick", max_examples=100, deadline=None, derandomize=bool(os.environ.get("CI")))
hypothesis.settings.register_profile("long", max_examples=1_000, deadline=None)  # a round of `make fuzz`
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
