"""What an operator types to start, reload and stop this recorder, to see its log, and to run a command beside it.

    how = Installation.of(settings.source)
    how.start               "systemctl start recorder; …", or "recorder serve --config /srv/trial/recorder.toml; …"
    how.command("verify")   "recorderctl verify", or "recorder verify --config /srv/trial/recorder.toml"

The configuration of the service is below /etc, on a machine that systemd runs. Any other recorder was started by typing
`recorder serve`, as a trial, or runs in a container, where the same commands apply: its log is what it prints.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from recorder.config.default_path import DEFAULT_CONFIG

SYSTEM_FOLDER = Path("/etc")
"""A configuration below this folder belongs to the machine and uses the usual paths of the system."""
SYSTEMD = Path("/run/systemd/system")
"""It exists while systemd is the first process: sd_booted(3)."""
PROGRAM = "recorder"


@dataclass(frozen=True, slots=True)
class Installation:
    """How one recorder is run."""

    config: Path
    service: bool
    """Whether it is the service of this machine."""

    @classmethod
    def of(cls, config: Path | None) -> Installation:
        """Return how the recorder of a configuration is run; None: the configuration at its usual path."""
        path = (config or DEFAULT_CONFIG).absolute()
        return cls(path, SYSTEM_FOLDER in path.parents and SYSTEMD.is_dir())

    def command(self, words: str) -> str:
        """Return a command of the recorder as it is typed here, from its words after `recorder`."""
        return (
            f"recorderctl {words}" if self.service else f"{program()} {words} --config {shlex.quote(str(self.config))}"
        )

    @property
    def start(self) -> str:
        """Return how to start it, and where it reports why it does not start."""
        if self.service:
            return "systemctl start recorder; if that fails: journalctl -u recorder -e"
        return f"{self.command('serve')}; if that fails, it prints why"

    @property
    def stop(self) -> str:
        """Return how to stop it."""
        return "systemctl stop recorder" if self.service else "Ctrl-C where recorder serve runs"

    @property
    def reload(self) -> str:
        """Return how to make it take a changed configuration; its calls go on."""
        if self.service:
            return "systemctl reload recorder"
        return f"stop it ({self.stop}) and start it again: {self.command('serve')}"

    @property
    def restart(self) -> str:
        """Return how to stop it so that its calls end in order, and how to start it again."""
        if self.service:
            return "systemctl stop recorder, then systemctl start recorder"
        signal = "send SIGUSR1 to its main process, which announces that no successor will take over its calls"
        return f"{signal}; then {self.reload}"

    @property
    def status(self) -> str:
        """Return how to see whether it runs."""
        return (
            "systemctl status recorder"
            if self.service
            else "see whether recorder serve still runs, and what it printed"
        )

    @property
    def log(self) -> str:
        """Return how to see its warnings."""
        return "journalctl -u recorder -p warning -e" if self.service else "see what recorder serve printed"


def program() -> str:
    """Return the name by which `recorder` can be called here: with its path if the shell would not find it."""
    called = Path(sys.argv[0])
    if called.name != PROGRAM or shutil.which(PROGRAM) == str(called.absolute()):
        return PROGRAM
    return shlex.quote(str(called))
