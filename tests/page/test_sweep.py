"""Every view in Chromium: axe finds nothing (WCAG 2.2 AA), all fits a telephone, hostile names are text."""

import hashlib
from itertools import pairwise

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from admin_api.http.permissions import Role
from tests.in_process import sample_customer
from tests.page.every_view import furnish, sights
from tests.page.test_live_calls import live, row

__all__ = ["live", "row"]  # fixtures
LEVELS = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}}
COLOURS = {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
"""All that axe finds by colours; nothing else of a page changes with its theme."""
OTHER = {"light": "dark", "dark": "light"}
LOOK = """async (options) => {
  const found = await axe.run(document, {...options, resultTypes: ['violations'], preload: false});
  return found.violations;
}"""
"""Asks an axe that is in the page already, and only for what is wrong: a third less time. It preloads nothing, because
it would copy the style of the waveform, which the page's policy refuses."""
PHONE = 360  # pixels
SHAPE = """() => {
  const page = document.documentElement;
  const heads = [...document.querySelectorAll("h1,h2,h3,h4")].map((each) => Number(each.tagName[1]));
  const facts = [...document.querySelectorAll(".facts dd")].filter((each) => each.scrollWidth > each.clientWidth);
  return [page.scrollWidth - page.clientWidth, heads, facts.map((each) => each.innerText)];
}"""
"""How many pixels a page is too wide, the levels of its headings, and facts that lie over the ones beside them."""


@pytest.fixture(scope="module")
def ids(shared):
    return furnish(shared)


# each walk looks at every view in both themes: all four of theme and language are seen
@pytest.mark.parametrize(("theme", "language", "width"), [("light", "en", 1280), ("dark", "de", PHONE)])
def test_everybody_can_use_every_view(visitor, service, ids, live, theme, language, width):
    live["paused"] = True
    service.daemon.figures = sample_customer.figures(20)  # axe looks at every cell
    page, axe, faults = visitor(*Role, theme=theme, language=language, width=width), Axe(), []
    for path in (*sights(ids), f"/calls/{live['id']}"):
        faults += found_at(page, axe, path, theme)
    assert faults == []


@pytest.mark.parametrize(("theme", "language", "width"), [("light", "de", 1280), ("dark", "en", PHONE)])
def test_sign_in_and_refusal_pages_are_accessible(visitor, theme, language, width):
    look, axe = {"theme": theme, "language": language, "width": width}, Axe()
    faults = found_at(visitor(**look), axe, "/sign-in", theme)
    refused, stranger = visitor(Role.AUDITOR, **look), visitor(**look)
    assert faults + found_at(refused, axe, "/calls", theme) + found_at(stranger, axe, "/invitation?key=x", theme) == []


def test_without_scripts_all_fits_a_telephone_too(visitor, ids):
    page = visitor(*Role, language="de", width=PHONE, scripts=False)  # times keep their "UTC" then
    wide = []
    for path in sights(ids):
        page.goto(path)
        if page.evaluate(SHAPE)[0] > 0:
            wide.append(path)
    assert wide == []


def found_at(page, axe, path, theme):
    """Say what is wrong with a page for whoever cannot see it, or sees it on a telephone."""
    answer, faults = page.goto(path), list[tuple[str, ...]]()
    page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    page.evaluate(axe.axe_script)
    for seen, options in ((theme, LEVELS), (OTHER[theme], COLOURS)):
        page.emulate_media(color_scheme=seen)
        for each in page.evaluate(LOOK, options):
            faults.append((path, seen, each["id"], each["nodes"][0]["html"][:160]))
    page.emulate_media(color_scheme=theme)
    overhang, levels, over = page.evaluate(SHAPE)
    if over:
        faults.append((path, "over the fact beside it", *over))
    if overhang > 0 or answer.status >= 500:
        faults.append((path, f"status {answer.status}", f"{overhang} pixels too wide"))
    if levels.count(1) != 1 or levels[0] != 1 or any(b - a > 1 for a, b in pairwise(levels)):
        faults.append((path, "headings", str(levels)))
    return faults


def test_hostile_names_are_shown_as_they_were_sent(visitor, service, ids):
    page = visitor(*Role)
    page.on("dialog", lambda dialog: pytest.fail("a script of a caller ran"))
    seen = ""
    for number in (9, 19, 29, 39):
        page.goto(f"/calls/{service.ids['acme'][number]}")
        seen += page.locator("main").inner_text()
        assert page.title() != "taken"
        hrefs = page.evaluate("[...document.querySelectorAll('[href],[src],[action]')].map(each => each.outerHTML)")
        assert not any('="javascript:' in each for each in hrefs)
    for name in sample_customer.HOSTILE:
        assert name in seen


def test_the_plots_are_drawn_from_their_tables(visitor):
    page = visitor(Role.OPERATOR, Role.ADMIN)
    page.goto("/system")
    expect(page.locator(".plot canvas")).to_have_count(4)
    width = page.locator(".plot canvas").first.evaluate("each => each.width")
    assert width > 200


def test_a_waivers_digest_is_computed_in_the_browser(visitor, tmp_path):
    document = tmp_path / "signed.pdf"
    document.write_bytes(b"signed")
    page, sent = visitor(Role.ADMIN), []
    page.goto("/erasures/waiver")
    page.on("request", lambda request: sent.append(request.url))
    page.locator("input[type=file]").set_input_files(document)
    digest = hashlib.sha256(b"signed").hexdigest()
    expect(page.locator("#document_sha256")).to_have_value(digest)
    assert [url for url in sent if "/static/" not in url] == []
