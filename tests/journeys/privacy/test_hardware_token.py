"""The root secret in a PKCS#11 token: made by init, asked for by serve, moved by rotate; another opens nothing."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.daemon.api import Api
from tests.daemon.coded_calls import record
from tests.daemon.server import Server, command, server
from tests.in_process.hardware_token import MODULE, address, make_token

pytestmark = pytest.mark.skipif(not MODULE.exists(), reason="SoftHSM is not installed (Debian: softhsm2)")


def root_at(one: Server, source: str) -> None:
    """Let the configuration name another root secret."""
    one.config.write_text(re.sub(r'(?m)^root = ".*"$', lambda _: f'root = "{source}"', one.config.read_text()))


def test_keys_can_move_to_and_from_a_hardware_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in make_token(tmp_path / "hsm").items():
        monkeypatch.setenv(name, value)
    token = address(tmp_path / "pin")
    with server(tmp_path) as one:
        root_at(one, token)
        made = command("init", "--config", one.config, "--json")
        assert made.returncode == 0, made.stderr
        assert "key of the root secret in its token" in json.loads(made.stdout)["made"]
        assert not (tmp_path / "root.key").exists()
        one.start()
        one.tokens["admin"] = json.loads(made.stdout)["token"]
        api = Api(one)
        (call,) = record(api, 1)
        heard = api.sound(call["id"])
        assert one.stop() == 0

        moved = one.run("keys", "rotate", "--to", f"file:{tmp_path}/root.key", "--json")
        assert json.loads(moved.stdout) == {"rotated": ["acme"], "root": f"file:{tmp_path}/root.key", "made": True}
        refused = one.run("verify")
        assert refused.returncode != 0 and "the root secret is not the one" in refused.stderr
        root_at(one, f"file:{tmp_path}/root.key")
        back = one.run("keys", "rotate", "--to", address(tmp_path / "pin", key="object=second"), "--json")
        assert json.loads(back.stdout)["made"] is True
        root_at(one, address(tmp_path / "pin", key="object=second"))
        one.start()
        assert api.sound(call["id"]) == heard
        assert one.stop() == 0

        shutil.rmtree(tmp_path / "hsm")
        for name, value in make_token(tmp_path / "hsm").items():
            monkeypatch.setenv(name, value)
        lost = one.run("serve")
        assert lost.returncode != 0 and "no such secret key" in lost.stdout + lost.stderr
        assert one.run("init").returncode != 0 or one.run("serve").returncode != 0
        assert len(list((one.data / "keys").glob("acme.forget"))) == 1, "no new keys were made in the place of these"
