"""The example configuration is what the program documents, and it is valid."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from recorder.config.parser import parse
from recorder.config.template import render, write

SHIPPED = Path(__file__).parents[3] / "config" / "recorder.toml"


def test_the_shipped_example_is_the_generated_one() -> None:
    assert SHIPPED.read_text() == render(), "run: python -m recorder.config.template"


def test_the_example_has_no_fault() -> None:
    assert parse(render().encode()).customers[0].name == "acme"


def test_everything_commented_out_may_be_switched_on() -> None:
    settings = parse(re.sub(r"(?m)^# ([a-z_]+ = |\[\[)", r"\1", _with_one_proof(render())).encode())
    assert settings.sip.client_ca is not None
    assert settings.customers[0].domains == ("acme.rec.example",)
    assert settings.directories[0].customer == "acme" and settings.directories[0].secret is None


def _with_one_proof(text: str) -> str:
    """Leave out the secret of a directory, which has a certificate."""
    return re.sub(r"(?m)^# secret(_expires)? = .*$", "#", text)


def test_values_can_be_set_for_a_first_configuration(tmp_path: Path) -> None:
    text = render(
        {"keys.root": f"file:{tmp_path}/root.key", "sip.listen": ["udp:127.0.0.1:5070"], "customer.country": None}
    )
    settings = parse(text.encode())
    assert settings.keys.root == f"file:{tmp_path}/root.key"
    assert settings.sip.listen[0].port == 5070
    assert settings.customers[0].country is None


def test_a_setting_that_does_not_exist_is_an_error_of_ours() -> None:
    with pytest.raises(KeyError, match=r"sip\.lisen"):
        render({"sip.lisen": []})


def test_the_example_is_written_to_a_file(tmp_path: Path) -> None:
    write(tmp_path / "recorder.toml")
    assert (tmp_path / "recorder.toml").read_text() == render()
