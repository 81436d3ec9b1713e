"""The commands of docs/cluster.md in their order, each on its node: recorders of this machine that share servers.

`recorderctl` and `systemctl` are stand-ins: the first is `recorder` with the node's configuration, the second asks this
process to start or stop the node.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from recorder.simulate.plan import Plan
from tests.daemon import documents
from tests.daemon.api import Api, running
from tests.daemon.coded_calls import nothing_missing, place
from tests.daemon.nodes import done, indexed, share
from tests.daemon.object_stores import object_store
from tests.daemon.postgresql import cluster

RECORDER = '#!/bin/sh\nexec {python} -m recorder "$@" --config {config}\n'
RECORDERCTL = """#!/bin/sh
[ "$1" = reload ] && exec systemctl reload recorder
[ "$1 $2" = "customer remove" ] && ! recorder "$@" && systemctl reload recorder
exec recorder "$@"
"""
SYSTEMCTL = '#!/bin/sh\necho "$1" >{folder}/asked && read -r answer <{folder}/answer && [ "$answer" = done ]\n'


@dataclass
class Machine:
    """A node with the commands of its shell."""

    api: Api
    work: Path

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Have the commands, and somebody who starts and stops the recorder."""
        folder = self.api.one.folder / "bin"
        folder.mkdir()
        for name in ("asked", "answer"):
            os.mkfifo(folder / name)
        texts = {"recorder": RECORDER, "recorderctl": RECORDERCTL, "systemctl": SYSTEMCTL}
        for name, text in texts.items():
            written = text.format(python=sys.executable, config=self.api.one.config, folder=folder)
            (folder / name).write_text(written)
            (folder / name).chmod(0o755)
        attending = threading.Thread(target=self._attend, args=(folder,))
        attending.start()
        try:
            yield
        finally:
            (folder / "asked").write_text("end\n")
            attending.join()

    def _attend(self, folder: Path) -> None:
        while (asked := (folder / "asked").read_text().strip()) != "end":
            if asked == "stop" and self.api.one.process is not None:  # for good, as the unit says
                os.kill(self.api.one.process.pid, signal.SIGUSR1)
            if asked in ("stop", "reload"):
                self.api.one.stop()
            if asked in ("start", "reload"):
                self.api.one.start()
            (folder / "answer").write_text("done\n")

    def run(self, script: str) -> tuple[int, str]:
        """Run a script."""
        text = script.replace("/tmp/", f"{self.work}/")
        text = text.replace("/etc/recorder/recorder.toml", str(self.api.one.config))
        path = f"{self.api.one.folder}/bin:{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path}
        line = ["sh", "-ec", text]
        found = subprocess.run(line, capture_output=True, text=True, cwd=self.work, env=environment, check=False)
        return found.returncode, found.stdout + found.stderr

    @contextmanager
    def shell(self) -> Iterator[documents.Shell]:
        """Have the blocks of a section run here."""
        yield self.run


@pytest.mark.torture
@pytest.mark.timeout(1200)
def test_from_one_node_to_three_and_back(tmp_path: Path) -> None:
    with ExitStack() as stack:
        database = stack.enter_context(cluster())
        database.start()
        store = stack.enter_context(object_store("rclone", tmp_path / "store"))
        machines = []
        for number in (1, 2, 3):
            api = stack.enter_context(running(tmp_path / f"rec{number}", start=False, kept=True, calls=8))
            share(api, database.url, store.port)
            named = f'name = "rec{number}"\nnumber = {0 if number == 1 else number}\n'
            api.one.replace("[node]\n", f"[node]\n{named}")
            if machines:
                shutil.rmtree(api.one.data)
                api.one.tokens = machines[0].api.one.tokens
            machines.append(Machine(api, tmp_path))
            stack.enter_context(machines[-1].ready())
        one, two, three = machines
        one.api.one.start()
        values: dict[str, str] = {}

        def record(*some: Machine) -> None:
            """Have calls recorded by some nodes, of which each knows and plays all."""
            calls = place([Plan(each.api.one.uri(), seconds=2) for each in some])
            indexed([each.api for each in some])
            for each in some:
                nothing_missing(each.api, calls)

        @contextmanager
        def handing_over(asking: Machine) -> Iterator[documents.Shell]:
            values["age1…"] = done(asking.api, "node", "admit", "--json")["recipient"]
            yield one.run

        @contextmanager
        def starting(*some: Machine) -> Iterator[documents.Shell]:
            yield some[-1].run
            record(*some)

        @contextmanager
        def retiring(*left: Machine) -> Iterator[documents.Shell]:
            yield one.run
            record(*left)

        @contextmanager
        def removing() -> Iterator[documents.Shell]:
            """Have a second customer, which is removed."""
            status, said = one.run("recorderctl customer add globex --source 198.51.100.0/24 && recorderctl reload")
            assert status == 0, said
            yield one.run
            record(one)

        record(one)
        facts: documents.Facts = {
            "Give the first node a number": lambda: starting(one),
            "A second node: ask for the keys": two.shell,
            "A second node: hand the keys over": lambda: handing_over(two),
            "A second node: take them, and start": lambda: starting(one, two),
            "A third node": three.shell,
            "A third node: hand the keys over": lambda: handing_over(three),
            "A third node: take them, and start": lambda: starting(one, two, three),
            "Upgrade one node after the other": one.shell,
            "Take a node away": three.shell,
            "Take a node away: retire it": lambda: retiring(one, two),
            "Back to one": two.shell,
            "Back to one: retire it": lambda: retiring(one),
            "Remove a customer": removing,
        }
        documents.run("docs/cluster.md", one.run, facts, values)
