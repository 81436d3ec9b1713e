"""Playing a call: the whole, ranges, conditions; and nothing stays open."""

import asyncio
import contextlib
import os
import time
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from admin_api.calls import playback, render_cache
from tests.admin_api.privacy.test_waiver import WAIVER

PATIENCE = 30.0
"""Seconds until a server has given something up, on a busy machine too."""


def closed(service):
    """Whether every descriptor that was handed out is closed once the server has had its turn."""
    end = time.monotonic() + PATIENCE
    while not _closed(service) and time.monotonic() < end:
        service.run(asyncio.sleep(0.001))
    return _closed(service)


def _closed(service):
    for descriptor in service.daemon.descriptors:
        try:
            if "memfd:render" in os.readlink(f"/proc/self/fd/{descriptor}"):
                return False
        except FileNotFoundError:
            continue
    return True


@pytest.fixture
def path(service):
    return f"/calls/{service.ids['acme'][0]}/media"


def test_the_whole_file(service, path):
    answer = service.ask(path)
    assert answer.content == service.sound
    assert answer.headers["content-type"] == "audio/wav"
    assert answer.headers["content-disposition"] == f'attachment; filename="{service.ids["acme"][0]}.wav"'
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["accept-ranges"] == "bytes"
    assert closed(service)


def test_every_format_is_passed_on(service, path):
    for form in ("wav", "flac", "opus", "mp3", "pcap"):
        answer = service.ask(f"{path}?format={form}")
        assert answer.headers["content-disposition"].endswith(f'.{form}"')
    assert [asked[0] for asked in service.daemon.asked] == ["wav", "flac", "opus", "mp3", "pcap"]
    assert service.ask(f"{path}?format=exe").status_code == 422


@pytest.mark.parametrize(("begin", "end"), [(0, 0), (100, 299), (262_143, 262_145), (0, 1048575), (1048575, 1048575)])
def test_a_range(service, path, begin, end):
    answer = service.ask(path, headers={"Range": f"bytes={begin}-{end}"})
    assert answer.status_code == 206
    assert answer.content == service.sound[begin : end + 1]
    assert answer.headers["content-range"] == f"bytes {begin}-{end}/{len(service.sound)}"
    assert closed(service)


def test_a_range_past_the_end(service, path):
    answer = service.ask(path, headers={"Range": "bytes=9999999-"})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{len(service.sound)}"
    assert answer.headers["content-type"] == "application/problem+json"
    assert closed(service)


def test_a_download_is_resumed_only_if_it_is_the_same_file(service, path):
    tag = service.ask(path, method="HEAD").headers["etag"]
    same = service.ask(path, headers={"Range": "bytes=10-", "If-Range": tag})
    other = service.ask(path, headers={"Range": "bytes=10-", "If-Range": '"other"'})
    assert (same.status_code, other.status_code) == (206, 200)
    assert other.content == service.sound


def test_a_file_that_the_client_has_is_not_sent_again(service, path):
    tag = service.ask(path, method="HEAD").headers["etag"]
    for method in ("GET", "HEAD"):
        answer = service.ask(path, method=method, headers={"If-None-Match": tag, "Range": "bytes=0-9"})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
        assert answer.headers["cache-control"] == "no-store"
    assert service.ask(path, headers={"If-None-Match": '"other"'}).content == service.sound
    assert service.ask(path, headers={"If-Match": tag}).content == service.sound
    answer = service.ask(path, headers={"If-Match": '"other"'})
    assert (answer.status_code, answer.headers["content-type"]) == (412, "application/problem+json")
    assert closed(service)


def test_head_tells_the_length_and_sends_nothing(service, path):
    answer = service.ask(path, method="HEAD")
    assert answer.headers["content-length"] == str(len(service.sound))
    assert answer.content == b""
    assert closed(service)


def test_a_call_that_cannot_be_rendered_gives_409(service, path):
    service.daemon.cannot = "No stream of this call has audio."
    answer = service.ask(path)
    assert answer.status_code == 409
    assert answer.json()["detail"] == "No stream of this call has audio."
    assert service.acts()[-1]["outcome"] == "failed"


def test_a_worker_without_memory_is_worth_another_try(service, path):
    service.daemon.cannot, service.daemon.later = "the call needs more memory than a render worker may have", True
    for asked in (path, path.replace("media", "waveform")):
        answer = service.ask(asked)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json()["detail"] == service.daemon.cannot
        assert service.acts()[-1]["outcome"] == "failed"


@pytest.fixture
def long(service, path):
    """Return the path of a call that is sent while it is rendered."""
    service.daemon.long = True
    yield path
    gone = time.monotonic() + PATIENCE
    while not all(stream.closed for stream in service.daemon.streams) and time.monotonic() < gone:
        service.run(asyncio.sleep(0.001))
    assert all(stream.closed for stream in service.daemon.streams)


def test_a_long_call_is_sent_while_it_is_rendered(service, long):
    answer = service.ask(long)
    assert answer.content == service.sound
    assert answer.headers["content-length"] == str(len(service.sound))
    assert answer.headers["content-type"] == "audio/wav" and not service.daemon.asked
    part = service.ask(long, headers={"Range": "bytes=262143-900000"})
    assert (part.status_code, part.content) == (206, service.sound[262_143:900_001])
    assert part.headers["content-range"] == f"bytes 262143-900000/{len(service.sound)}"
    last = service.ask(long, headers={"Range": "bytes=-7"})
    assert last.content == service.sound[-7:]
    assert service.ask(long, headers={"Range": "bytes=9999999-"}).status_code == 416
    assert service.ask(long, headers={"Range": "bytes=5-", "If-Range": answer.headers["etag"]}).status_code == 206
    assert service.ask(long, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    assert service.ask(long, headers={"If-Match": '"other"'}).status_code == 412
    head = service.ask(long, method="HEAD")
    assert (head.headers["content-length"], head.content) == (str(len(service.sound)), b"")


def test_sound_that_breaks_off_is_not_taken_for_whole(service, long):
    service.daemon.breaks_at = 300_000
    with pytest.raises(httpx2.RemoteProtocolError):
        service.ask(long)
    service.daemon.breaks_at = 1 << 30
    assert service.ask(long).content == service.sound


def test_a_long_call_that_cannot_be_rendered(service, long):
    service.daemon.cannot = "The recording is damaged."
    assert service.ask(long).status_code == 409
    service.daemon.later = True
    assert service.ask(long).status_code == 503


def test_long_calls_wait_for_their_turn_and_are_then_refused(service, long, monkeypatch):
    monkeypatch.setattr(playback, "TURN_SECONDS", 0.05)
    service.daemon.sound = bytes(32 << 20)  # more than the buffers on the way hold
    headers = {"Authorization": f"Bearer {service.tokens['acme']['admin']}"}
    with contextlib.ExitStack() as listeners:
        for _ in range(playback.MAX_STREAMS):
            listeners.enter_context(service.client.stream("GET", f"/api/v1/customers/acme{long}", headers=headers))
        answer = service.ask(long)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert service.ask(f"/calls/{service.ids['beta'][0]}/media", customer="beta", method="HEAD").status_code == 200
    monkeypatch.setattr(playback, "TURN_SECONDS", PATIENCE)
    assert service.ask(long, method="HEAD").status_code == 200


def test_a_fault_while_rendering(service, path):
    service.daemon.fault = RuntimeError("text with +4930123456")
    answer = service.ask(path)
    assert answer.status_code == 500
    assert "4930123456" not in answer.text
    assert [type(fault) for fault in service.faults] == [RuntimeError]
    service.faults.clear()


def test_the_play_is_written_down(service, path):
    before = len(service.acts())
    service.ask(path, "listener")
    written = [(act["action"], act["role"], act["outcome"], act["object"]) for act in service.acts()[before:]]
    assert written == [("call.media", "listener", "done", service.ids["acme"][0])]


def test_a_client_that_goes_away_leaves_nothing_open(service, path):
    headers = {"Authorization": f"Bearer {service.tokens['acme']['admin']}"}
    with service.client.stream("GET", f"/api/v1/customers/acme{path}", headers=headers) as answer:
        next(answer.iter_raw(1000))
    assert service.ask(path).content == service.sound
    assert closed(service)


def test_a_source_is_closed_even_if_closing_it_fails():
    ended = []

    async def chunks():
        try:
            yield b"sound"
        finally:
            raise OSError

    async def ignored(message):
        pass

    async def story():
        sent = playback.Sent(chunks(), 200, {}, lambda: ended.append(True), kept=lambda: False)
        await sent({"type": "http", "method": "GET"}, asyncio.Event().wait, ignored)

    with pytest.raises(OSError):
        asyncio.run(story())
    assert ended == [True]


def test_a_client_that_stops_reading_is_left(service, path, monkeypatch):
    monkeypatch.setattr(playback, "SLOW_SECONDS", 0.05)
    service.daemon.sound = bytes(32 << 20)  # more than the buffers on the way hold
    headers = {"Authorization": f"Bearer {service.tokens['acme']['admin']}"}
    with service.client.stream("GET", f"/api/v1/customers/acme{path}", headers=headers) as answer:
        assert answer.status_code == 200
        assert closed(service)


def test_only_so_many_at_once(service, path, monkeypatch):
    with monkeypatch.context() as none:
        none.setattr(playback, "MAX_PLAYS", 0)
        none.setattr(playback, "TURN_SECONDS", 0)
        answer = service.ask(path)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    for _ in range(playback.MAX_PLAYS + 1):
        assert service.ask(path).status_code == 200


def test_many_at_once_wait_for_their_turn(service, monkeypatch):
    monkeypatch.setattr(playback, "MAX_PLAYS", 1)
    monkeypatch.setattr(playback, "TURN_SECONDS", 60)
    paths = [f"/calls/{id}/media?format={form}" for id in service.ids["acme"] for form in ("wav", "opus", "mp3")]
    with ThreadPoolExecutor(len(paths)) as crowd:
        assert {answer.status_code for answer in crowd.map(service.ask, paths)} == {200}


def test_a_player_that_seeks_has_the_call_rendered_once(service, path, monkeypatch):
    monkeypatch.setattr(render_cache, "SECONDS", 1000)
    path = f"/calls/{service.ids['acme'][0]}/media?format=mp3"  # nobody else asks for it, so it lies on no shelf yet
    parts = [service.ask(path, headers={"Range": f"bytes={at}-{at + 9}"}).content for at in (0, 5000, 900)]
    assert parts == [service.sound[at : at + 10] for at in (0, 5000, 900)]
    assert len(service.daemon.asked) == 1 and not _closed(service)
    assert service.ask(path.replace("mp3", "flac")).status_code == 200
    assert len(service.daemon.asked) == 2


def test_a_cached_render_is_not_served_after_an_erasure(service, monkeypatch):
    monkeypatch.setattr(render_cache, "SECONDS", 1000)
    call = service.ids["acme"][2]
    assert service.ask(f"/calls/{call}/media").status_code == 200
    service.ask("/waiver", method="PUT", json=WAIVER)
    service.ask("/erasures", method="POST", json={"calls": [call], "reason": "she asked"})
    service.run(service.customers["acme"].erasures.work())
    assert service.ask(f"/calls/{call}/media").status_code == 404


@pytest.mark.parametrize("spec", ["2.3", "2.4"])
def test_a_stream_is_closed_as_soon_as_the_response_ends(spec):
    done, kept = [], [True, False]

    async def sound():
        try:
            while True:
                yield b"sound"
        finally:
            done.append("closed")

    async def receive():
        await asyncio.Event().wait()

    async def send(message):
        done.append(message["type"])

    async def story():
        answer = playback.Sent(sound(), 200, {}, lambda: done.append("end"), kept=lambda: kept.pop(0))
        await answer({"type": "http", "asgi": {"spec_version": spec}}, receive, send)
        assert done == ["http.response.start", "http.response.body", "closed", "end"]

    asyncio.run(story())


@pytest.mark.parametrize("is_long", [False, True])
def test_a_download_ends_when_the_call_is_erased(service, is_long):
    service.daemon.long = is_long
    service.daemon.sound = bytes(32 << 20)  # more than the buffers on the way hold
    call = service.ids["beta"][1 + is_long]
    headers = {"Authorization": f"Bearer {service.tokens['beta']['admin']}"}
    service.ask("/waiver", method="PUT", customer="beta", json=WAIVER)
    answer_of = 0
    with service.client.stream("GET", f"/api/v1/customers/beta/calls/{call}/media", headers=headers) as answer:
        sound = answer.iter_raw(1 << 16)
        answer_of += len(next(sound))
        service.ask("/erasures", method="POST", customer="beta", json={"calls": [call], "reason": "she asked"})
        service.run(service.customers["beta"].erasures.work())
        with pytest.raises(httpx2.RemoteProtocolError):
            for part in sound:
                answer_of += len(part)
    assert 0 < answer_of < len(service.daemon.sound) and closed(service)


def test_a_live_call_is_rendered_anew_each_time(service, path, monkeypatch):
    monkeypatch.setattr(render_cache, "SECONDS", 1000)
    call = service.ids["acme"][1]
    service.daemon.live["acme", call] = {"id": call, "state": "recording"}
    service.daemon.sound = bytes(32 << 20)  # more than the buffers on the way hold
    headers = {"Authorization": f"Bearer {service.tokens['acme']['admin']}"}
    with service.client.stream("GET", f"/api/v1/customers/acme/calls/{call}/media", headers=headers):
        assert service.ask(f"/calls/{call}/media", method="HEAD").status_code == 200
    assert len(service.daemon.asked) == 2 and closed(service)


def test_a_source_reads_nothing_once_closed():
    descriptor = os.memfd_create("test")
    os.write(descriptor, b"abc")
    source = playback.Source(descriptor, 3)
    assert source.read(2, 1) == b"bc"
    source.close()
    source.close()
    assert source.read(2, 1) == b""


def test_the_validator_follows_the_content():
    tags = []
    for content in (b"abc", b"abd"):
        descriptor = os.memfd_create("test")
        os.write(descriptor, content)
        source = playback.Source(descriptor, 3)
        tags.append(source.tag())
        source.close()
    assert tags[0] != tags[1] and all(tag.startswith('"') for tag in tags)
