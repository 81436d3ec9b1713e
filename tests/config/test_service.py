"""The files for systemd say what the recorder relies on, and why each right is taken away."""

from __future__ import annotations

from pathlib import Path

import pytest

CONFIG = Path(__file__).parents[2] / "config"


def directives(name: str) -> list[tuple[str, str]]:
    """Return the directives of a unit in their order."""
    lines = (CONFIG / name).read_text().splitlines()
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
        ("RuntimeDirectoryPreserve", "yes"),
        ("LimitCORE", "0"),
        ("NoNewPrivileges", "yes"),
        ("StartLimitIntervalSec", "0"),
    ],
)
def test_what_continuity_and_privacy_rest_on_is_there(wanted: tuple[str, str]) -> None:
    assert wanted in directives("recorder.service")


def test_the_store_holds_the_sockets_of_the_default_number_of_calls() -> None:
    store = int(dict(directives("recorder.service"))["FileDescriptorStoreMax"])
    assert store >= 2000 * 2 * 2
    assert int(dict(directives("recorder.service"))["LimitNOFILE"]) > 2 * store


def test_the_root_secret_of_the_default_configuration_is_handed_over() -> None:
    assert dict(directives("recorder.service"))["LoadCredential"].startswith("recorder-root-key:")


def test_every_right_taken_away_has_its_reason() -> None:
    hardening = (CONFIG / "recorder.service").read_text().partition("# --- Hardening ---")[2].partition("[Install]")[0]
    before = "#"
    for line in hardening.strip().splitlines():
        assert line.startswith("#") or before.startswith("#"), f"{line} has no reason"
        before = line
