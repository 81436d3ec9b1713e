"""Where the configuration lies unless somebody says otherwise."""

from __future__ import annotations

from recorder.config.default_path import DEFAULT_CONFIG


def test_it_is_where_the_contract_says() -> None:
    assert str(DEFAULT_CONFIG) == "/etc/recorder/recorder.toml"
