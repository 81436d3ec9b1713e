"""uvicorn in a loop of ours: TLS, renewal of the certificate, start and stop."""

import asyncio
import itertools
import shutil
import signal
import socket
import ssl

import pytest

from admin_api.server import uvicorn_server
from admin_api.server.uvicorn_server import ApiServer
from recorder.runtime.tls import https


async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def offered(port, version=None):
    """Shake hands; return the certificate as DER, and what was agreed."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if version:
        context.maximum_version = version
    with socket.create_connection(("127.0.0.1", port), timeout=30) as raw, context.wrap_socket(raw) as client:
        assert client.selected_alpn_protocol() in (None, "http/1.1")
        return client.getpeercert(binary_form=True), client.version(), str(client.cipher())


def run(story, *files):
    """Start a server, run a story with its port, stop it; every task must have ended."""

    async def all_of_it():
        context = https(*files) if files else None
        server, tasks, sock = ApiServer(app, context), [], socket.create_server(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        await server.start(sock, lambda work: tasks.append(asyncio.create_task(work)))
        await story(port)
        await asyncio.wait_for(server.stop(), 30)
        await asyncio.wait_for(asyncio.gather(*tasks), 30)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=1)

    asyncio.run(all_of_it())


async def get(port):
    """Ask once over plain HTTP; return the lines of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer.lower().split(b"\r\n")


def test_the_date_of_answers_is_renewed(monkeypatch):
    monkeypatch.setattr(uvicorn_server, "DATE_SECONDS", 0.001)
    dates = (f"Sun, 01 Mar 2026 12:{n // 60:02d}:{n % 60:02d} GMT" for n in itertools.cycle(range(3600)))
    monkeypatch.setattr("uvicorn.server.formatdate", lambda *_, **__: next(dates))

    async def date(port):
        (found,) = (line for line in await get(port) if line.startswith(b"date: "))
        return found

    async def story(port):
        first = await date(port)
        async with asyncio.timeout(20):
            while await date(port) == first:
                pass

    run(story)


def test_plain_http_leaves_signals_alone_and_stops_at_once(monkeypatch):
    monkeypatch.setattr(uvicorn_server, "DATE_SECONDS", 3600)  # however rarely it wakes
    before = signal.getsignal(signal.SIGTERM)

    async def story(port):
        assert (await get(port))[0] == b"http/1.1 200 ok"
        assert signal.getsignal(signal.SIGTERM) is before

    run(story)


def test_only_modern_tls(service):
    assert offered(service.port)[1] == "TLSv1.3"
    _, version, cipher = offered(service.port, ssl.TLSVersion.TLSv1_2)
    assert version == "TLSv1.2" and ("GCM" in cipher or "CHACHA20" in cipher)
    context = service.context()
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_a_renewed_certificate_is_used_and_a_broken_one_is_not(service, tmp_path):
    new = service.make_certificate(tmp_path, "new")
    files = [tmp_path / "a.crt", tmp_path / "a.key"]
    for file, to in zip((service.certificate, service.key), files, strict=True):
        shutil.copy(file, to)

    async def shown(port):
        return ssl.DER_cert_to_PEM_cert((await asyncio.to_thread(offered, port))[0]).split()

    async def story(port):
        old = service.certificate.read_text().split()
        assert await shown(port) == old
        files[0].write_text("no certificate")
        assert await shown(port) == old
        shutil.copy(new[0], files[0])  # does not fit the key yet
        assert await shown(port) == old
        shutil.copy(new[1], files[1])
        assert await shown(port) == new[0].read_text().split()

    run(story, *files)


def test_a_server_that_never_started_stops():
    asyncio.run(ApiServer(app, None).stop())
