"""What an operator sees of a call: two lines in the log, and metrics, by customer on a listener of their own."""

import re
import urllib.error
import urllib.request

import pytest

from tests.daemon.api import until
from tests.daemon.server import command, free_port, server


@pytest.fixture(scope="module")
def it(tmp_path_factory):
    port = free_port()
    with server(tmp_path_factory.mktemp("watching"), more=f'\n[metrics]\nlisten = "127.0.0.1:{port}"') as one:
        one.init()
        one.start()
        words = ["--srtp", "AES_CM_128_HMAC_SHA1_80", "--calls", 1, "--hold", 1, "--to", one.uri("udp")]
        done = command("simulate", *words)
        assert done.returncode == 0, done.stderr
        one.until("call.ended")
        yield one, port


def line(one, event):
    (found,) = [each for each in one.lines() if each.get("event") == event]
    return found


def scraped(port, path="/metrics"):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
        return answer.read().decode()


def test_each_call_has_a_line_when_it_starts_and_when_it_ends(it):
    one, _ = it
    started, ended = line(one, "call.started"), line(one, "call.ended")
    assert started["call"] == ended["call"] and len(started["call"]) == 36
    assert (started["customer"], started["source"], started["transport"]) == ("acme", "127.0.0.1", "udp")
    assert set(started["codec"]) <= {"PCMU", "PCMA"} and len(started["codec"]) == 2
    assert started["suite"] == ["AES_CM_128_HMAC_SHA1_80"] * 2
    assert ended["result"] == "complete" and 0.5 < ended["seconds"] < 30
    assert not [each for each in (started, ended) if "masked_fields" in each or "***" in str(each)]


def test_the_start_names_the_version(it):
    one, _ = it
    version = line(one, "recorder.ready")["version"]
    assert command("--version").stdout.split()[:2] == ["recorder", version]
    assert f'"version": "{version}"' in command("--version", "--json").stdout


def test_only_the_own_listener_counts_by_customer(it):
    one, port = it
    own, public = scraped(port), scraped(one.api)
    assert 'recorder_calls_total{customer="acme",result="complete"} 1.0' in own
    assert 'recorder_calls_active{customer="acme"} 0.0' in own
    assert 'recorder_calls_total{result="complete"} 1.0' in public and "acme" not in public
    for text in (own, public):
        assert "recorder_setup_seconds_count 1.0" in text and "_created" not in text
        assert "recorder_build_info{" in text and "process_cpu_seconds_total" in text
        assert re.search(r"^# TYPE (\S+) .*\n(?s:.*)^# TYPE \1 ", text, re.M) is None, "one family, twice"


def test_the_figures_of_disk_and_keys_follow(it):
    _, port = it
    until(lambda: 'folder="data"' in scraped(port))
    text = scraped(port)
    free = re.findall(r'recorder_disk_free_bytes\{folder="data"\} (\S+)', text)
    assert float(free[0]) > 1e6 and 'recorder_disk_free_inodes{folder="runtime"}' in text
    assert "recorder_key_backup_age_seconds NaN" in text and "recorder_verify_age_seconds NaN" in text
    assert "recorder_customers_away 0.0" in text
    assert re.search(r'recorder_certificate_expiry_seconds\{use="sip"\} [1-9]', text)


def test_the_own_listener_has_nothing_else(it):
    for path in ("/", "/healthz", "/api/v1/customers/acme/calls", "/openapi.json"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            scraped(it[1], path)
        assert refused.value.code == 404
        refused.value.close()
