"""Dialogs of RFC 3261 section 12."""

from typing import Any

from sip.message.message import parse
from sip.ua.dialog import Dialog, Order
from tests.sip.memory_client import Story


def made(*lines, **kw):
    request: Any = parse(Story().invite(*lines, **kw))
    return Dialog.accept(request, "<sip:rec@192.0.2.10>;tag=us", "us")


def sent(dialog):
    return parse(dialog.request("BYE", 1, "SIP/2.0/UDP h;branch=z9hG4bKx", "", "", b"", ""))


def test_our_request_goes_to_the_contact_with_swapped_tags():
    dialog = made()
    assert (dialog.call_id, dialog.local_tag, dialog.remote_tag) == ("call-1@client.example", "us", "client")
    bye = sent(dialog)
    assert bye.uri == dialog.target == "sip:sbc@192.0.2.1:5070"
    assert bye.headers.get("From") == "<sip:rec@192.0.2.10>;tag=us"
    assert bye.headers.get("To") == "<sip:sbc@192.0.2.1>;tag=client"


def test_a_number_is_new_repeated_or_old():
    dialog = made()
    assert [dialog.admit(n) for n in (1, 3, 3, 2)] == [Order.REPEATED, Order.NEW, Order.REPEATED, Order.OLD]
    assert dialog.remote_cseq == 3


def test_loose_routes_are_kept_in_order():
    """Duty S7."""
    dialog = made("Record-Route: <sip:p1.example;lr>, <sip:p2.example;lr>")
    assert sent(dialog).headers.all("Route") == ["<sip:p1.example;lr>", "<sip:p2.example;lr>"]
    assert dialog.next_hop() == "sip:p1.example;lr"


def test_a_strict_router_becomes_the_request_uri():
    bye = sent(made("Record-Route: <sip:old.example>", "Record-Route: <sip:p2.example;lr>"))
    assert bye.uri == "sip:old.example"
    assert bye.headers.all("Route") == ["<sip:p2.example;lr>", "<sip:sbc@192.0.2.1:5070>"]


def test_a_damaged_contact_keeps_the_known_target():
    assert made(contact="<sip192.168.1.1:5060>;+sip.src").target == "sip:sbc@192.0.2.1"
    dialog = made()
    for contact in ("<sip:new@192.0.2.9>", "<http://x>"):
        dialog.retarget(parse(Story().invite(contact=contact)).headers)
        assert dialog.target == "sip:new@192.0.2.9"


def test_sips_makes_the_dialog_secure():
    """Duty S7."""
    assert made(uri="sips:rec@192.0.2.10").secure
    assert not made().secure
