"""While a call runs, and after a kill -9: no name, number, key or speech can be read in any file, in memory neither."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from media.stream.fast_path_library import library
from recorder.calls.admission import SETTLED_SECONDS
from recorder.runtime.folders import in_memory
from sip.sdp.description import SessionDescription
from tests.daemon.api import running
from tests.daemon.server import Server, files
from tests.in_process.offers import KEYS, metadata, sdp
from tests.in_process.worker_call import Sender

NAMES = ("Wilhelmine Kontrollpunkt", "Balthasar Zwischenstand")
SPEECH = bytes.fromhex("5a17c3e8") * 40


class Speaker(Sender):
    """Says the same all the time."""

    def packet(self) -> bytes:
        self.sent = int.from_bytes(SPEECH[:4], "big")
        return super().packet()


def contents(folder: Path) -> Iterator[bytes]:
    """What lies in a folder; holes, which nobody wrote, are left out by the system, and what goes meanwhile is gone."""
    for path in files(folder):
        with suppress(FileNotFoundError):
            if path.is_file():
                yield path.read_bytes()


def inline(body: bytes) -> list[str]:
    """The keys in an SDP, as they stand there."""
    return re.findall(r"inline:([A-Za-z0-9+/=]+)", body.decode())


def test_nothing_personal_lies_about(tmp_path: Path) -> None:
    with running(tmp_path, calls=2, kept=True, srtp="required") as it:
        one = it.one
        with one.sbc("udp", "secret") as sbc:
            offer = sdp("sendonly", "sendonly")
            answer = sbc.ask("INVITE", offer)
            assert answer.status == 200
            assert sbc.ask("UPDATE", metadata(*NAMES), kind="application/rs-metadata+xml").status == 200
            speak(one.host, [media.port for media in SessionDescription.parse(answer.body).media])
            keys = [key.encode() for key in inline(answer.body) + inline(offer)]
            assert len(keys) == 4
            secrets = [name.encode() for name in NAMES] + [b"+4930100", b"+4930200", *keys]
            secrets += [base64.b64decode(key) for key in keys]
            time.sleep(SETTLED_SECONDS + 2)  # what has settled is kept once more
            look(one, secrets)
            assert one.process
            one.process.kill()
            one.process.wait()
            look(one, secrets)
            assert ("runtime.on_disk" in one.events()) != in_memory(one.folder)
            assert ("media.not_compiled" in one.events()) != (library() is not None)


def speak(host: str, ports: list[int]) -> None:
    """Say something on every stream."""
    for number, port in enumerate(ports):
        speaker = Speaker(KEYS[number], 7 + number)
        for _ in range(150):
            speaker.socket.sendto(speaker.packet(), (host, port))
            time.sleep(0.004)
        speaker.socket.close()


def look(one: Server, secrets: list[bytes]) -> None:
    """Read every file, also of the runtime directory, where what is not sealed yet waits for a successor."""
    run, data = list(contents(one.folder / "run")), list(contents(one.data))
    assert run
    assert len(data) > 3
    for secret in (*secrets, SPEECH[:32]):
        assert not any(secret in content for content in (*run, *data))
