"""The fast path in C: the bytes and figures of the one in Python, batch by batch, and nothing beyond its memory."""

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.receive import batch
from media.receive.batch import SLOTS, Lane
from media.records import record_format
from media.rtp import header
from media.stream import fast_path_c
from media.stream.checkpoint import pack
from media.stream.receiver import ReceivedStream
from media.stream.report import figures
from tests.media.stream.lanes import FIRST_ARRIVAL, FRAME, SUITE, lane_of, packets_of, receive
from tests.media.stream.test_fast_path import GCM, g711, opus, protected, track_of

ROOT = Path(__file__).parents[3]

needed = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler: everything goes by Python")


def walked(suite: str | None, batches: list[tuple[list[bytes], list[int]]]) -> tuple[object, ...]:
    """Give what a track makes of batches: its bytes, its figures, its state."""
    track, out = track_of(suite), list[bytes]()
    for packets, arrivals in batches:
        out += receive(track, packets, arrivals=arrivals, cuts=SLOTS)
    jitter, track.reception.jitter = track.reception.jitter, 0.0
    known = figures(track), pack([track]), track.reception.last_size
    return b"".join(out), *known, pytest.approx(jitter, rel=1e-9, abs=1e-3)


def cut(packets: list[bytes], cuts: list[int], late: list[int]) -> list[tuple[list[bytes], list[int]]]:
    batches, at = [], 0
    for length in cuts:
        some = packets[at : at + length]
        if some:
            arrivals = [FIRST_ARRIVAL + n * FRAME + late[n % len(late)] for n in range(at, at + len(some))]
            batches.append((some, arrivals))
        at += length
    return batches


@needed
@settings(max_examples=100, deadline=None)
@given(st.data())
def test_property_both_write_the_same_bytes(data: st.DataObject) -> None:
    """Whatever comes: other sizes, markers, losses, wraps, clocks set back, sources that change, forgeries."""
    suite = data.draw(st.sampled_from([None, SUITE, GCM]))
    first = data.draw(st.sampled_from([10, 65_500 if suite is None else 10]))
    plain = g711(120, first) if data.draw(st.booleans()) else opus(120, first)
    for at in data.draw(st.lists(st.integers(0, 119), max_size=3)):
        where = data.draw(st.sampled_from([1, 4, 7, 11] if suite else [*range(12)]))  # libsrtp sends no number twice
        bit = 1 << data.draw(st.integers(0, 7))
        plain[at] = bytes(each ^ (bit * (n == where)) for n, each in enumerate(plain[at]))
    wire = protected([packet for packet in plain if packet[0] >> 6 == 2 and not packet[0] & 0x3F], suite)
    for at in data.draw(st.lists(st.integers(0, len(wire) - 1), max_size=2)):
        wire[at] = wire[at][:-1] + bytes([wire[at][-1] ^ 1])
    for at in data.draw(st.lists(st.integers(0, len(wire) - 1), max_size=2, unique=True).map(sorted))[::-1]:
        del wire[at]
    late = data.draw(st.lists(st.sampled_from([0, 1, 3_000_000, 25_000_000, 1_500_000_000, 7_000_000_000]), min_size=1))
    batches = cut(wire, data.draw(st.lists(st.integers(1, SLOTS), min_size=1, max_size=8)), late)
    in_c = walked(suite, batches)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(fast_path_c, "path_of", lambda _: None)
        assert walked(suite, batches) == in_c


def taken(track: ReceivedStream, lane: batch.Lane, count: int) -> tuple[int, list[bytes]]:
    """Give what becomes of a batch in C, and what is stored."""
    compiled, out = fast_path_c.path_of(lane.buffer), list[bytes]()
    assert compiled is not None
    storing = not (track.gaps.unsettled or track.pauses.items)
    return compiled.take(track.spec.stream, track.reception, track.srtp.keyring, storing, lane, count, out), out


def begun(packets: list[bytes], arrivals: list[int]) -> tuple[ReceivedStream, Lane]:
    """Give a track that has heard the first packet, and a lane with the others."""
    track = track_of(None)
    receive(track, packets[:1], arrivals=arrivals[:1])
    return track, lane_of(packets[1:], arrivals[1:])


@needed
@pytest.mark.parametrize("suite", [None, SUITE, GCM])
@pytest.mark.parametrize(("count", "size"), [(2, 0), (SLOTS - 1, 1), (SLOTS, 160), (SLOTS, batch.NEAR - 28)])
def test_a_run_of_any_length_is_stored_in_c(suite: str | None, count: int, size: int) -> None:
    packets = [header.build(8, 10 + n, 160 * n, 7, bytes([n]) * size) for n in range(1 + count)]
    wire, track = protected(packets, suite), track_of(suite)
    receive(track, wire[:1])
    lane = lane_of(wire[1:], [FIRST_ARRIVAL + n * FRAME for n in range(1, 1 + count)])
    status, out = taken(track, lane, count)
    assert (status, packets_of(out)) == (fast_path_c.STORED, packets[1:])
    assert (track.reception.packets, track.reception.size) == (1 + count, size * (1 + count))
    assert track.reception.last_size == size


def numbered(first: int = 10, stamp: int = 0, pace: int = FRAME) -> tuple[list[bytes], list[int]]:
    """Give packets of G.711 with their arrivals, of which the second is at the beginning of a second."""
    payloads = [bytes([n]) * 160 for n in range(1 + SLOTS)]
    packets = [header.build(8, first + n, stamp + 160 * n, 7, payload) for n, payload in enumerate(payloads)]
    return packets, [1_700_000_001_000_000_000 + (n - 1) * pace for n in range(1 + SLOTS)]


def delayed(behind: int, by: int, pace: int = FRAME) -> tuple[list[bytes], list[int]]:
    packets, arrivals = numbered(pace=pace)
    return packets, [arrival + by * (n > behind) for n, arrival in enumerate(arrivals)]


@needed
@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(delayed(0, 6_000_000_000), id="behind a silence of six seconds"),
        pytest.param(numbered(pace=40_000_000), id="over two seconds and a half"),
        pytest.param(delayed(30, 1_100_000_000, 1_000_000), id="with more than a second between two"),
        pytest.param(numbered(first=65_500), id="whose number wraps"),
        pytest.param(numbered(stamp=2**32 - 3200), id="whose timestamp wraps"),
    ],
)
def test_a_batch_that_is_not_for_the_fast_path_is_only_opened(sent: tuple[list[bytes], list[int]]) -> None:
    track, lane = begun(*sent)
    assert taken(track, lane, SLOTS) == (fast_path_c.OPENED, [])
    assert packets_of(receive(track, sent[0][1:], arrivals=sent[1][1:], cuts=SLOTS)) == sent[0][1:]


def differing(where: int) -> tuple[list[bytes], list[int]]:
    """Give packets of which one differs in a byte of its header."""
    packets, arrivals = numbered()
    packets[9] = bytes(each ^ (0x80 * (n == where)) for n, each in enumerate(packets[9]))
    return packets, arrivals


@needed
def test_the_fast_path_refuses_any_differing_header_byte() -> None:
    for where in range(12):
        track, lane = begun(*differing(where))
        assert taken(track, lane, SLOTS)[0] == fast_path_c.OPENED, where


@needed
def test_nothing_is_stored_in_a_pause_or_from_an_unknown_source() -> None:
    """Whatever a clock says: here type, numbers, source and time are those that are not known yet."""
    packets, arrivals = numbered()
    track, lane = begun(packets, arrivals)
    track.pauses.begin(arrivals[30])
    assert taken(track, lane, 20) == (fast_path_c.OPENED, [])
    unknown = [header.build(0, n, 160 * n, 0, bytes([n]) * 160) for n in range(20)]
    assert taken(track_of(None), lane_of(unknown, [0] * 20), 20) == (fast_path_c.OPENED, [])


@needed
@pytest.mark.parametrize("when", [(2**63 - 1, 2**63 - 1), (-(2**63), -(2**63)), (2**62, 0), (-1, 0), (2**33, 0)])
def test_times_that_cannot_be_are_not_for_the_fast_path(when: tuple[int, int]) -> None:
    """As in the damaged region of a dead worker."""
    for slot in (0, 1, SLOTS - 1):
        track, lane = begun(*numbered())
        struct.pack_into("=qq", lane.control, slot * batch.CONTROL + 16, *when)
        assert taken(track, lane, SLOTS) == (fast_path_c.OPENED, [])


@needed
@pytest.mark.parametrize(("first", "count"), [(0, 1), (SLOTS - 1, 2), (SLOTS, 2), (0, SLOTS + 1), (2**31, 2**31)])
def test_one_packet_or_slots_that_do_not_exist_are_not_touched(first: int, count: int) -> None:
    lane = Lane(memoryview(bytearray((160).to_bytes(4, "little") * (batch.LANE // 4))), lane_of([], []).buffer)
    lane.first = first
    assert taken(track_of(None), lane, count)[0] == fast_path_c.UNTOUCHED


@needed
@pytest.mark.parametrize(("suite", "size"), [(None, 11), (SUITE, 21), (GCM, 27), (SUITE, batch.NEAR + 1)])
def test_a_batch_with_an_unfit_size_is_not_touched(suite: str | None, size: int) -> None:
    wire = [*protected(g711(2), suite), bytes([0x80]) * size]
    assert taken(track_of(suite), lane_of(wire, [FIRST_ARRIVAL] * 3), 3)[0] == fast_path_c.UNTOUCHED


@needed
def test_a_lane_that_begins_behind_a_report_is_read_from_there() -> None:
    packets, track = g711(40), track_of(None)
    lane = lane_of([bytes(30), *packets[20:]], [FIRST_ARRIVAL + n * FRAME for n in range(19, 40)])
    receive(track, packets[:20])
    status, out = taken(track, lane.behind(1), 20)
    (run,) = record_format.read(out)
    assert status == fast_path_c.STORED and isinstance(run, record_format.Run)
    assert [*run.packets()] == [(10 + n, FIRST_ARRIVAL + n * FRAME, packets[n]) for n in range(20, 40)]


@needed
def test_a_batch_not_stored_leaves_the_track_unchanged() -> None:
    wire = protected([*g711(20), *g711(21)[20:], *opus(10, 31)], SUITE)
    track = track_of(SUITE)
    receive(track, wire[:20])
    before = pack([track])
    lane = lane_of(wire[20:], [FIRST_ARRIVAL + n * FRAME for n in range(20, 31)])
    assert taken(track, lane, 11) == (fast_path_c.OPENED, [])
    compiled = fast_path_c.path_of(lane.buffer)
    assert compiled is not None
    assert (compiled.size, compiled.statuses(11), pack([track])) == (0, [0] * 11, before)


_GUARDED = """
import importlib.util, sys
import pytest
spec = importlib.util.spec_from_file_location("media.stream._fast_path", sys.argv[1])
module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
from media.stream import fast_path_library
assert fast_path_library.library() is module
words = ["-q", "-p", "no:cacheprovider", "-W", "error", "-k", f"not {sys.argv[2]} and not Python and not paths_agree"]
sys.exit(pytest.main([*words, "tests/media/stream/test_fast_path_c.py", "tests/media/stream/test_fast_path.py"]))
"""


@needed
@pytest.mark.system  # the sanitizers of a compiler
def test_the_c_code_stays_within_its_memory(tmp_path):
    """The other tests of the compiled path once more, with the compiler's checks of memory and undefined behaviour."""
    guards = "-fsanitize=address,undefined -fno-sanitize-recover=all -Werror -g -O1 -U_FORTIFY_SOURCE"
    build = ["setup.py", "--quiet", "build_ext", "--force", "--build-lib", tmp_path, "--build-temp", tmp_path / "build"]
    env = {**os.environ, "CFLAGS": guards, "LDFLAGS": "-fsanitize=address,undefined"}
    subprocess.run([sys.executable, *build], cwd=ROOT, env=env, check=True)
    (module,) = (tmp_path / "media/stream").glob("_fast_path.*")
    loaded = [_found(name) for name in ("libasan.so", "libubsan.so")]
    env = {**os.environ, "LD_PRELOAD": " ".join(loaded), "ASAN_OPTIONS": "detect_leaks=0", "PYTHONMALLOC": "malloc"}
    line = [sys.executable, "-c", _GUARDED, module, test_the_c_code_stays_within_its_memory.__name__]
    done = subprocess.run(line, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


def _found(name: str) -> str:
    return subprocess.run(["cc", f"-print-file-name={name}"], check=True, capture_output=True, text=True).stdout.strip()
