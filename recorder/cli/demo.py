"""`recorder demo`: a recorder on this machine and real calls over TLS with SRTP, played back and compared."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recorder.access.page_links import invitation
from recorder.cli.init import initialise, trial_places
from recorder.cli.progress import progress
from recorder.cli.snr import channels, snr_db
from recorder.config import template
from recorder.config.loader import load
from recorder.errors import NotPossible, WrongUse
from recorder.maintenance import bootstrap
from recorder.maintenance.cli_audit import note
from recorder.persist.customers import open_accounts
from recorder.runtime import python_command
from recorder.simulate.plan import Party, Plan
from recorder.simulate.report import Report
from recorder.simulate.run import run
from storage.access.api_tokens import ROLES
from storage.calls.call_document import PlainDocument

SECONDS = 8.0
"""Length of a call: long enough to hear something, short enough to wait for."""

READY_SECONDS = 20.0

PEOPLE = (Party("Anna Schmidt", "sip:+49301234567@pbx.example"), Party("Ben Okafor", "sip:+442079460123@pbx.example"))


@dataclass(frozen=True, slots=True)
class Scene:
    """One kind of call that the demo places."""

    title: str
    codec: str
    srtp: str
    least_snr_db: float  # least quality that the codec leaves of a voice


SCENES = (Scene("G.711", "g711", "AES_CM_128_HMAC_SHA1_80", 25.0), Scene("Opus", "opus", "AEAD_AES_256_GCM", 3.0))


class Stage:
    """A separate recorder in one folder, with throw-away keys, on free ports of the loopback address."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "recorder.toml"
        self.sip_port, self.api_port = free_ports(2)
        self.token = ""
        self._daemon: subprocess.Popen[bytes] | None = None

    @property
    def api(self) -> str:
        """Return the address of the admin API."""
        return f"https://127.0.0.1:{self.api_port}"

    def prepare(self) -> None:
        """Write the configuration and make keys and certificates; raises WrongUse if they exist already."""
        changes = {
            **trial_places(self.folder),
            "sip.listen": (f"tls:127.0.0.1:{self.sip_port}",),
            "media.bind": "127.0.0.1",
            "media.ports": media_ports(),
            "admin_api.listen": f"127.0.0.1:{self.api_port}",
            "admin_api.second_factor": "optional",  # nobody wants to set up an app to have a look around
            "customer.name": "demo",
            "customer.sources": ("127.0.0.0/8",),
        }
        if self.config.exists():
            hint = f"Choose another folder, or: recorder serve --config {self.config}"
            raise WrongUse(f"{self.folder} already holds a recorder.", hint)
        bootstrap.write_new(self.config, template.render(changes).encode())
        self.token = initialise(self.config).token or ""

    def invite(self) -> str:
        """Make an account that may see everything; return its one-time link."""
        settings = load(self.config)
        secret, account = open_accounts(settings, "demo").create("demo", ROLES, datetime.now(UTC))
        note(settings, "demo", "account.create", account.id, reason=", ".join(account.roles))
        return invitation(settings, "demo", secret)

    def start(self) -> None:
        """Start `recorder serve` and wait until it is ready."""
        command = python_command.command("recorder", "serve", "--config", str(self.config))
        with (self.folder / "recorder.log").open("ab") as log:
            self._daemon = subprocess.Popen(command, stdout=log, stderr=log, env=python_command.environment())
        end = time.monotonic() + READY_SECONDS
        while time.monotonic() < end and self._daemon.poll() is None:
            with suppress(OSError):
                if self.get("/readyz")[0] == 200:
                    return
            time.sleep(0.05)
        raise NotPossible("The demo's recorder did not start.", f"See {self.folder / 'recorder.log'}.")

    def get(self, path: str) -> tuple[int, bytes]:
        """Send a request to the admin API, trusting only its own certificate; return status and body."""
        trust = ssl.create_default_context(cafile=self.folder / "admin.crt")
        connection = http.client.HTTPSConnection("127.0.0.1", self.api_port, timeout=30, context=trust)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {self.token}"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def body(self, path: str) -> bytes:
        """Fetch something from the admin API; raises NotPossible if it is not there."""
        status, body = self.get(path)
        if status != 200:
            raise NotPossible(f"The demo's recorder answered {status}.", f"See {self.folder / 'recorder.log'}.")
        return body

    def stop(self) -> None:
        """Stop the daemon cleanly."""
        if self._daemon and self._daemon.poll() is None:
            self._daemon.send_signal(signal.SIGTERM)
            try:
                self._daemon.wait(15)
            except subprocess.TimeoutExpired:
                self._daemon.kill()
                self._daemon.wait()

    def wait(self) -> None:
        """Wait until the daemon ends or somebody presses Ctrl-C."""
        with suppress(KeyboardInterrupt):
            if self._daemon:
                self._daemon.wait()


def run_demo(keep: Path | None, *, browser: bool = False) -> int:
    """Run the demo, and show its page in a `browser` if it is kept; return the exit status."""
    folder = (keep or Path(tempfile.mkdtemp(prefix="recorder-demo-"))).absolute()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    stage = Stage(folder)
    heard = explained = False
    for ending in (signal.SIGTERM, signal.SIGHUP):  # by default they would leave the daemon behind
        signal.signal(ending, _interrupted)
    try:
        print(f"A separate recorder in {folder}: SQLite, local files, throw-away keys and certificate.")
        stage.prepare()
        stage.start()
        print(f"SIP over TLS on 127.0.0.1:{stage.sip_port}, admin API on {stage.api}.")
        reports = asyncio.run(place(stage))
        heard = show(stage, reports)
        link = tell_next(stage, kept=keep is not None)
        explained = True
        if keep is not None:
            if browser:
                open_browser(link)
            stage.wait()
    finally:
        stage.stop()
        if keep is None and not explained:  # otherwise the folder was just shown as something to look at
            shutil.rmtree(folder, ignore_errors=True)
    return 0 if heard else 1


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


async def place(stage: Stage) -> list[Report]:
    """Place one call of each scene at the same time and wait until they end."""
    with progress(f"{len(SCENES)} calls of {SECONDS:.0f} s", float(len(SCENES))) as advance:
        done = [0.0] * len(SCENES)

        def meter(number: int) -> Callable[[float], None]:
            def moved(share: float) -> None:
                advance(share - done[number])
                done[number] = share

            return moved

        plans = [
            Plan(
                to=f"sip:rec@127.0.0.1:{stage.sip_port};transport=tls",
                seconds=SECONDS,
                srtp=scene.srtp,
                codec=scene.codec,
                audio_kind="tone",
                parties=(PEOPLE,),
                ca=stage.folder / "tls.crt",
            )
            for scene in SCENES
        ]
        return await asyncio.gather(*(run(p, meter(n)) for n, p in enumerate(plans)))


def show(stage: Stage, reports: Sequence[Report]) -> bool:
    """List, play and compare the calls; return whether every voice was heard as it was sent."""
    listed: list[PlainDocument] = json.loads(stage.body("/api/v1/customers/demo/calls"))["items"]
    calls = {call["session_id"]: call for call in listed}
    audio = stage.folder / "audio"
    audio.mkdir(exist_ok=True)
    good = True
    for scene, report in zip(SCENES, reports, strict=True):
        (placed,) = report.calls
        found = calls.get(placed.session_id)
        if not placed.well or found is None:
            print(f"{scene.title}: the call was not recorded ({placed.status} {placed.reason}).")
            good = False
            continue
        names = " and ".join(p["name"] or "unknown" for p in found["parties"])
        length = f"{found['duration_ms'] / 1000:.1f} s"
        print(f"\n{scene.title}, {scene.srtp}: {names}, {length}, {found['state']}, id {found['id']}")
        good &= listen(stage, scene, found, placed, audio)
    return good


def listen(stage: Stage, scene: Scene, found: PlainDocument, placed: Any, audio: Path) -> bool:
    """Fetch a call's audio, keep it as a file, and compare each voice with what was said."""
    data = stage.body(f"/api/v1/customers/demo/calls/{found['id']}/media?format=wav")
    path = audio / f"{scene.title.lower().replace('.', '')}.wav"
    path.write_bytes(data)
    print(f"  {path}  (one channel for each voice)")
    rate, heard = channels(data)
    good = True
    for stream, sent, channel in zip(found["streams"], placed.streams, heard, strict=True):
        said = sent.samples()
        if sent.rate != rate:
            raise NotPossible(f"the audio has {rate} samples a second instead of {sent.rate}")
        ratio = snr_db(said, channel, rate)
        well = ratio >= scene.least_snr_db and stream["packets"] == sent.frames
        good &= well
        party = stream["party"]
        who = found["parties"][party]["name"] if isinstance(party, int) else "unknown"
        counted = f"{stream['packets']} of {sent.frames} packets"
        print(f"  {'heard' if well else 'NOT HEARD'}: {who}, {counted}, {ratio:.1f} dB above the noise")
    return good


def tell_next(stage: Stage, *, kept: bool) -> str:
    """Print where everything is and what to do next; return the link that signs in to the page."""
    link = stage.invite()
    print(f"\nEncrypted recordings: {stage.folder / 'data' / 'customers' / 'demo' / 'vault'}")
    print(f"Log, masked:          {stage.folder / 'recorder.log'}")
    if kept:
        print(f"The recorder runs until Ctrl-C. Its calls: {stage.api}/api/v1/customers/demo/calls")
        print(f"Token (send it as Authorization: Bearer): {stage.token}")
    else:
        print(f"Look around:    {executable()} calls --config {stage.config}")
        print(f"Start it again: {executable()} serve --config {stage.config}")
        print(f"Remove it:      rm -r {stage.folder}")
    print(f"Your own:       {executable()} init --config recorder.toml, then point an SBC at it; see docs/.")
    print(f"\nAdmin page:     {link.partition('/invitation')[0]}/{'' if kept else '  (after you start it again)'}")
    print("Its certificate is self-signed, so the browser warns. To sign in, once, within an hour:")
    print(link)
    return link


def open_browser(link: str) -> None:
    """Open the page if there is a display; not as root, because browsers refuse to run as root."""
    if (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")) and os.geteuid() != 0:
        import webbrowser

        webbrowser.open(link)


def executable() -> str:
    """Return how this program was called, so that the commands shown can be typed as they are."""
    called = sys.argv[0]
    return called if Path(called).name == "recorder" else f"{sys.executable} -m recorder"


def media_ports() -> str:
    """Return a separate port range, so that a recorder that runs on this machine is not disturbed."""
    begin = 40_000 + 2 * random.SystemRandom().randrange(9_000)
    return f"{begin}-{begin + 99}"


def free_ports(count: int) -> list[int]:
    """Return free TCP ports of the loopback address, each a different one."""
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
