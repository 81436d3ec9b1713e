"""What the RFCs make of one dialog, in the fewest words: a judge for the endpoint that shares nothing with it.

It knows no bytes. A response is "STATUS METHOD CSEQ", a request of the recorder "METHOD CSEQ"; `said` holds both with
their time, `told` the names of the events that the user of the endpoint gets. Sections are of RFC 3261 unless named.
Five points are the recorder's own choice where the RFCs leave one:
* a re-INVITE or UPDATE shows that the peer lives, so the session interval counts from it even if it is refused;
* a refresh of ours that was refused is tried again halfway to the end of the session, unless that is near;
* an offer of ours that met another (491) goes out as soon as the way is free, at the latest after the wait, and not at
  all once an offer of the peer was taken: that answer is newer;
* a request that still waits for its answer when the dialog ends, by whomever, is answered 487 (15.1.2 says so of a BYE
  received).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import count

T1, T2, T4, LIFE, TRYING, RINGING = 0.5, 4.0, 5.0, 32.0, 0.2, 180.0
GLARE_WAIT = 1.0  # half of the longest wait of section 14.1: what the endpoint's randomness is made to give
INTERVAL, MARGIN = 90.0, 30.0  # Session-Expires of the test, and a third of it (RFC 4028 section 10)
CONFIRM, LAST_REFRESH = 5.0, 10.0


def pauses(now: float, longest: float) -> list[float]:
    """Say when a message is repeated: after T1, then twice as long each time up to a longest pause."""
    gap, at, times = T1, now + T1, []
    while at < now + LIFE:
        times.append(at)
        gap = min(2 * gap, longest)
        at += gap
    return times


@dataclass
class Served:
    """A request of the peer and what was answered."""

    method: str
    cseq: int
    last: str = ""
    kept: bool = True  # False: an ACK came, repetitions of the request are only absorbed


class Model:
    """One dialog from the first INVITE to the end of its last transaction."""

    def __init__(
        self, now: float, branch: str, cseq: int, *, offered: bool, reliable: bool, timer: str, update: bool
    ) -> None:
        self.now = now
        self.said: list[tuple[float, str]] = []
        self.told: list[str] = ["Invited"]
        self.agenda: dict[str, list[tuple[float, int, Callable[[], None]]]] = {}
        self.numbers = count()
        self.reliable, self.timer, self.takes_update = reliable, timer, update
        self.asked_timer = timer  # what every INVITE and UPDATE of the peer asks for
        self.stage = "asked"  # up, leaving (their BYE waits), parting (ours does), over
        self.turn, self.highest = "", cseq  # whose offer is open: ours, theirs; the newest CSeq of the peer
        self.served: dict[str, Served] = {}
        self.unacked = -1
        self.wanted = self.must_part = self.offered = False
        self.mine = 0
        self.open: dict[int, str] = {}
        self.heard: set[int] = set()  # those that got a provisional response
        self.finished: dict[int, bool | None] = {}  # INVITEs of ours by CSeq: answered 2xx or not; None: long ago
        self.question = ""  # branch of the request that waits for the user
        self._ask(branch, "INVITE", cseq, offered)

    # Time.

    def pass_until(self, end: float) -> None:
        """Let everything happen that is due, in order."""
        while due := [
            (*entries[0][:2], key) for key, entries in self.agenda.items() if entries and entries[0][0] <= end
        ]:
            self.now, _, key = min(due)
            self.agenda[key].pop(0)[2]()
        self.now = end

    def _later(self, key: str, times: Iterable[float], do: Callable[[], None]) -> None:
        self.agenda[key] = [(at, next(self.numbers), do) for at in times]

    def _never(self, *keys: str) -> None:
        for key in keys:
            self.agenda.pop(key, None)

    def _say(self, text: str) -> None:
        self.said.append((self.now, text))

    def is_quiet(self) -> bool:
        """Nothing waits for anybody."""
        waits = self.question or self.turn or self.open or self.wanted or self.must_part or self.unacked >= 0
        return self.stage in ("up", "over") and not waits

    def restarted(self) -> None:
        """Of a quiet dialog a successor knows everything but the transactions that are over.

        The peer's refresh may have been lost meanwhile: its repetitions get a chance.
        """
        for branch in list(self.served):
            self._never(f"forget {branch}")
            self._forget(branch)
        self.finished = dict.fromkeys(self.finished)
        if self.agenda.get("expire"):
            end = self.agenda["expire"][0][0]
            self._later("expire", [max(self.now + LIFE, end)], self._expired)
            if self.timer == "uas":
                self._later("refresh", [max(self.now, end - INTERVAL / 2 + MARGIN)], self._refresh)

    # Server transactions (17.2, RFC 6026).

    def _begin(self, branch: str, method: str, cseq: int) -> None:
        self.served[branch] = Served(method, cseq)
        if method == "INVITE":
            self._later(f"trying {branch}", [self.now + TRYING], lambda: self._respond(branch, 100))

    def _respond(self, branch: str, status: int) -> None:
        one = self.served[branch]
        one.last = f"{status} {one.method} {one.cseq}"
        self._say(one.last)
        if status < 200:
            return
        self._never(f"trying {branch}")
        self._later(f"forget {branch}", [self.now + LIFE], lambda: self._forget(branch))
        if one.method == "INVITE" and status >= 300 and not self.reliable:
            self._later(f"repeat {branch}", pauses(self.now, T2), lambda: self._say(one.last))

    def _forget(self, branch: str) -> None:
        self._never(f"repeat {branch}")
        self.served.pop(branch, None)

    def repeated(self, branch: str) -> None:
        """The peer sends a request again: the same answer again, never another effect."""
        one = self.served[branch]
        if one.last and one.kept:
            self._say(one.last)

    def acknowledged(self, branch: str) -> None:
        """ACK of a response that was not 2xx."""
        self._never(f"repeat {branch}")
        if self.served[branch].kept:
            self._later(f"forget {branch}", [self.now + T4], lambda: self._forget(branch))
        self.served[branch].kept = False

    def refused(self, branch: str, method: str, cseq: int, status: int) -> None:
        """A request that is refused at once; only an INVITE needs a transaction for it."""
        self._begin(branch, method, cseq)
        self._respond(branch, status)
        if method != "INVITE":
            self._never(f"forget {branch}")
            self.served.pop(branch)

    # Requests of the peer.

    def cancelled(self, branch: str, cseq: int) -> None:
        """CANCEL (9.2): known by its branch; without effect once there is a final answer."""
        self._say(f"{200 if branch in self.served else 481} CANCEL {cseq}")
        if branch not in self.served or self.question != branch:
            return
        if self.stage == "asked":
            self._end_before_it_began()
        else:
            self._withdraw()
            self._catch_up()

    def received(self, branch: str, method: str, cseq: int, *, offer: bool = False) -> None:
        """A new request in the dialog (12.2.2, 14.2, 15.1.2, RFC 3311 5.2)."""
        if self.stage == "over":
            self.refused(branch, method, cseq, 481)
            return
        self._begin(branch, method, cseq)
        if cseq < self.highest:
            self._respond(branch, 500)
            return
        self.highest = cseq
        if self.stage == "asked":
            self._respond(branch, 200 if method == "BYE" else 500)
            if method == "BYE":
                self._end_before_it_began()
        elif self.stage == "parting" and method == "BYE":
            self.told.append("Informed")
            self._respond(branch, 200)
            self._over()
        elif self.stage != "up":
            self._respond(branch, 481)
        elif method == "BYE":
            self._leave(branch)
        elif method in ("INVITE", "UPDATE"):
            self._change(branch, method, cseq, offer)
        else:
            self._respond(branch, 481 if method == "PRACK" else 200)
            self.told += ["Informed"] if method == "INFO" else []

    def _change(self, branch: str, method: str, cseq: int, offer: bool) -> None:
        if (offer or method == "INVITE") and self.question:
            self._respond(branch, 500)
        elif (offer or method == "INVITE") and self.turn == "ours":
            self._respond(branch, 491)
        elif offer:
            self.timer = self.asked_timer
            self._count_interval()
            self.turn = "theirs"
            self._ask(branch, method, cseq, offer, begun=True)
            self.told.append("Reoffered")
        else:
            self.timer = self.asked_timer
            self._count_interval()
            self._respond(branch, 200)
            self.told.append("Informed")
            if method == "INVITE":
                self.turn = "ours"
                self._await_ack(cseq, branch)

    def _leave(self, branch: str) -> None:
        self._withdraw()
        self.stage, self.unacked = "leaving", -1
        self._never("200", "no ack", "refresh", "expire", "retry")
        self.question = branch
        self._later("confirm", [self.now + CONFIRM], self.confirmed)
        self.told.append("HungUp")

    def ack(self, cseq: int) -> None:
        """ACK of a 2xx (13.2.2.4)."""
        if cseq != self.unacked:
            return
        self._never("200", "no ack")
        for one in self.served.values():  # a copy of the INVITE is absorbed from now on (RFC 6026 section 7.1)
            one.kept = one.kept and not (one.method == "INVITE" and one.cseq == cseq and one.last[:1] == "2")
        self.unacked = -1
        self.turn = "" if self.turn == "ours" else self.turn
        self.told.append("Acknowledged")
        self._catch_up()

    # The user.

    def _ask(self, branch: str, method: str, cseq: int, offered: bool, *, begun: bool = False) -> None:
        if not begun:
            self._begin(branch, method, cseq)
        self.question, self.offered = branch, offered

    def accepted(self) -> None:
        """The user takes the offer that waits."""
        branch, self.question = self.question, ""
        one = self.served[branch]
        self._respond(branch, 200)
        self.turn, self.wanted = ("", False) if self.offered else ("ours", self.wanted)
        self.stage = "up"
        self._count_interval()
        if one.method == "INVITE":
            self._await_ack(one.cseq, branch)
        self._catch_up()

    def declined(self, status: int) -> None:
        """The user refuses the offer that waits: no session, or the session as it was (14.2)."""
        branch, self.question = self.question, ""
        self.turn = ""
        self._respond(branch, status)
        if self.stage == "asked":
            self._over()
        else:
            self._catch_up()

    def confirmed(self) -> None:
        """The user has everything of a call that was hung up."""
        branch, self.question = self.question, ""
        self._respond(branch, 200)
        self._over()

    def hung_up(self) -> None:
        """The user ends the call (15: not before the ACK of our first 2xx)."""
        if self.stage == "asked":
            self.declined(503)
        elif self.stage == "up" and self.unacked >= 0:
            self.must_part = True
        elif self.stage == "up":
            self._part()

    def reoffered(self) -> None:
        """The user has an offer for the peer."""
        if self.stage == "up":
            self.wanted = True
            self._catch_up()

    # What follows.

    def _await_ack(self, cseq: int, branch: str) -> None:
        """13.3.1.4: the 2xx again until its ACK, on every transport; after 32 s BYE."""
        self.unacked = cseq
        last = self.served[branch].last
        self._later("200", pauses(self.now, T2), lambda: self._say(last))
        self._later("no ack", [self.now + LIFE], self._expired)

    def _expired(self) -> None:
        self.told.append("Expired")
        self._part()

    def _catch_up(self) -> None:
        if self.stage != "up" or self.unacked >= 0:
            return
        if self.must_part:
            self._part()
        elif self.wanted and not self.turn and not self.question:
            self._never("retry")
            self.wanted, self.turn = False, "ours"
            self._request("INVITE")

    def _withdraw(self) -> None:
        branch, self.question = self.question, ""
        if branch:
            self.turn = "" if self.turn == "theirs" else self.turn
            self._respond(branch, 487)
            self.told.append("Withdrawn")

    def _end_before_it_began(self) -> None:
        branch, self.question = self.question, ""
        self._respond(branch, 487)
        self.told.append("Cancelled")
        self._over()

    def _part(self) -> None:
        self._withdraw()
        self._never("200", "no ack", "refresh", "expire", "retry")
        self.stage, self.unacked, self.wanted = "parting", -1, False
        self._request("BYE")

    def _over(self) -> None:
        self._never("200", "no ack", "refresh", "expire", "retry", "confirm")
        self.stage, self.unacked, self.wanted = "over", -1, False
        self.told.append("Closed")

    def _gone(self) -> None:
        """The peer knows the dialog no more (12.2.1.2)."""
        self._withdraw()
        self.told.append("Expired")
        self._over()

    def _count_interval(self) -> None:
        """RFC 4028 section 10."""
        if self.timer:
            self._later("expire", [self.now + INTERVAL - MARGIN], self._expired)
        if self.timer == "uas":
            self._later("refresh", [self.now + INTERVAL / 2], self._refresh)

    def _refresh(self) -> None:
        if self.takes_update:
            self._request("UPDATE")
        else:
            self.reoffered()

    def _refresh_again(self) -> None:
        left = self.agenda["expire"][0][0] - self.now if self.timer == "uas" else 0.0
        if left > LAST_REFRESH and not self.agenda.get("refresh"):
            self._later("refresh", [self.now + left / 2], self._refresh)

    # Requests of ours (17.1).

    def _request(self, method: str) -> None:
        self.mine += 1
        number = self.mine
        self.open[number] = method
        self._say(f"{method} {number}")
        if not self.reliable:
            times = pauses(self.now, LIFE if method == "INVITE" else T2)
            self._later(f"again {number}", times, lambda: self._say(f"{method} {number}"))
        self._later(f"give up {number}", [self.now + LIFE], lambda: self._unanswered(number))

    def rerouted(self, numbers: Iterable[int]) -> None:
        """The connection of these requests broke: what has no answer goes out once more, another way (18.4)."""
        for number in numbers:
            if number in self.open:
                self._say(f"{self.open[number]} {number}")

    def _unanswered(self, number: int) -> None:
        self._never(f"again {number}")
        method = self.open.pop(number)
        if method == "BYE":
            if self.stage == "parting":
                self._over()
        elif self.stage == "up" and number in self.heard:
            self._told_by(method, 487)
        elif self.stage == "up":
            self._expired()

    def _cancel(self, number: int) -> None:
        """No final response for long after a provisional one: 9.1, and 16.6 for how long."""
        self._say(f"CANCEL {number}")
        if not self.reliable:
            self._later(f"cancel {number}", pauses(self.now, T2), lambda: self._say(f"CANCEL {number}"))
        self._later(f"give up {number}", [self.now + LIFE], lambda: self._unanswered(number))

    def cancel_answered(self, number: int) -> None:
        """The peer knows that we cancelled."""
        self._never(f"cancel {number}")

    def answered(self, number: int, status: int, *, timer: bool = True) -> None:
        """A response of the peer to a request of ours, for the first time or again; `timer`: with Session-Expires."""
        method = self.open.get(number)
        if method is None:
            taken = self.finished.get(number, status >= 300)
            late = taken is None and status < 300 and self.stage == "up"  # the transaction is over, the dialog is not
            if status >= 200 and (taken == (status < 300) or late):
                self._say(f"ACK {number}")
            return
        if status < 200:
            self._never(f"again {number}")
            if number not in self.heard:
                self._later(f"give up {number}", [self.now + RINGING], lambda: self._cancel(number))
            self.heard.add(number)
            return
        del self.open[number]
        self._never(f"again {number}", f"give up {number}")
        if method == "INVITE":
            self._say(f"ACK {number}")
            self.finished[number] = status < 300
            self._later(f"forget {number}", [self.now + LIFE], lambda: self.finished.update({number: None}))
        if method == "BYE" and self.stage == "parting":
            self._over()
        elif self.stage == "up":
            self._told_by(method, status, timer=timer)

    def _told_by(self, method: str, status: int, *, timer: bool = True) -> None:
        if method == "INVITE":
            self.turn = ""
        if status in (408, 481):
            self._gone()
        elif status < 300:
            if not timer:  # RFC 4028 section 7.2
                self.timer = ""
                self._never("refresh", "expire")
            self._count_interval()
        elif (method, status) not in (("INVITE", 491), ("UPDATE", 405), ("UPDATE", 501)):
            self._refresh_again()
        if (method, status) in (("UPDATE", 405), ("UPDATE", 501)):
            self.takes_update = False
            if self.timer == "uas":
                self._refresh()
        elif (method, status) == ("INVITE", 491):
            self.wanted = True
            self._later("retry", [self.now + GLARE_WAIT], self._catch_up)
        elif method == "INVITE" and self.stage == "up":
            self.told.append("Reanswered")
            self._catch_up()
