"""Playing a call: the whole, ranges, conditions; and nothing stays open."""

import asyncio
import contextlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from admin_api.calls import playback, render_cache
from admin_api.http.ports import ABORT, Rendered
from tests.admin_api.privacy.test_waiver import WAIVER
from tests.in_process.api_service import RESET

PATIENCE = 30.0
"""Seconds until a server has given something up, on a busy machine too."""


def open_renders(service):
    """Return how many of the descriptors that were handed out are still open."""
    links = [Path(f"/proc/self/fd/{number}") for number in service.daemon.descriptors]
    return sum(link.is_symlink() and "memfd:render" in os.readlink(link) for link in links)


def settled(service, true):
    """Whether this comes true once the server has had its turn."""
    end = time.monotonic() + PATIENCE
    while not true() and time.monotonic() < end:
        service.run(asyncio.sleep(0.001))
    return true()


def closed(service):
    return settled(service, lambda: not open_renders(service))


@contextlib.contextmanager
def streamed(service, path, customer="acme"):
    """Begin to fetch more sound than the buffers on the way hold."""
    service.daemon.sound = bytes(32 << 20)
    headers = {"Authorization": f"Bearer {service.tokens[customer]['admin']}"}
    with service.client.stream("GET", f"/api/v1/customers/{customer}{path}", headers=headers) as answer:
        assert answer.status_code == 200
        yield answer


def erase(service, call, customer="acme"):
    service.ask("/waiver", method="PUT", customer=customer, json=WAIVER)
    service.ask("/erasures", method="POST", customer=customer, json={"calls": [call], "reason": "she asked"})
    service.run(service.customers[customer].erasures.work())


@pytest.fixture(autouse=True)
def nothing_stays_open(service):
    yield
    if not render_cache.SECONDS:
        assert closed(service)


@pytest.fixture
def path(service):
    return f"/calls/{service.ids['acme'][0]}/media"


def test_the_whole_file(service, path):
    before, call = len(service.acts()), service.ids["acme"][0]
    answer = service.ask(path, "listener")
    written = [(act["action"], act["role"], act["outcome"], act["object"]) for act in service.acts()[before:]]
    assert written == [("call.media", "listener", "done", call)]
    head = service.ask(path, method="HEAD")
    assert (answer.content, head.content) == (service.sound, b"")
    for name, value in (
        ("content-type", "audio/wav"),
        ("content-disposition", f'attachment; filename="{call}.wav"'),
        ("content-length", str(len(service.sound))),
        ("cache-control", "no-store"),
        ("accept-ranges", "bytes"),
    ):
        assert answer.headers[name] == head.headers[name] == value


def test_every_format_is_passed_on(service, path):
    for form in ("wav", "flac", "opus", "mp3", "pcap"):
        answer = service.ask(f"{path}?format={form}")
        assert answer.headers["content-disposition"].endswith(f'.{form}"')
    assert [asked[0] for asked in service.daemon.asked] == ["wav", "flac", "opus", "mp3", "pcap"]
    assert service.ask(f"{path}?format=exe").status_code == 422


@pytest.mark.parametrize(("begin", "end"), [(0, 0), (262_143, 262_145), (0, 1048575), (1048575, 1048575)])
def test_a_range(service, path, begin, end):
    answer = service.ask(path, headers={"Range": f"bytes={begin}-{end}"})
    assert (answer.status_code, answer.content) == (206, service.sound[begin : end + 1])
    assert answer.headers["content-range"] == f"bytes {begin}-{end}/{len(service.sound)}"
    answer = service.ask(path, headers={"Range": "bytes=9999999-"})
    assert (answer.status_code, answer.headers["content-type"]) == (416, "application/problem+json")
    assert answer.headers["content-range"] == f"bytes */{len(service.sound)}"


@pytest.mark.parametrize("is_long", [False, True])
def test_conditional_requests_are_honoured(service, path, is_long):
    service.daemon.long = is_long
    tag, rest = service.ask(path, method="HEAD").headers["etag"], {"Range": "bytes=10-"}
    for headers, status, content in (
        ({**rest, "If-Range": tag}, 206, service.sound[10:]),
        ({**rest, "If-Range": '"other"'}, 200, service.sound),
        ({**rest, "If-None-Match": tag}, 304, b""),
        ({"If-None-Match": '"other"'}, 200, service.sound),
        ({"If-Match": tag}, 200, service.sound),
    ):
        answer = service.ask(path, headers=headers)
        assert (answer.status_code, answer.content) == (status, content)
        assert (answer.headers["etag"], answer.headers["cache-control"]) == (tag, "no-store")
    assert service.ask(path, method="HEAD", headers={"If-None-Match": tag}).status_code == 304
    answer = service.ask(path, headers={"If-Match": '"other"'})
    assert (answer.status_code, answer.headers["content-type"]) == (412, "application/problem+json")


@pytest.mark.parametrize("is_long", [False, True])
@pytest.mark.parametrize("later", [False, True])
def test_a_call_that_cannot_be_rendered_gives_409_or_503(service, path, later, is_long):
    daemon = service.daemon
    daemon.cannot, daemon.later, daemon.long = "No stream of this call has audio.", later, is_long
    for asked in (path, path.replace("media", "waveform")):
        answer = service.ask(asked)
        assert (answer.status_code, answer.headers.get("retry-after")) == ((503, "1") if later else (409, None))
        assert answer.json()["detail"] == service.daemon.cannot
        assert service.acts()[-1]["outcome"] == "failed"


@pytest.fixture
def long(service, path):
    """Return the path of a call that is sent while it is rendered."""
    service.daemon.long = True
    yield path
    assert settled(service, lambda: all(stream.closed for stream in service.daemon.streams))


def test_a_long_call_is_sent_while_it_is_rendered(service, long):
    answer = service.ask(long)
    assert answer.content == service.sound
    assert answer.headers["content-length"] == str(len(service.sound))
    assert answer.headers["content-type"] == "audio/wav" and not service.daemon.asked
    part = service.ask(long, headers={"Range": "bytes=262143-900000"})
    assert (part.status_code, part.content) == (206, service.sound[262_143:900_001])
    assert part.headers["content-range"] == f"bytes 262143-900000/{len(service.sound)}"
    assert service.ask(long, headers={"Range": "bytes=-7"}).content == service.sound[-7:]
    assert service.ask(long, headers={"Range": "bytes=9999999-"}).status_code == 416


def test_a_render_that_breaks_off_does_not_look_complete(service, long):
    service.daemon.breaks_at = 300_000
    with pytest.raises(httpx2.RemoteProtocolError):
        service.ask(long)
    service.daemon.breaks_at = 1 << 30
    assert service.ask(long).content == service.sound


def test_long_calls_wait_for_their_turn_and_are_then_refused(service, long, monkeypatch):
    monkeypatch.setattr(playback, "TURN_SECONDS", 0.05)
    with contextlib.ExitStack() as listeners:
        for _ in range(playback.MAX_STREAMS):
            listeners.enter_context(streamed(service, long))
        answer = service.ask(long)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert service.ask(f"/calls/{service.ids['beta'][0]}/media", customer="beta", method="HEAD").status_code == 200
    monkeypatch.setattr(playback, "TURN_SECONDS", PATIENCE)
    assert service.ask(long, method="HEAD").status_code == 200


def test_a_render_ends_when_its_client_leaves_or_stops_reading(service, path, monkeypatch):
    with streamed(service, path) as answer:
        next(answer.iter_raw(1000))
    assert service.ask(path, method="HEAD").status_code == 200 and closed(service)
    monkeypatch.setattr(playback, "SLOW_SECONDS", 0.05)
    with streamed(service, path):
        assert closed(service)


def test_too_many_players_at_once_get_503(service, path, monkeypatch):
    with monkeypatch.context() as none:
        none.setattr(playback, "MAX_PLAYS", 0)
        none.setattr(playback, "TURN_SECONDS", 0)
        answer = service.ask(path)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_many_at_once_wait_for_their_turn(service, monkeypatch):
    monkeypatch.setattr(playback, "MAX_PLAYS", 1)
    monkeypatch.setattr(playback, "TURN_SECONDS", 60)
    paths = [f"/calls/{id}/media?format={form}" for id in service.ids["acme"] for form in ("wav", "opus", "mp3")]
    with ThreadPoolExecutor(len(paths)) as crowd:
        assert {answer.status_code for answer in crowd.map(service.ask, paths)} == {200}


def test_seeking_does_not_render_a_call_again(service, monkeypatch):
    monkeypatch.setattr(render_cache, "SECONDS", 1000)
    monkeypatch.setattr(render_cache, "LOOK_SECONDS", 0.01)
    call, live = service.ids["acme"][2], service.ids["acme"][1]
    path = f"/calls/{call}/media?format=mp3"  # nobody else asks for it, so it is not kept yet
    parts = [service.ask(path, headers={"Range": f"bytes={at}-{at + 9}"}).content for at in (0, 5000, 900)]
    assert parts == [service.sound[at : at + 10] for at in (0, 5000, 900)]
    assert len(service.daemon.asked) == 1 and open_renders(service)
    assert service.ask(path.replace("mp3", "flac")).status_code == 200
    service.run(asyncio.sleep(0.1))
    assert len(service.daemon.asked) == open_renders(service) == 2
    erase(service, call)
    assert closed(service), "what is erased is not in memory any more"
    assert service.ask(path).status_code == 404, "what is erased is not served from the cache"
    service.daemon.begin("acme", live)
    with streamed(service, f"/calls/{live}/media"):
        assert service.ask(f"/calls/{live}/media", method="HEAD").status_code == 200
    assert len(service.daemon.asked) == 4, "a live call is rendered anew each time"


@pytest.mark.parametrize("spec", ["2.3", "2.4"])
@pytest.mark.parametrize("fails", [False, True])
def test_a_stream_is_closed_as_soon_as_the_response_ends(spec, fails):
    done, kept = [], [True]

    @contextlib.asynccontextmanager
    async def reading():
        yield lambda: kept.pop() if kept else False

    async def sound():
        try:
            while True:
                yield b"sound"
        finally:
            done.append("closed")
            if fails:
                raise OSError

    async def receive():
        await asyncio.Event().wait()

    async def send(message):
        done.append(message["type"])

    async def story():
        answer = playback.Sent(sound(), {}, 200, lambda: done.append("end"), reading)
        state = {ABORT: lambda: done.append("aborted")}
        await answer({"type": "http", "asgi": {"spec_version": spec}, "state": state}, receive, send)

    with pytest.raises(OSError) if fails else contextlib.nullcontext():
        asyncio.run(story())
    assert done == ["http.response.start", "http.response.body", "aborted", "closed", "end"]


@pytest.mark.parametrize("is_long", [False, True])
def test_a_download_ends_when_the_call_is_erased(service, is_long):
    service.daemon.long = is_long
    call, got = service.ids["beta"][1 + is_long], []
    with streamed(service, f"/calls/{call}/media", "beta") as answer:
        sound = answer.iter_raw(1 << 16)
        got.append(next(sound))
        erase(service, call, "beta")
        with pytest.raises(RESET):
            got += sound
    assert 0 < len(b"".join(got)) < len(service.daemon.sound)


def test_erasing_a_call_drops_a_client_that_reads_nothing(service):
    """The worker that decrypts for it holds the key, and the erasure waits for its end."""
    service.daemon.long = True
    call = service.ids["acme"][1]
    with streamed(service, f"/calls/{call}/media") as answer:
        sound = answer.iter_raw(1 << 16)
        next(sound)
        stream = service.daemon.streams[-1]
        assert not stream.closed
        erase(service, call)
        assert not service.customers["acme"].vault.in_use.any()
        assert settled(service, lambda: stream.closed)
        with pytest.raises(RESET):
            b"".join(sound)


def test_a_source_reads_nothing_once_closed_and_has_a_tag(service):
    tags = set()
    for content in (b"abc", b"abd"):
        descriptor = os.memfd_create("test")
        os.write(descriptor, content)
        source = playback.RenderedFile(Rendered(descriptor, 3, "audio/wav"))
        source.set_tag()
        tags.add(source.tag)
        assert source.read(2, 1) == content[1:]
        source.close()
        source.close()
        assert source.read(2, 1) == b""
    assert len(tags) == 2 and all(tag.startswith('"') for tag in tags)
