"""Replaces (RFC 3891): which dialog a new INVITE names, and whether it may take its place."""

import pytest

from sip.errors import MalformedValue, RemoteError
from sip.message.replaces import Replaces
from sip.ua.events import Dropped, Refused
from sip.ua.session import MAX_ENDED
from tests.sip.memory_client import UDP, Noise, Story, established, statuses

OLD = "call-1@client.example"


def named(tag: str, *, call_id: str = OLD, from_tag: str = "client", more: str = "") -> str:
    """The header that names a dialog by our tag."""
    return f"Replaces: {call_id};to-tag={tag};from-tag={from_tag}{more}"


def asked(story: Story, *lines: str) -> Replaces:
    """What a second INVITE with these lines names."""
    session = story.session
    story.another()
    found = story.invited(*lines).replaces
    story.session = session
    assert found is not None
    return found


def fate(story: Story, what: Replaces, owner: str = "") -> tuple[int, str]:
    """What is answered to who wants to replace."""
    with pytest.raises(RemoteError) as refused:
        story.endpoint.replaced(what, owner, UDP)
    return refused.value.status, refused.value.code


UNKNOWN, ENDED = (481, "replaces-unknown"), (603, "replaces-ended")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a@b;to-tag=1;from-tag=2", Replaces("a@b", "1", "2")),
        (" a@b ; from-tag = 2 ; x=y ; To-Tag=1;early-only", Replaces("a@b", "1", "2", early_only=True)),
        ("<x>/(1)?;to-tag=1;from-tag=0;early-only=no", Replaces("<x>/(1)?", "1", "0", early_only=True)),
    ],
)
def test_a_dialog_is_named_by_call_id_and_both_tags(text: str, value: Replaces):
    assert Replaces.parse(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a@b",
        "a@b;to-tag=1",
        "a@b;from-tag=2",
        ";to-tag=1;from-tag=2",
        "a b;to-tag=1;from-tag=2",
        "a@b;to-tag=1;to-tag=1;from-tag=2",
        "a@b;to-tag=1;from-tag=2;from-tag=3",
        "a@b;to-tag;from-tag=2",
        "a@b;to-tag=1;from-tag=",
        "a@b;to-tag=1;from-tag=2, c@d;to-tag=1;from-tag=2",
    ],
)
def test_anything_else_is_no_name(text: str):
    with pytest.raises(MalformedValue):
        Replaces.parse(text)


@pytest.mark.parametrize(
    "lines",
    [
        ("Require: replaces", "Replaces: a@b;to-tag=1"),
        ("Replaces: a@b;to-tag=1;from-tag=2", "Replaces: a@b;to-tag=1;from-tag=2"),
        ("Replaces: a@b;to-tag=1;from-tag=2", "Join: a@b;to-tag=1;from-tag=2"),
        ("Require: replaces, foo", "Replaces: a@b"),
    ],
)
def test_an_unreadable_or_conflicting_replaces_gets_400(lines: tuple[str, ...]):
    story = Story()
    assert statuses(story.say(story.invite(*lines))) == [400]
    (refused,) = story.events()
    assert isinstance(refused, Refused)
    assert refused.reason == "replaces"


@pytest.mark.parametrize("value", ["", "a@b", "a%40b%3Bto-tag%3D1%3Bfrom-tag%3D2", "a@b;to-tag=@;from-tag=2"])
def test_an_unreadable_optional_replaces_is_ignored(value: str):
    """As one from a Refer-To whose escapes were left."""
    assert Story().invited("Supported: replaces", f"Replaces: {value}").replaces is None


def test_outside_of_one_any_other_method_than_invite_is_400():
    story = Story()
    assert statuses(story.say(story.request("OPTIONS", named("1")))) == [400]


def test_an_ack_is_taken_whatever_it_carries():
    story = Story()
    story.answered()
    story.say(story.request("ACK", named(story.session)))
    assert not [e for e in story.events() if isinstance(e, Dropped)]
    assert story.wait(40) == []  # the 200 is not repeated


@pytest.mark.parametrize("require", ["Require: replaces", "Supported: replaces"])
def test_a_named_dialog_is_found_and_continues(require: str):
    story = established()
    what = asked(story, require, named(story.session))
    assert story.endpoint.replaced(what, "", UDP) == story.session
    assert story.session in story.endpoint.sessions()
    assert story.hear() == []


@pytest.mark.parametrize(
    "change",
    [
        {"call_id": "call-9@client.example"},
        {"from_tag": "other"},
        {"from_tag": "0"},
        {"from_tag": "CLIENT"},
        {"tag": "a5"},
    ],
)
def test_a_replaces_with_one_wrong_value_gets_481(change: dict[str, str]):
    story = established()
    assert fate(story, asked(story, named(**{"tag": story.session, **change}))) == UNKNOWN


def test_a_client_without_a_tag_is_named_by_zero():
    story = Story()
    story.sender = "<sip:sbc@192.0.2.1>"
    story.established()
    story.sender = "<sip:sbc@192.0.2.1>;tag=new"
    assert story.endpoint.replaced(asked(story, named(story.session, from_tag="0")), "", UDP) == story.session


def test_a_replaces_of_a_foreign_dialog_gets_481():
    story = established()
    story.endpoint.own(story.session, "acme")
    bye = story.request("BYE")
    what = asked(story, named(story.session))
    assert fate(story, what, "globex") == UNKNOWN
    assert story.endpoint.replaced(what, "acme", UDP) == story.session
    story.say(bye)
    for _ in range(2):
        assert (fate(story, what, "globex"), fate(story, what, "acme")) == (UNKNOWN, ENDED)
        story.wait(60)  # confirmed and forgotten, but for its name
        assert story.session not in story.endpoint.sessions()


def test_a_dialog_we_hang_up_counts_as_ended_at_once():
    story = Story()
    story.answered()
    what = asked(story, named(story.session))
    assert story.endpoint.replaced(what, "", UDP) == story.session  # our 200 confirms it
    assert story.hang_up("policy") == []  # it waits for the ACK
    assert fate(story, what) == ENDED


def test_a_replaces_of_an_unanswered_dialog_gets_481():
    story = Story()
    old = story.invited()
    what = asked(story, named(old.session))
    assert fate(story, what) == UNKNOWN
    story.endpoint.refuse(old.token, 488, story.now)
    assert fate(story, what) == UNKNOWN


def test_early_only_asks_for_a_dialog_that_is_not_confirmed_486():
    story = established()
    assert fate(story, asked(story, named(story.session, more=";early-only"))) == (486, "replaces-early-only")


def test_remembered_ended_dialogs_are_bounded():
    story = established()
    first = story.session
    for n in range(MAX_ENDED + 1):
        if n:
            story.another()
            story.established()
        (bye,) = story.hang_up("policy")
        story.say(story.reply(bye, 200))
        story.events()
    assert fate(story, Replaces(OLD, first, "client")) == UNKNOWN
    assert fate(story, Replaces(story.call_id, story.session, "client")) == ENDED


def test_a_dialog_of_before_a_restart_is_found():
    noise = Noise()  # no tag comes twice
    story, after = Story(random=noise), Story(random=noise)
    after.session = after.endpoint.restore(story.endpoint.export(story.established()), after.now)
    after.endpoint.own(after.session, "acme")
    what = asked(after, named(after.session))
    assert after.endpoint.replaced(what, "acme", UDP) == after.session
    assert fate(after, what, "globex") == UNKNOWN


def test_an_invite_that_names_none_says_so():
    assert Story().invited("Require: replaces").replaces is None
