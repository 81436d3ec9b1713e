"""What somebody is told to type fits how the recorder is run: by systemd, or by hand."""

from pathlib import Path

import pytest

from recorder.config import installation
from recorder.config.installation import Installation


def everything(how: Installation) -> str:
    return " ".join([how.start, how.stop, how.reload, how.restart, how.status, how.log, how.command("verify")])


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "SYSTEMD", tmp_path)


@pytest.mark.usefixtures("systemd")
@pytest.mark.parametrize("config", [None, Path("/etc/recorder/recorder.toml"), Path("/etc/recorder/other.toml")])
def test_a_configuration_of_the_machine_is_the_services(config: Path | None) -> None:
    how = Installation.of(config)
    assert how.reload == "systemctl reload recorder"
    assert how.command("verify") == "recorderctl verify"
    assert "--config" not in everything(how)


@pytest.mark.usefixtures("systemd")
def test_a_trial_is_run_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/tmp")
    how = Installation.of(Path("a trial/recorder.toml"))
    assert how.command("verify") == "recorder verify --config '/tmp/a trial/recorder.toml'"
    assert "recorder serve --config '/tmp/a trial/recorder.toml'" in how.start
    assert not [word for word in ("systemctl", "journalctl", "recorderctl") if word in everything(how)]


def test_without_systemd_nobody_is_told_to_ask_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "SYSTEMD", tmp_path / "none")
    assert "systemctl" not in everything(Installation.of(None))


def test_a_recorder_outside_PATH_is_called_with_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = tmp_path / "recorder"
    there.write_text("#!/bin/sh\n")
    there.chmod(0o755)
    monkeypatch.setattr("sys.argv", [str(there)])
    monkeypatch.setenv("PATH", "/usr/bin")
    assert installation.program() == str(there)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert installation.program() == "recorder"
