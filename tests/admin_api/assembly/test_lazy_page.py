"""The way to the page: loaded once, at its first use, and never by the daemon's start."""

import asyncio
import subprocess
import sys
import time

from admin_api.assembly.lazy_page import LazyPage


def test_the_application_is_there_without_the_page():
    late = ("jinja2", "argon2", "admin_api.page")
    loaded = f"import sys, admin_api.assembly.app; print([n for n in {late!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_many_first_visitors_get_one_page(service):
    shared = LazyPage(service.authoriser, service.accounts, report=None, several=False, monotonic=time.monotonic)

    async def visit():
        return await asyncio.gather(*(shared.site() for _ in range(5)))

    assert len(set(map(id, asyncio.run(visit())))) == 1
