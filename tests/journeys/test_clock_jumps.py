"""The machine's clock is set by days and years while it runs: nothing is erased before its time."""

from __future__ import annotations

import shutil
import struct
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.journeys.test_forgetting import SECONDS, Api, place, record, sound

SWEEPS = 2.5  # seconds: two sweeps at least
KEPT_DAYS = 20
SHIM = r"""
/* A wall clock that is wrong by what a file says, in nanoseconds; the clocks that count seconds stay as they are. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static volatile int64_t *offset;
__attribute__((constructor)) static void begin(void) {
    int fd = open(getenv("CLOCK_OFFSET"), O_RDONLY);
    void *at = fd < 0 ? MAP_FAILED : mmap(0, 8, PROT_READ, MAP_SHARED, fd, 0);
    if (at != MAP_FAILED) offset = at;
    if (fd >= 0) close(fd);
}
int clock_gettime(clockid_t which, struct timespec *out) {
    int failed = syscall(SYS_clock_gettime, which, out);
    if (!failed && offset && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) {
        int64_t ns = (int64_t)out->tv_sec * 1000000000 + out->tv_nsec + *offset;
        out->tv_sec = ns / 1000000000, out->tv_nsec = ns % 1000000000;
    }
    return failed;
}
int gettimeofday(struct timeval *restrict out, void *restrict zone) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    out->tv_sec = now.tv_sec, out->tv_usec = now.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}
"""


@pytest.fixture
def set_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Api, int], None]:
    """Sets the clock that programs of this test see, while they run, by so many days; the daemon must show it."""
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler to make a wrong clock with (Debian: gcc)")
    source, library, offset = tmp_path / "clock.c", tmp_path / "clock.so", tmp_path / "offset"
    source.write_text(SHIM)
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source], check=True, timeout=60)
    offset.write_bytes(bytes(8))
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("CLOCK_OFFSET", str(offset))

    def to(api: Api, days: int) -> None:
        with offset.open("r+b", buffering=0) as file:
            file.write(struct.pack("=q", days * 86_400 * 10**9))
        end = time.monotonic() + SECONDS
        api.ask("GET", "/waiver")
        while True:
            newest = api.ask("GET", "/audit?limit=1", "auditor").json()["items"][0]["time"]
            if abs(datetime.fromisoformat(newest) - datetime.now(UTC) - timedelta(days=days)) < timedelta(hours=1):
                return
            assert time.monotonic() < end, newest
            time.sleep(0.05)

    return to


def test_a_clock_that_jumps_erases_nothing_early(tmp_path: Path, set_clock: Callable[[Api, int], None]) -> None:
    with place(tmp_path / "one", start=False) as api:
        text = api.one.config.read_text()
        brake = "[retention]\nsweep_seconds = 1\nbrake_percent = 100\n[keys]"
        api.one.config.write_text(text.replace("[keys]", brake))
        api.one.start()
        end = time.monotonic() + SECONDS
        while api.ask("PUT", "/retention", json={"rules": [], "default_days": KEPT_DAYS}).status_code != 200:
            assert time.monotonic() < end, "the database never came"
            time.sleep(0.1)
        (first,) = record(api, 1)
        end = time.monotonic() + SECONDS
        heard = sound(api, first["id"])
        while (due := api.ask("GET", f"/calls/{first['id']}").json()["erase_after"]) is None:
            assert time.monotonic() < end, "the index never had it"
            time.sleep(0.05)
        known = {first["id"]}
        for days in (-7, 30, 3650, 0):
            set_clock(api, days)
            time.sleep(SWEEPS)
            assert api.ask("GET", f"/calls/{first['id']}").json()["erase_after"] == due
            assert {call["id"] for call in api.calls()} == known, days
            if len(known) < 4:  # one call of each wrong time
                record(api, 1)
                known = {call["id"] for call in api.calls()}
        assert all(call["erase_after"] >= due for call in api.calls()), "those of a clock set back really ended later"
        assert sound(api, first["id"]) == heard
        api.ask("PUT", "/retention", json={"rules": [], "default_days": 0})
        end = time.monotonic() + SECONDS
        while not api.gone(first["id"]):
            assert time.monotonic() < end, "sweeps were running all the time"
            time.sleep(0.1)
