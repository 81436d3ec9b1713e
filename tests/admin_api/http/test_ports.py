"""The protocol of the daemon can be met, and what it hands over is plain."""

from admin_api.http.messages import Message
from admin_api.http.ports import CannotRender, Daemon, Rendered


def test_the_recording_fake_implements_the_desk_protocol(service):
    daemon: Daemon = service.daemon
    assert daemon.document("acme", "x") is None
    assert daemon.not_ready() is None


def test_a_rendered_file_has_a_size_and_an_error_a_text():
    assert Rendered(7, 10, "audio/wav").size == 10
    assert str(CannotRender(Message("problem.no-audio", "No audio."))) == "No audio."
