"""A file of one customer that cannot be used keeps that customer away; every other fault stops a start."""

from __future__ import annotations

from pathlib import Path

import pytest

from recorder.config.faults import SettingsError
from recorder.config.loader import load_for_start

TEXT = """\
[node]
trial = true
data_dir = "{here}/data"
runtime_dir = "{here}/run"
[sip]
listen = ["udp:127.0.0.1:5060"]
[keys]
root = "file:{here}/root.key"
[[customer]]
name = "acme"
sources = ["192.0.2.1"]
digest = "{here}/users"
[[customer]]
name = "globex"
sources = ["192.0.2.2"]
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "root.key").write_bytes(bytes(32))
    (tmp_path / "root.key").chmod(0o600)
    path = tmp_path / "recorder.toml"
    path.write_text(TEXT.format(here=tmp_path))
    return path


def test_a_file_of_one_customer_keeps_it_away(config: Path) -> None:
    settings, unusable = load_for_start(config)
    assert list(unusable) == ["acme"] and "users" in str(unusable["acme"])
    assert [(each.name, each.digest) for each in settings.customers] == [("acme", None), ("globex", None)]
    (config.parent / "users").write_text(f"sbc:acme:{'0' * 32}\n")
    settings, unusable = load_for_start(config)
    assert unusable == {} and settings.customers[0].digest == config.parent / "users"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("trial = true", "trail = true"),
        ('digest = "', "digest = 5 # "),
        ('name = "globex"', 'name = "globex"\ndigest = "/nowhere"'),
    ],
    ids=["another fault", "a wrong value", "nobody left"],
)
def test_other_faults_stop_a_start(config: Path, old: str, new: str) -> None:
    config.write_text(config.read_text().replace(old, new))
    with pytest.raises(SettingsError):
        load_for_start(config)
