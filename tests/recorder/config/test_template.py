"""The example configuration is what the program documents, and it is valid."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from recorder.config.parser import parse
from recorder.config.template import render, write

SHIPPED = Path(__file__).parents[3] / "config" / "recorder.toml"


def test_the_shipped_example_is_the_generated_one_and_valid(tmp_path: Path) -> None:
    write(tmp_path / "recorder.toml")
    assert SHIPPED.read_text() == render(), "run: python -m recorder.config.template"
    assert (tmp_path / "recorder.toml").read_text() == render()
    assert parse(render().encode()).customers[0].name == "acme"


def test_everything_commented_out_may_be_switched_on() -> None:
    proven = re.sub(r"(?m)^# secret(_expires)? = .*$", "#", render())  # of a directory, which has a certificate
    settings = parse(re.sub(r"(?m)^# ([a-z_]+ = |\[\[)", r"\1", proven).encode())
    assert settings.sip.client_ca is not None
    assert settings.customers[0].domains == ("acme.rec.example",)
    assert settings.directories[0].customer == "acme" and settings.directories[0].secret is None


def test_values_can_be_set_for_a_first_configuration() -> None:
    root = "file:/x/root.key"
    text = render({"keys.root": root, "sip.listen": ["udp:127.0.0.1:5070"], "customer.country": None})
    settings = parse(text.encode())
    assert (settings.keys.root, settings.sip.listen[0].port, settings.customers[0].country) == (root, 5070, None)
    with pytest.raises(KeyError, match=r"sip\.lisen"):
        render({"sip.lisen": []})
