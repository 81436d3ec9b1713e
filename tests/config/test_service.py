"""The files for systemd say what the recorder relies on, and why each right is taken away."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

CONFIG = Path(__file__).parents[2] / "config"


def directives(name: str) -> list[tuple[str, str]]:
    """Return the directives of a unit in their order."""
    lines = (CONFIG / name).read_text().replace("\\\n", "").splitlines()
    pairs = [line.partition("=") for line in lines if line and line[0] not in "#["]
    return [(key, value) for key, _, value in pairs]


@pytest.mark.parametrize(
    "wanted",
    [
        ("Type", "notify"),
        ("Restart", "always"),
        ("RestartSec", "200ms"),
        ("KillMode", "control-group"),
        ("WatchdogSignal", "SIGKILL"),
        ("FileDescriptorStorePreserve", "restart"),
        ("RuntimeDirectoryPreserve", "yes"),
        ("LimitCORE", "0"),
        ("NoNewPrivileges", "yes"),
        ("StartLimitIntervalSec", "0"),
    ],
)
def test_the_unit_has_the_required_directives(wanted: tuple[str, str]) -> None:
    assert wanted in directives("recorder.service")


def test_the_descriptor_store_holds_the_default_calls_sockets() -> None:
    store = int(dict(directives("recorder.service"))["FileDescriptorStoreMax"])
    assert store >= 2000 * 2 * 2
    assert int(dict(directives("recorder.service"))["LimitNOFILE"]) > 2 * store


def test_the_default_root_secret_is_passed_as_a_credential() -> None:
    assert dict(directives("recorder.service"))["LoadCredential"].startswith("recorder-root-key:")


def test_a_reload_checks_the_start_before_anything_else() -> None:
    reload = [value for key, value in directives("recorder.service") if key == "ExecReload"]
    assert "check-config --reload" in reload[0] and "--reuid=recorder" in reload[0]
    assert dict(directives("recorder.service"))["ExecStart"].rpartition("--config ")[2] == reload[0].rpartition(" ")[2]
    assert reload[1:] == ["/bin/sh -c 'kill -TERM $MAINPID'"]  # /bin/kill is in procps, which a Debian may lack


def test_every_right_taken_away_has_its_reason() -> None:
    hardening = (CONFIG / "recorder.service").read_text().partition("# --- Hardening ---")[2].partition("[Install]")[0]
    before = "#"
    for line in hardening.strip().splitlines():
        assert line.startswith("#") or before.startswith("#"), f"{line} has no reason"
        before = line


UNITS = ("recorder.service", "recorder-backup.service", "recorder-verify.service")


@pytest.mark.parametrize("name", UNITS)
def test_systemd_itself_finds_little_to_attack(name: str) -> None:
    """Exposure at most 1.5 of 10, and systemd understands every line."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed (Debian: apt-get install systemd)")
    unit = CONFIG / name
    judged = subprocess.run(
        [program, "security", "--offline=true", "--threshold=15", "--no-pager", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert judged.returncode == 0, judged.stdout[-300:] + judged.stderr
    assert "Unknown" not in judged.stderr


@pytest.mark.parametrize("name", [*UNITS, "recorder-backup.timer", "recorder-verify.timer"])
def test_systemd_understands_every_unit(tmp_path: Path, name: str) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed (Debian: apt-get install systemd)")
    for unit in CONFIG.glob("recorder*.*"):  # with programs that exist here
        text = unit.read_text().replace("/opt/recorder/.venv/bin/recorder", "/bin/true")
        (tmp_path / unit.name).write_text(text.replace("User=recorder\nGroup=recorder\n", ""))
    line = [program, "verify", "--man=no", "--recursive-errors=no", str(tmp_path / name)]
    judged = subprocess.run(line, capture_output=True, text=True, check=False)
    assert (judged.returncode, judged.stderr) == (0, "")


def test_what_a_timer_runs_may_touch_no_more_than_the_service() -> None:
    """The rights that the service has taken away are taken away there too, and its runtime folder stays as it is."""
    own = {"ReadWritePaths", "ExecStart", "Type", "TasksMax", "Description", "Documentation"}
    service = dict(directives("recorder.service"))
    for name in UNITS[1:]:
        found = dict(directives(name))
        shared = {key: value for key, value in found.items() if key in service and key not in own}
        assert shared == {key: service[key] for key in shared}
        hardening = (
            (CONFIG / "recorder.service").read_text().partition("# --- Hardening ---")[2].partition("[Install]")[0]
        )
        wanted = {line.partition("=")[0] for line in hardening.splitlines() if line and line[0] != "#"}
        assert wanted <= set(found)
        assert "RuntimeDirectory" not in found, "systemd would remove the state of live calls when the command ends"


FAKE = """#!/bin/sh
# list-jobs --plain --no-legend UNIT
[ "$*" = "list-jobs --plain --no-legend recorder.service" ] && {answer}
"""


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("echo 812 recorder.service stop running", True),
        ("echo 812 recorder.service restart running", False),
        ("echo 812 recorder.service try-restart running", False),
        ("true", False),  # no job: it stops by itself, and is started again
        ("exit 1", False),  # nobody there to ask
    ],
)
def test_only_a_stop_without_restart_announces_no_successor(tmp_path: Path, answer: str, told: bool) -> None:
    (tmp_path / "systemctl").write_text(FAKE.format(answer=answer))
    (tmp_path / "systemctl").chmod(0o700)
    words = dict(directives("recorder.service"))["ExecStop"].removeprefix("+/bin/sh -c ").strip("'")
    script = words.replace("$$", "$").replace("%n", "recorder.service")  # as systemd.service(5) puts it together
    daemon = subprocess.Popen(["sleep", "60"])  # ends by SIGUSR1, as whatever does not know it
    try:
        environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "MAINPID": str(daemon.pid)}
        assert subprocess.run(["/bin/sh", "-c", script], env=environment, check=False).returncode == 0
        if told:
            assert daemon.wait(10) == -signal.SIGUSR1
        assert (daemon.poll() is not None) == told
    finally:
        daemon.kill()
        daemon.wait()
