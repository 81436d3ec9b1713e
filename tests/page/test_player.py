"""A call is heard in a real browser: drawn, played while it is fetched in ranges, by keys, one channel alone."""

import io
import json
import math
import wave
from collections.abc import Callable
from dataclasses import replace

import pytest
from playwright.sync_api import Page, expect

from admin_api.http.permissions import Role
from tests.page.conftest import Town, until

SECONDS = 12  # of town.sound()


def peaks() -> bytes:
    """What a render worker tells of the sound of the town."""
    turns = [[900 if n // 20 % 2 == speaker else 0 for n in range(120)] for speaker in (0, 1)]
    channels = [{"label": str(n), "peaks": turns[n], "gaps": [[3.0, 4.5, "hold"]]} for n in (0, 1)]
    return json.dumps({"seconds": SECONDS, "started_ns": 0, "channels": channels}).encode()


def open_call(service: Town, visitor: Callable[..., Page], **more: object) -> Page:
    service.daemon.peaks = peaks()
    page = visitor(Role.LISTENER, **more)
    page.goto(f"/calls/{service.ids['acme'][-1]}")
    return page


def test_both_channels_are_drawn_before_anything_is_heard(service: Town, visitor: Callable[..., Page]) -> None:
    page = open_call(service, visitor)
    expect(page.locator(".player[data-drawn]")).to_be_visible()
    painted = """[...document.querySelector('.wave > div').shadowRoot.querySelectorAll('.canvases canvas')]
        .map(c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data].some(v => v)).join()"""
    until(page, f"{painted} === 'true,true'")  # WaveSurfer paints when it comes to it
    assert page.locator(".wave-pause").count() == 2
    box, gap = page.locator(".wave").bounding_box(), page.locator(".wave-pause").first.bounding_box()
    assert box and gap and abs((gap["x"] - box["x"]) / box["width"] - 3 / SECONDS) < 0.01
    assert [act["action"] for act in service.acts()[-2:]] == ["call.view", "call.waveform"]


@pytest.mark.parametrize("long", [False, True], ids=["rendered whole", "rendered while it is sent"])
def test_it_plays_while_it_is_fetched_and_seeks_by_ranges(
    service: Town, visitor: Callable[..., Page], long: bool
) -> None:
    service.daemon.long = long
    page = open_call(service, visitor)
    ranges: list[str] = []
    page.on("request", lambda asked: ranges.append(asked.headers.get("range", "")) if "/media" in asked.url else None)
    expect(page.locator(".player[data-drawn]")).to_be_visible()
    assert ranges == []  # nobody has listened yet
    page.locator(".wave").focus()
    page.keyboard.press("Space")
    until(page, "document.querySelector('audio').currentTime > 0.3")
    assert ranges[0].startswith("bytes=0-")
    page.keyboard.press("Space")
    until(page, "document.querySelector('audio').paused")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    until(page, "document.querySelector('audio').currentTime == 5")
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    until(page, "Math.abs(document.querySelector('audio').currentTime - 7) < 0.1")
    expect(page.locator(".wave")).to_have_attribute("aria-valuetext", "0:07")


def test_a_click_speed_and_one_channel_alone(service: Town, visitor: Callable[..., Page]) -> None:
    page = open_call(service, visitor)
    expect(page.locator(".player[data-drawn]")).to_be_visible()
    page.get_by_label("Speed").select_option("1.5")
    assert page.evaluate("document.querySelector('audio').playbackRate") == 1.5
    page.get_by_label("Hear").select_option("right")
    expect(page.locator(".player")).to_have_attribute("data-hears", "right")
    page.locator(".wave").focus()
    page.keyboard.press("Space")
    until(page, "document.querySelector('audio').currentTime > 0.3")
    page.keyboard.press("Space")
    box = page.locator(".wave").bounding_box()
    assert box
    page.mouse.click(box["x"] + box["width"] * 0.75, box["y"] + 20)
    until(page, "Math.abs(document.querySelector('audio').currentTime - 9) < 0.2")


def test_the_player_works_without_a_waveform(service: Town, visitor: Callable[..., Page]) -> None:
    service.daemon.peaks = b"nonsense"
    page = visitor(Role.LISTENER)
    page.goto(f"/calls/{service.ids['acme'][-1]}")
    expect(page.get_by_text("The waveform cannot be shown.")).to_be_visible()
    expect(page.locator(".wave")).to_be_hidden()
    page.evaluate("document.querySelector('audio').play()")
    until(page, "document.querySelector('audio').currentTime > 0.3")


def test_the_policy_allows_only_the_style_of_the_waveform(service: Town, visitor: Callable[..., Page]) -> None:
    page = open_call(service, visitor, watched=False)
    until(page, "document.querySelector('.player').dataset.drawn !== undefined")
    until(page, "document.querySelector('.wave > div').shadowRoot.styleSheets.length == 1")
    added = "(() => { const it = document.createElement('style'); document.head.append(it); return it.sheet; })()"
    assert page.evaluate(added) is None
    policies = {page.request.get(page.url).headers["content-security-policy"] for _ in range(2)}
    assert len(policies) == 2 and all("unsafe" not in each and each.count("nonce-") == 1 for each in policies)
    assert "nonce" not in page.request.get("/calls").headers["content-security-policy"]


TONES = (400, 1000, 2200)  # Hz, one for each channel
EAR = """
const connect = AudioNode.prototype.connect;
AudioNode.prototype.connect = function (to, ...more) {
  if (to instanceof AudioDestinationNode) {
    const ear = to.context.createAnalyser();
    connect.call(this, ear);
    window.ear = ear;
  }
  return connect.call(this, to, ...more);
};
window.hears = () => {
  if (!window.ear) return [];
  const bins = new Float32Array(ear.frequencyBinCount);
  ear.getFloatFrequencyData(bins);
  const step = ear.context.sampleRate / ear.fftSize;
  return [400, 1000, 2200].filter((tone) => bins[Math.round(tone / step)] > -50);
};
"""
"""Listens to what goes to the loudspeakers."""


def three_channels() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(3)
        out.setsampwidth(2)
        out.setframerate(8000)
        turn = [2 * math.pi * tone / 8000 for tone in TONES]
        samples = [int(6000 * math.sin(at * each)) for at in range(SECONDS * 8000) for each in turn]
        out.writeframes(b"".join(sample.to_bytes(2, "little", signed=True) for sample in samples))
    return file.getvalue()


def test_three_channels_are_heard_together_and_each_alone(service: Town, visitor: Callable[..., Page]) -> None:
    call = service.ids["acme"][-2]
    calls = service.customers["acme"].calls
    row = service.run(calls.get(call))
    streams = row.details["streams"]
    third = {**streams[0], "label": "3", "party": None}
    changed = replace(row, details={**row.details, "streams": [*streams, third]})
    service.run(calls.put([changed], [()]))
    service.daemon.sound, service.daemon.peaks = three_channels(), peaks()
    page = visitor(Role.LISTENER)
    page.add_init_script(EAR)
    page.goto(f"/calls/{call}")
    page.evaluate("document.querySelector('audio').play()")
    until(page, "window.hears().join() === '400,1000,2200'")
    for number, tone in enumerate(TONES):
        page.get_by_label("Hear").select_option(str(number))
        until(page, f"window.hears().join() === '{tone}'")
    page.get_by_label("Hear").select_option("all")
    until(page, "window.hears().join() === '400,1000,2200'")


def test_a_recorder_that_is_busy_is_asked_again(service: Town, visitor: Callable[..., Page]) -> None:
    service.daemon.peaks = peaks()
    page = visitor(Role.LISTENER)
    page.goto(f"/calls/{service.ids['acme'][-5]}")  # nothing of it was rendered for others a moment ago
    expect(page.locator(".player[data-drawn]")).to_be_visible()
    service.daemon.cannot, service.daemon.later = "no turn", True
    page.evaluate("document.querySelector('audio').play().catch(() => {})")
    expect(page.get_by_text("busy with other recordings")).to_be_visible()
    service.daemon.cannot = None
    until(page, "document.querySelector('audio').currentTime > 0.3")
    expect(page.get_by_text("busy with other recordings")).to_be_hidden()
