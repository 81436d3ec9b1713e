"""The commands of the documents for operators, in their order and as printed, on booted Debians with the package.

It takes minutes (`make docs-test`). DEB_CACHE=FOLDER keeps the package and the Debian there for the next run.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from recorder.runtime.version import VERSION
from tests.daemon import documents
from tests.daemon.debian import EMPTY, TOOLS, Shell, debian, package
from tests.daemon.machine import machine

pytestmark = [pytest.mark.torture, pytest.mark.timeout(1800)]

PAIR = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 90 -keyout {key} -out {crt} "
    "-subj /CN={name} -addext subjectAltName=DNS:{name},DNS:localhost,IP:127.0.0.1 2>/root/openssl.log"
)
"""A certificate as an authority would make it."""
API = "https://localhost:8443/api/v1/customers/acme"
TRIAL = '/usr/bin/recorder simulate --to "sip:rec@127.0.0.1:5061;transport=tls" --ca /etc/recorder/tls.crt'


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(os.environ.get("DEB_CACHE") or tmp_path_factory.mktemp("deb"))


@pytest.fixture
def installed(cache: Path, tmp_path: Path) -> Iterator[Shell]:
    """Boot a Debian in which the recorder runs and has recorded: docs/install.md from its first to its last command."""
    built = package(cache, VERSION)
    with machine(tmp_path, debian(cache, "tools", f"{EMPTY},{TOOLS}")) as one:
        shell = Shell(one)
        (shell.folder / built.name).write_bytes(built.read_bytes())
        documents.run("docs/install.md", shell)
        yield shell


def test_operations(installed: Shell, tmp_path: Path) -> None:
    (tmp_path / "by-hand").mkdir()
    run = installed.run
    assert "recorder" not in run(
        "systemd-analyze verify recorder.service"
    )  # it names the units that it finds fault with
    run("systemd-analyze security --threshold=15 --no-pager recorder.service")

    @contextmanager
    def certificates() -> Iterator[None]:
        """Have an authority sign one pair by hand and another through certbot."""
        live = "/etc/letsencrypt/live/rec.example"
        run(PAIR.format(key="new.key", crt="new.crt", name="new.example"))
        run(
            f"mkdir -p {live} && "
            + PAIR.format(key=f"{live}/privkey.pem", crt=f"{live}/fullchain.pem", name="rec.example")
        )
        yield
        hook = "RENEWED_DOMAINS='rec.example b.example' RENEWED_LINEAGE=/nowhere sh hook"
        for domain, status in (("other.example", 0), ("rec.example", 1)):  # a renewal that is not for the recorder
            run(f"sed 's/^domain=/&{domain}/' /usr/share/recorder/certbot-deploy-hook >hook")
            run(hook, status)
        assert run("stat -c %U:%G:%a /etc/recorder/tls.key /etc/recorder/admin.key") == "root:recorder:640\n" * 2

    @contextmanager
    def recipient() -> Iterator[None]:
        """Have a key pair of age, as the page makes it further down, and the folder that it makes there."""
        run("age-keygen -o key.txt && install -d -o recorder -g recorder /var/lib/recorder-keys")
        yield
        run("rm key.txt")

    @contextmanager
    def stopped() -> Iterator[None]:
        run("systemctl stop recorder")
        yield

    @contextmanager
    def moved() -> Iterator[None]:
        yield
        assert run("find /var/lib/recorder -mindepth 1") == ""
        run("recorderctl calls | grep -q complete && systemctl stop recorder")
        run("rmdir /var/lib/recorder && mv /srv/recorder /var/lib/recorder")  # where the rest of the page expects it
        run("sed -i 's|^data_dir = .*|data_dir = \"/var/lib/recorder\"|' /etc/recorder/recorder.toml")
        run(
            "rm /etc/systemd/system/recorder.service.d/data.conf && systemctl daemon-reload && systemctl start recorder"
        )

    with machine(tmp_path / "by-hand") as one:  # where the source lies in /opt/recorder and `make setup` was run
        by_hand = Shell(one)

        @contextmanager
        def removable() -> Iterator[Shell]:
            """Take the view of this machine's .venv away, which is no folder that can be removed."""
            by_hand.run("cd / && umount --lazy /opt/recorder/.venv")
            yield by_hand

        facts: documents.Facts = {
            "Certificates": certificates,
            "Back up": recipient,
            "Restore": stopped,
            "Move the data": moved,
            "Install by hand": lambda: nullcontext(by_hand),
            "Remove what was installed by hand": removable,
        }
        documents.run("docs/operations.md", installed, facts, {"age1…": "$(age-keygen -y key.txt)"})
    for path in ("/var/lib/recorder", "/etc/recorder", "/usr/lib/recorder", "/usr/bin/recorder"):
        run(f"test ! -e {path}")
    run("getent passwd recorder", status=2)


def test_postgresql(installed: Shell) -> None:
    run = installed.run
    token = run("recorderctl token create --customer acme --role privacy --name test 2>/dev/null").strip()

    def ask(words: str) -> str:
        return run(
            f"curl -sS --fail-with-body --cacert /etc/recorder/admin.crt -H 'Authorization: Bearer {token}' "
            f"-H 'Content-Type: application/json' {words}"
        )

    def known() -> list[tuple[str, str, bool]]:
        """Return id, state and legal hold of every call."""
        items = json.loads(ask(f"{API}/calls"))["items"]
        return sorted((each["id"], each["state"], each["hold"]) for each in items)

    def hold(call: str) -> None:
        ask(f'-X PUT -d \'{{"reason": "court"}}\' {API}/calls/{call}/hold')

    @contextmanager
    def calling() -> Iterator[None]:
        """Have a legal hold, and a call that outlasts the section."""
        hold(known()[0][0])
        before = known()
        run(f"systemd-run --unit=client --property=StandardOutput=file:/root/call.json {TRIAL} --duration 60 --json")
        time.sleep(3)
        yield
        assert run("systemctl is-active client").strip() == "active", "the call must outlast the change"
        run("while systemctl --quiet is-active client; do sleep 1; done")
        assert json.loads((installed.folder / "call.json").read_text())["well"] == 1
        call = json.loads(ask(f"'{API}/calls?limit=1'"))["items"][0]
        whole = json.loads(ask(f"{API}/calls/{call['id']}"))
        assert (whole["state"], [stream["gap_ms"] for stream in whole["streams"]]) == ("complete", [0, 0])
        assert known() == sorted([*before, (call["id"], "complete", False)])

    @contextmanager
    def older() -> Iterator[None]:
        """Have a call and a legal hold that the dump lacks."""
        run(f"{TRIAL} --duration 3")
        hold(known()[-1][0])
        before = known()
        yield
        assert known() == before

    @contextmanager
    def server() -> Iterator[None]:
        """Have a certificate for db.example, which is this machine."""
        run(PAIR.format(key="db.key", crt="db.crt", name="db.example") + " && cp db.crt db-ca.crt")
        run("echo '127.0.0.1 db.example' >>/etc/hosts")
        before = known()
        yield
        assert known() == before

    facts: documents.Facts = {"From SQLite to PostgreSQL": calling, "Restore": older, "Another machine, TLS": server}
    documents.run("docs/postgresql.md", installed, facts)
