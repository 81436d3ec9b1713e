"""The whole journey on a real `recorder serve`: a letter comes, and in the end nobody can bring the calls back.

Calls over TLS with SRTP; three people with accounts of their own; Debian's age and unzip open what is handed over; the
receipt is verified with the daemon gone; and nothing of it all stands in the daemon's log.
"""

import json
import subprocess
import time
import wave
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.daemon.server import Server, command, server
from tests.page.conftest import PATIENCE, Watch

PASSWORD = "some plain words in a row"
NUMBER, NAME, OTHER = "+493055500000", "Caller 1.1", "Agent 1.2"
LETTER = "030 555 00000"
REFERENCE, REASON = "Zeichen Qz7kanarie", "Art. 17 Qz8kanarie"


class Daemon:
    """One person's browser."""

    def __init__(self, one: Server, chromium: Browser, watch: Watch) -> None:
        self.context = chromium.new_context(ignore_https_errors=True, accept_downloads=True, locale="en-GB")
        self.context.set_default_timeout(PATIENCE)
        self.page: Page = self.context.new_page()
        watch.over(self.page)
        self.base = f"https://localhost:{one.api}"

    def see(self, path: str) -> Page:
        """Go somewhere."""
        self.page.goto(self.base + path)
        return self.page

    def press(self, name: str, *, exact: bool = False) -> None:
        """Press a button, keep what it leads to."""
        self.page.get_by_role("button", name=name, exact=exact).click()

    def fetch(self, name: str, to: Path) -> Path:
        """Download something; return where it lies under the name that it came with."""
        with self.page.expect_download() as coming:
            self.page.get_by_role("button", name=name).click()
        kept = to / coming.value.suggested_filename
        coming.value.save_as(kept)
        return kept


@pytest.fixture
def one(tmp_path: Path) -> Any:
    with server(tmp_path, more="approve_erasures = true") as made:
        api = f'listen = "127.0.0.1:{made.api}"'
        more = (
            f'\ncertificate = "{tmp_path}/admin.crt"\nprivate_key = "{tmp_path}/admin.key"\nsecond_factor = "optional"'
        )
        made.config.write_text(made.config.read_text().replace(api, api + more))
        made.init()
        made.start()
        yield made


@pytest.fixture
def invited(one: Server, chromium: Browser) -> Any:
    """Let somebody in by the one-time link that the shell prints."""
    desks: list[Daemon] = []
    watch = Watch(f"localhost:{one.api}")

    def invited(name: str, *roles: str) -> Daemon:
        words = [word for role in roles for word in ("--role", role)]
        made = one.run("admin", "create", name, *words, "--json")
        assert made.returncode == 0, made.stderr
        daemon = Daemon(one, chromium, watch)
        desks.append(daemon)
        daemon.page.goto(json.loads(made.stdout)["link"])
        daemon.page.get_by_label("New password").fill(PASSWORD)
        daemon.page.get_by_label("The same again").fill(PASSWORD)
        daemon.press("Set the password and sign in")
        expect(daemon.page.get_by_role("button", name="Sign out")).to_be_visible()
        return daemon

    yield invited
    for daemon in desks:
        daemon.context.close()
    assert watch.seen == []


def opened(file: Path, folder: Path, key: Path) -> ZipFile:
    """Decrypt and test with Debian's programs; return what can be read now."""
    plain = folder / "report.zip"
    subprocess.run(["age", "-d", "-i", key, "-o", plain, file], check=True, capture_output=True)
    subprocess.run(["unzip", "-tq", plain], check=True, capture_output=True)
    return ZipFile(plain)


@pytest.mark.timeout(400)  # half a minute on an idle machine, but a busy one must not break it
def test_a_request_leads_to_an_erasure_receipt(one: Server, invited: Any, tmp_path: Path) -> None:
    words = ("--insecure", "--audio-kind", "tone", "--calls", 3, "--duration", 2)
    placed = command("simulate", "--to", one.uri("tls"), *words)  # a loop of Playwright's runs in this process
    assert placed.returncode == 0, placed.stderr
    admin, grace, ada = invited("Max", "admin", "operator"), invited("Grace", "privacy"), invited("Ada", "approver")

    # --- the permission without which nothing is erased before its time ---
    page = admin.see("/erasures/waiver")
    page.get_by_label("SHA-256 of the document").fill("ab" * 32)
    page.get_by_label("Signed by").fill("Example Ltd")
    page.get_by_label("Signed on").fill("2026-01-02")
    page.get_by_label("What it permits").fill("erasure on request of the person")
    admin.press("Put on file")
    expect(page.locator(".mark.good")).to_have_text("active")

    # --- the letter: request, candidates ---
    page = grace.see("/requests/new")
    page.get_by_label("erasure (Art. 17)").check()
    page.get_by_label("Who asks").fill(f"{LETTER}\n")
    page.get_by_label("Reference").fill(REFERENCE)
    grace.press("File the request")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody")).to_contain_text("It was the person's at that time.")
    grace.press("Choose all that are not in doubt")

    # --- the report: made, fetched, opened by the person ---
    key = tmp_path / "key.txt"
    subprocess.run(["age-keygen", "-o", key], check=True, capture_output=True)
    recipient = next(line for line in key.read_text().splitlines() if "public key" in line).split()[-1]
    page.get_by_label("Media").select_option("wav")
    page.get_by_label("to the person's age key").check()
    page.get_by_label("The person's age key", exact=True).fill(recipient)
    grace.press("Make the report")
    expect(page.get_by_role("button", name="Download the report")).to_be_visible()
    file = grace.fetch("Download the report", tmp_path)
    request = page.url.split("/requests/")[1].split("#")[0]
    assert file.name == f"report-{request}.zip.age"
    with opened(file, tmp_path, key) as report:
        names = report.namelist()
        assert NAME in report.read("report.html").decode()
        everything = b"".join(report.read(name) for name in names)
        assert OTHER.encode() not in everything and b"+493055500001" not in everything
        sound = next(name for name in names if name.endswith(".wav"))
        with report.open(sound) as data, wave.open(data) as answer_of:
            assert answer_of.getnframes() > 8000

    # --- on into erasure: somebody else has to grant it ---
    page = grace.see(f"/requests/{request}")
    page.get_by_text("Continue with the erasure").click()
    page.locator("#erasure").get_by_label("Reason").fill(REASON)
    page.get_by_label("nobody can bring these calls back").check()
    grace.press("Ask for the erasure")
    expect(page.locator("#erasure")).to_contain_text("waits for approval")
    page.get_by_role("link", name="The erasure and its receipt").click()
    page.wait_for_url("**/erasures/*")
    erasure = page.url.rsplit("/", 1)[1]
    page = ada.see("/erasures")
    page.get_by_role("link", name=erasure).click()
    ada.press("Approve this erasure")
    end = time.monotonic() + PATIENCE / 1000
    while not page.get_by_role("button", name="Download the receipt").count() and time.monotonic() < end:
        page.wait_for_timeout(100)
        page.reload()
    receipt = ada.fetch("Download the receipt", tmp_path)
    assert receipt.name == f"receipt-{erasure}.json"

    # --- what stays ---
    page = grace.see(f"/requests/{request}")
    if page.locator("#close details").get_attribute("open") is None:  # it is, where nothing else is left to do
        page.locator("#close").get_by_text("Close the request").first.click()
    page.locator("#close").get_by_role("button").click()
    expect(page.get_by_role("heading", name="What remains")).to_be_visible()
    for gone in (NUMBER, LETTER, NAME, REFERENCE, REASON):
        assert gone not in page.content()

    # --- offline ---
    for daemon in (admin, grace, ada):
        daemon.context.close()
    assert one.stop() == 0
    verified = one.run("audit", "verify", "--receipt", receipt)
    assert verified.returncode == 0, verified.stderr
    log = one.log.read_text()
    for secret in (NUMBER, NUMBER[3:], NAME, OTHER, LETTER, PASSWORD, "Qz7", "Qz8", recipient, "Example Ltd"):
        assert secret not in log, secret
    assert "Traceback" not in log
