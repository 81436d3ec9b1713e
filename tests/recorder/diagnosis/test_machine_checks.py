"""What the doctor says of a machine: kernel settings that are missing, wrong or right, and the same as the file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from media.receive.sockets import RECEIVE_BUFFER
from recorder.config.model import Settings
from recorder.diagnosis import machine_checks
from recorder.diagnosis.check import State
from recorder.diagnosis.machine_checks import KERNEL, RESERVED_PORTS

FILE = Path(__file__).parents[3] / "config" / "sysctl.conf"
SETTINGS = {
    name.strip(): value.strip()
    for name, equals, value in (line.partition("=") for line in FILE.read_text().splitlines())
    if equals and not name.startswith("#")
}


def written(place: Path, values: dict[str, str]) -> Path:
    for key, value in values.items():
        file = place / key.replace(".", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(value + "\n")
    return place


def test_the_shipped_file_has_exactly_what_the_doctor_wants(tmp_path: Path) -> None:
    checks = list(machine_checks.kernel(Settings(), written(tmp_path, SETTINGS)))
    assert {each.state for each in checks} == {State.OK}
    assert {each.name for each in checks} == {f"sysctl.{key}" for key in SETTINGS}
    assert SETTINGS.keys() == {*KERNEL, RESERVED_PORTS}
    for key, wanted in KERNEL.items():
        assert int(SETTINGS[key].split()[wanted.field]) == wanted.value
    assert KERNEL["net.core.rmem_max"].value >= RECEIVE_BUFFER


@pytest.mark.parametrize("key", KERNEL)
def test_a_wrong_setting_is_named_with_what_to_type(tmp_path: Path, key: str) -> None:
    wanted = KERNEL[key]
    words = SETTINGS[key].split()
    words[wanted.field] = str(wanted.value - 1 if wanted.bound == "at least" else wanted.value + 1)
    checks = {
        c.name: c for c in machine_checks.kernel(Settings(), written(tmp_path, {**SETTINGS, key: " ".join(words)}))
    }
    found = checks.pop(f"sysctl.{key}")
    assert found.state is State.WARN
    assert f"sysctl -w {key}='{SETTINGS[key]}'" in found.remedy
    assert {each.state for each in checks.values()} == {State.OK}


def test_what_a_container_does_not_show_is_unchecked(tmp_path: Path) -> None:
    assert {each.state for each in machine_checks.kernel(Settings(), tmp_path)} == {State.UNCHECKED}


@pytest.mark.parametrize(
    ("reserved", "state"),
    [("", State.WARN), ("5060-5061", State.WARN), ("1-65535", State.OK), ("5060,5061,20000-39999", State.OK)],
)
def test_ports_that_are_not_reserved(tmp_path: Path, reserved: str, state: State) -> None:
    place = written(tmp_path, {**SETTINGS, RESERVED_PORTS: reserved})
    found = [each for each in machine_checks.kernel(Settings(), place) if RESERVED_PORTS in each.name]
    assert [each.state for each in found] == [state]
    assert state is State.OK or "'5060,5061,20000-39999'" in found[0].remedy


def test_folders_and_file_systems(tmp_path: Path) -> None:
    node = replace(Settings().node, data_dir=tmp_path / "not" / "there", runtime_dir=Path("/dev/shm/recorder-none"))
    settings = replace(Settings(), node=node)
    found = {each.name: each for each in [*machine_checks.data_disk(settings), *machine_checks.runtime_disk(settings)]}
    assert set(found) == {"disk.data", "disk.data.filesystem", "disk.data.sync", "disk.runtime.tmpfs", "disk.runtime"}
    assert "free" in found["disk.data"].detail
    assert found["disk.runtime.tmpfs"].state is State.OK
    assert list(tmp_path.iterdir()) == []
    on_disk = replace(settings, node=replace(node, runtime_dir=tmp_path))
    if machine_checks.file_system(tmp_path) not in ("tmpfs", "ramfs"):
        assert next(iter(machine_checks.runtime_disk(on_disk))).state is State.FAIL


def test_the_clock_is_asked() -> None:
    (found,) = machine_checks.clock()
    assert found.state in (State.OK, State.WARN)
