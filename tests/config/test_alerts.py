"""The alert rules, by Prometheus itself: alerts.yml says which series raise which of them."""

import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
RULES = HERE.parents[1] / "config/alerts.yml"


@pytest.mark.system
@pytest.mark.parametrize("words", [["check", "rules", RULES], ["test", "rules", HERE / "alerts.yml"]])
def test_the_alert_rules_are_valid_and_do_what_they_say(words):
    done = subprocess.run(["promtool", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_test():
    alerts = {line.split()[-1] for line in RULES.read_text().splitlines() if "- alert:" in line}
    assert not {name for name in alerts if f'"{name}"' not in (HERE / "alerts.yml").read_text()}
