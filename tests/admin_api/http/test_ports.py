"""The protocol of the daemon can be met, and what it hands over is plain."""

from admin_api.http.ports import CannotRender, Desk, Rendered


def test_the_recording_fake_is_a_desk(service):
    desk: Desk = service.desk
    assert desk.document("acme", "x") is None
    assert desk.not_ready() is None


def test_what_is_rendered():
    assert Rendered(7, 10, "audio/wav").size == 10
    assert str(CannotRender("No audio.")) == "No audio."
