"""Sound, its picture and attachments go through the page as the API gives them."""

from admin_api.http.permissions import Role
from tests.in_process.api_service import SOUND


def test_sound_and_its_picture_come_as_from_the_api(service, browse):
    browser, place = browse(Role.LISTENER), f"/calls/{service.ids['acme'][0]}"
    whole = browser.get(f"{place}/media")
    assert (whole.content, whole.headers["content-type"]) == (SOUND, "audio/wav")
    assert whole.headers["cache-control"] == "no-store" and whole.headers["accept-ranges"] == "bytes"
    part = browser.get(f"{place}/media?format=wav", headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, SOUND[100:200])
    act = service.acts()[-1]
    assert (act["actor"], act["action"], act["object"]) == ("Grace", "call.media", service.ids["acme"][0])
    answer = browser.get(f"{place}/media?format=peaks")
    assert answer.status_code == 422 and answer.headers["content-type"] == "application/problem+json"
    assert browser.get(f"{place}/waveform").json()["channels"][0]["peaks"] == [0, 900, 30]
    service.daemon.asked.clear()
    for path in ("media", "waveform", "attachments/x"):
        assert browse(Role.PRIVACY).get(f"{place}/{path}").status_code == 404
    assert service.daemon.asked == []


def test_a_player_that_seeks_is_written_down_once_a_minute(service, browse):
    browser, call = browse(Role.LISTENER), service.ids["acme"][0]
    before = len(service.acts())
    for begin in (5000, 6000, 7000):  # the first look is written down wherever it begins
        assert browser.get(f"/calls/{call}/media", headers={"Range": f"bytes={begin}-"}).status_code == 206
    assert len(service.acts()) == before + 1
    browser.get(f"/calls/{call}/media", headers={"Range": "bytes=0-"})
    browser.get(f"/calls/{call}/media")
    assert len(service.acts()) == before + 3


def test_unavailable_media_answer_with_a_page_or_a_problem(service, browse, monkeypatch):
    monkeypatch.setattr(service.daemon, "cannot", "no turn")
    monkeypatch.setattr(service.daemon, "later", True)
    place = f"/calls/{service.ids['acme'][2]}/media"
    page = browse(Role.LISTENER).get(place, headers={"Sec-Fetch-Mode": "navigate"})
    assert page.status_code == 503 and "<h1>" in page.text and page.headers["retry-after"]
    document = browse(Role.LISTENER).get(place, headers={"Sec-Fetch-Mode": "no-cors"})
    assert (document.status_code, document.headers["content-type"]) == (503, "application/problem+json")


def test_an_attachment_is_saved_and_not_shown(service, browse):
    place, data = f"/calls/{service.ids['acme'][1]}/attachments", b'{"text": "<script>"}'
    sent = {"content": data, "headers": {"Content-Type": "application/json"}}
    id = service.ask(f"{place}?kind=chat", "privacy", method="POST", **sent).json()["id"]
    answer = browse(Role.LISTENER).get(f"{place}/{id}")
    assert answer.content == data and answer.headers["content-disposition"].startswith("attachment;")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert browse(Role.LISTENER).get(f"{place}/x").status_code == 404
