"""The dashboard is what its script makes, and a real Prometheus has data of a real recorder for each of its panels."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from math import isnan
from pathlib import Path
from typing import Any

import httpx2
import pytest
from grafana_foundation_sdk.models import units

from config.grafana import FILE, made
from tests.daemon.api import until
from tests.daemon.server import Server, command, free_port, server

CONFIG = FILE.parent
BOARD = json.loads(FILE.read_text())
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
QUERIES = [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]
VARIABLES = {each["name"]: each for each in BOARD["templating"]["list"]}
NEVER = {"Age of the key backup", "Since the keys were backed up", "Since everything was verified"}
"""Panels whose value is NaN here, because nobody has done it."""


def test_the_dashboard_is_what_its_script_makes() -> None:
    assert made() == FILE.read_text(), "make dashboard"


def test_it_can_be_imported_as_it_is() -> None:
    assert "__inputs" not in BOARD and BOARD["uid"] == "siprec-recorder" and "id" not in BOARD
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
    assert {panel["datasource"]["uid"] for panel in PANELS} == {"${datasource}"}
    known = {value for value in vars(units).values() if isinstance(value, str)}
    assert {panel["fieldConfig"]["defaults"]["unit"] for panel in PANELS} <= known
    named = {name for _, query in QUERIES for name in re.findall(r"\$(\w+)", query)}
    assert named - set(VARIABLES) == {"__rate_interval"}


@pytest.mark.parametrize("job", ["recorder", "recorder-api"])
@pytest.mark.system
def test_every_panel_has_data(prometheus: Prometheus, job: str) -> None:
    assert not lacking(prometheus, job)
    answers = [(title, prometheus.query(filled(query, chosen_at_first(job)))) for title, query in QUERIES]
    assert {title for title, values in answers if all(isnan(value) for value in values)} == NEVER


@pytest.mark.system
def test_the_variables_offer_what_there_is(prometheus: Prometheus) -> None:
    assert prometheus.values("job", {}) == ["recorder", "recorder-api"]
    chosen = {"job": "recorder"}
    (instance,) = prometheus.values("instance", chosen)
    assert prometheus.values("customer", {**chosen, "instance": instance}) == ["acme"]
    assert prometheus.values("customer", {"job": "recorder-api", "instance": ".+"}) == []


def filled(text: str, chosen: dict[str, str]) -> str:
    """Put values in the place of variables, as Grafana does."""
    return re.sub(r"\$(\w+)", lambda found: {"__rate_interval": "1m", **chosen}[found[1]], text)


def chosen_at_first(job: str) -> dict[str, str]:
    """Return what is chosen on the dashboard at first."""
    return {"job": job, "instance": ".+", "customer": ".*"}


class Prometheus:
    """A running Prometheus."""

    def __init__(self, port: int) -> None:
        self.client = httpx2.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=20)

    def query(self, text: str) -> list[float]:
        """Return the values of all series of a query."""
        answer = self.client.get("/query", params={"query": text}).json()
        assert answer["status"] == "success", (text, answer)
        return [float(series["value"][1]) for series in answer["data"]["result"]]

    def values(self, variable: str, chosen: dict[str, str]) -> Any:
        """Return what a variable of the dashboard offers."""
        found = re.fullmatch(r"label_values\((.+), (\w+)\)", VARIABLES[variable]["query"])
        assert found
        match = {"match[]": filled(found[1], chosen)}
        return self.client.get(f"/label/{found[2]}/values", params=match).json()["data"]

    def up(self) -> bool:
        """Return whether it has reached all that it scrapes."""
        try:
            return self.query("up") == [1, 1]
        except (httpx2.TransportError, ValueError):  # it still starts, and answers with a sentence
            return False


def lacking(prometheus: Prometheus, job: str) -> set[str]:
    """Return the titles of the panels that have a query without data."""
    return {title for title, query in QUERIES if not prometheus.query(filled(query, chosen_at_first(job)))}


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Prometheus with config/prometheus.yml, which has scraped before and after a few calls."""
    folder, port, metrics = tmp_path_factory.mktemp("grafana"), free_port(), free_port()
    with server(folder, more=f'\n[metrics]\nlisten = "127.0.0.1:{metrics}"') as one:
        pair = f'certificate = "{folder}/admin.crt"\nprivate_key = "{folder}/admin.key"'
        one.replace("[admin_api]", f"[admin_api]\n{pair}")
        one.init()
        one.start()
        watcher = subprocess.Popen(
            ["prometheus", f"--config.file={scrape_config(folder, one, metrics)}", f"--storage.tsdb.path={folder}/tsdb",
             f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"],
        )  # fmt: skip
        try:
            it = Prometheus(port)
            until(it.up)
            happen(one)
            until(lambda: it.query('recorder_calls_total{job="recorder", result="complete", customer="acme"}') == [2])
            until(lambda: not lacking(it, "recorder") | lacking(it, "recorder-api"))  # a rate needs two scrapes
            yield it
            it.client.close()
        finally:
            watcher.terminate()
            watcher.wait(20)


def scrape_config(folder: Path, one: Server, metrics: int) -> Path:
    """Write the example of the scrape configuration for this recorder, what stands there as a comment too."""
    text = (CONFIG / "prometheus.yml").read_text()
    api = text[text.index("  # - job_name") :]
    text = text.replace(api, re.sub("^  # ", "  ", api, flags=re.MULTILINE).replace(": recorder", ": recorder-api"))
    for old, new in {
        "/etc/recorder": str(folder), ":9464": f":{metrics}", ":8443": f":{one.api}", ": 15s": ": 1s"
    }.items():  # fmt: skip
        assert old in text
        text = text.replace(old, new)
    shutil.copy(CONFIG / "alerts.yml", folder)
    (folder / "prometheus.yml").write_text(text)
    return folder / "prometheus.yml"


def happen(one: Server) -> None:
    """Two calls, one that is refused, and what gets no answer from SIP and API."""
    done = command(
        "simulate", "--srtp", "AES_CM_128_HMAC_SHA1_80", "--calls", 2, "--duration", 2, "--to", one.uri("udp")
    )
    assert done.returncode == 0, done.stderr
    with one.sbc("tcp") as sbc:
        assert sbc.ask("INVITE", b"no SDP").status >= 400
    with socket.socket(type=socket.SOCK_DGRAM) as stranger:
        stranger.sendto(b"no SIP", (one.host, one.udp))
    with socket.create_connection((one.api_host, one.api)) as nobody:
        nobody.sendall(b"GET / HTTP/1.1\r\n\r\n")
        nobody.recv(100)
