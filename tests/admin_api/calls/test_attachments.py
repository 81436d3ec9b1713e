"""Transcripts and chats: taken, shown with the call, handed out to those who may hear."""

import secrets

import pytest

from tests.admin_api.calls.test_playback import erase
from tests.in_process.api_service import RESET

UNKNOWN = "00000000-0000-4000-8000-000000000000"
VTT = b"WEBVTT\n\n00:00.000 --> 00:01.000\nHello\n"


def attach(service, data, kind="text/vtt", call=None, query="", role="admin"):
    path = f"/calls/{call or service.ids['acme'][0]}/attachments{query}"
    return service.ask(path, role, method="POST", content=data, headers={"Content-Type": kind})


@pytest.mark.parametrize(
    ("data", "kind", "query"),
    [
        (VTT, "text/vtt; charset=utf-8", "?title=Minutes&language=en"),
        (b"\xef\xbb\xbf" + VTT, "text/vtt", ""),
        (b'[{"text": "Hello"}]', "application/json", "?kind=chat"),
    ],
)
def test_an_attachment_is_returned_as_uploaded(service, data, kind, query):
    made = attach(service, data, kind, query=query)
    assert made.status_code == 201
    shown = service.ask(f"/calls/{service.ids['acme'][0]}").json()["attachments"]
    assert made.json() in shown
    file = service.ask(f"/calls/{service.ids['acme'][0]}/attachments/{made.json()['id']}", "listener")
    assert file.content == data
    assert file.headers["content-type"].startswith(made.json()["media_type"])
    assert file.headers["content-disposition"].startswith("attachment")


def test_the_head_of_an_attachment_says_its_length(service):
    made = attach(service, VTT).json()["id"]
    head = service.ask(f"/calls/{service.ids['acme'][0]}/attachments/{made}", method="HEAD")
    assert head.status_code == 200 and head.headers["content-length"] == str(len(VTT)) and not head.content


def test_an_attachment_ends_when_its_call_is_erased(service):
    call = service.ids["beta"][0]
    data = b'"%s"' % secrets.token_hex(15 << 20).encode()
    path = f"/api/v1/customers/beta/calls/{call}/attachments"
    headers = {"Authorization": f"Bearer {service.tokens['beta']['admin']}"}
    sent = {"content": data, "headers": {**headers, "Content-Type": "application/json"}}
    made = service.client.post(path, **sent).raise_for_status().json()["id"]
    with service.client.stream("GET", f"{path}/{made}", headers=headers) as answer:
        blocks = answer.iter_raw(1 << 16)
        next(blocks)
        erase(service, call, "beta")
        assert not service.customers["beta"].vault.in_use.any()
        with pytest.raises(RESET):
            b"".join(blocks)


def test_an_attachment_is_found_with_its_own_call_only(service):
    own, other, _ = service.ids["acme"]
    made = attach(service, VTT, role="privacy").json()["id"]
    assert service.ask(f"/calls/{own}/attachments/{made}", "privacy").status_code == 403  # may attach, and reads none
    for call, part in ((other, made), (own, UNKNOWN), (own, "x"), (UNKNOWN, UNKNOWN), (UNKNOWN, "x")):
        assert service.ask(f"/calls/{call}/attachments/{part}").status_code == 404
    for call in (UNKNOWN, service.ids["beta"][0]):
        assert attach(service, VTT, call=call).status_code == 404


@pytest.mark.parametrize(
    ("data", "kind", "query"),
    [
        (b"hello", "text/vtt", ""),
        (b"{", "application/json", ""),
        (b"[NaN]", "application/json", ""),
        (b"[" * 100_000, "application/json", ""),
        (b"\xff", "application/json", ""),
        (VTT, "text/plain", ""),
        (VTT, "text/vtt", "?kind=song"),
        (VTT, "text/vtt", "?language=x_y"),
        (VTT, "text/vtt", f"?title={'x' * 201}"),
        (VTT, "text/vtt", "?other=1"),
    ],
)
def test_an_invalid_attachment_is_refused(service, data, kind, query):
    answer = attach(service, data, kind, query=query)
    assert answer.status_code == 422
    assert service.acts()[-1]["outcome"] == "refused"
