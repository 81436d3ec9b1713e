"""`serve` up to the daemon."""

from __future__ import annotations

import os
import resource
import subprocess
import sys

from recorder.service.serve import raise_descriptors


def test_as_many_descriptors_as_allowed() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        raise_descriptors()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == before[1]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_ports_are_bound_before_anything_heavy_is_imported() -> None:
    heavy = "{'asyncio', 'structlog', 'sqlalchemy', 'starlette', 'uvicorn', 'av', 'typer'}"
    code = f"import sys, recorder.service.serve; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stdout.strip() == "[]"
