"""Render sealed parts in this process, with the function that a worker calls."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from typing import Any

from media.export.encoder import Container
from recorder.exports.render_client import RenderStream, job_part
from recorder.exports.render_job import Job
from recorder.exports.render_worker import make
from tests.recorder.sealed import Part


def rendered(parts: Sequence[Part], streams: Sequence[RenderStream], form: str) -> tuple[bytes, dict[str, Any]]:
    """Return the file and the report."""
    out = io.BytesIO()
    kind = Container(form) if form in list(Container) else form
    report = make(Job([job_part(part) for part in parts], list(streams), kind, 0, os.getpid()), out)
    return out.getvalue(), report
