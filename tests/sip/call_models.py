"""Pictures of a call after what arrived, and what the tests ask about them."""

from sip.message.message import Request
from sip.siprec.call_model import CallModel
from sip.siprec.document import parse
from tests.plain_values import plain
from tests.sip.metadata_documents import T0, T1, T2

ANNA, BEN, CLEO = (
    ("pA==", "sip:anna@example.org", "Anna"),
    ("pB==", "sip:+4930555@example.org", "Ben"),
    ("pC==", "sip:+4930777@example.org", "Cleo"),
)


def seen(*arrivals: bytes | Request) -> CallModel:
    """Give the picture after these documents and requests, half a minute apart."""
    picture = CallModel()
    for arrival, now in zip(arrivals, (T0, T1, T2), strict=False):
        if isinstance(arrival, bytes):
            picture.apply(parse(arrival), now)
        else:
            picture.apply_request(arrival, now)
    return picture


def heard(picture: CallModel, *labels: str | None) -> list[list[str | None]]:
    """Give the addresses of the owners of these lines."""
    parties = picture.parties()
    return [[plain(parties[i].uri) for i in owner.parties] for owner in picture.owners(labels)]


def roles(picture: CallModel) -> list[tuple[str, str | None, str | None]]:
    return [(party.role.value, plain(party.name), plain(party.number)) for party in picture.parties()]
