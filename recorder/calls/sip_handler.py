"""Turn SIP events into events of recordings: find the customer, decide whether to record, find the recording."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, partial
from sys import intern
from typing import TYPE_CHECKING, Any

from recorder.calls.context import Node, Resources
from recorder.calls.executor import Executor
from recorder.calls.live_call import LiveCall
from recorder.calls.liveness import Liveness
from recorder.calls.recordings import Recordings
from recorder.calls.registry import Live
from recorder.calls.replaces import Replacements
from recorder.config.model import Customer as Configured
from recorder.config.value_readers import Siprec, Srtp
from recorder.errors import NotPossible
from recorder.observe.rejections import Challenges, Rejections
from recorder.runtime.disk_thread import DiskAway
from recorder.runtime.invite_rates import Rates, within
from recorder.session import events as e
from recorder.session.session import RETRY_AFTER
from recorder.signalling.customer_lookup import CustomerLookup, normal_address
from recorder.signalling.local_address import LocalAddresses
from sip.errors import RemoteError, SipError
from sip.message import digest
from sip.message.header_values import Flow
from sip.message.message import Request
from sip.sdp.answer import Policy
from sip.transaction.response import Fields
from sip.ua import events as s
from storage.customer.customers import Customer
from storage.errors import StorageError

if TYPE_CHECKING:
    from recorder.calls.membership import Membership

DAY_SECONDS = 86_400

SLOW_DOWN = 5
"""Retry-After in seconds when only the rate was too high: a bucket is full again after two."""


_REFUSED = {digest.Outcome.WRONG: "digest", digest.Outcome.EARLY: "digest-early"}
"""Reasons for which credentials are refused."""
MAX_POLICIES = 256
"""Distinct policies that are cached; a node has a handful."""


class SipHandler:
    """Handles every event of the endpoint."""

    def __init__(
        self,
        node: Node,
        resources: Resources,
        customers: Mapping[str, Customer],
        lookup: CustomerLookup,
        recordings: Recordings,
        rejections: Rejections,
        executor: Executor,
        live: Live,
        membership: Membership | None = None,
    ) -> None:
        """`membership`: None if this is the only node."""
        self._node = node
        self._endpoint = resources.endpoint
        self._disk = resources.disk
        self._storage = resources.storage
        self._customers = customers
        self._lookup = lookup
        self._recordings = recordings
        self._rejections = rejections
        self._membership = membership
        self._endpoint.authorized_by(self._authorize, self._covered, self._elsewhere)
        self._endpoint.refuse_from(self._unserved)
        self._executor = executor
        self._live = live
        self._reachable = LocalAddresses(node.settings.media.bind, node.settings.media.advertise)
        self._by_source, self._by_customer = Rates(), Rates()
        self._closed = node.settings.closed
        self._realms = realms(node.settings.customers)
        self._authenticator = digest.Authenticator(os.urandom(32))
        self._challenges = Challenges()
        self.liveness = Liveness(node, resources.endpoint, resources.workers, live, executor)
        self._replacing = Replacements(self._endpoint, node.now, live, executor)
        self._take: Mapping[type, Callable[[Any], None]] = {
            s.Invited: self._invited,
            s.Reoffered: self._reoffered,
            s.Informed: self._informed,
            s.Acknowledged: self._acknowledged,
            s.Numbered: self._numbered,
            s.Reanswered: self._reanswered,
            s.HungUp: self._hung_up,
            s.Probed: self._probed,
            s.Cancelled: lambda x: self._feed_session(x.session, e.Unwanted()),
            s.Expired: lambda x: self._feed_session(x.session, e.Lost(x.reason.value)),
            s.Closed: lambda x: self._feed_session(x.session, e.Lost("closed")),
            s.Refused: self._refused,
            s.Dropped: lambda x: self._rejections.drop(x.reason, _source(x.flow), self._node.monotonic()),
        }

    def on_event(self, event: s.Event) -> None:
        """Handle one event; the SIP server calls this before it sends what the endpoint has to send.

        Withdrawn needs nothing: requests are answered at once and `accept` reports what was withdrawn.
        """
        take = self._take.get(type(event))
        try:
            if take:
                take(event)
        except Exception as problem:
            self._fault(event, problem)

    def _fault(self, event: s.Event, problem: Exception) -> None:
        """Let a bug end only the call it belongs to, never the daemon; a request is still answered."""
        self._node.log.fault("signalling.fault", problem)
        if isinstance(event, s.Invited | s.Reoffered | s.HungUp):
            self._endpoint.refuse(event.token, 500, self._node.monotonic())
            call = self._live.by_session(event.session)
            name = call.customer.name if call else None
            now, known = self._node.monotonic(), call.id if call else None
            self._rejections.report(event.request.method, 500, "internal", name, None, now, call=known)
            if call:
                self._executor.give_up(call, problem)

    # ---- the first INVITE ----
    def _invited(self, event: s.Invited) -> None:
        name = self._customer(event)
        if name is None:
            self._refuse(event, 403, "no-customer", None)
            return
        if name in self._closed:
            self._refuse(event, 403, "customer-closed", name)
            return
        customer = self._customers.get(name)
        if customer is None:
            self._refuse(event, 503, "customer-away", name, retry_after=RETRY_AFTER)
            return
        if not self._takes(name):
            self._refuse(event, 503, "not-registered", name, retry_after=RETRY_AFTER)
            return
        self._endpoint.own(event.session, customer.name)
        configured = self._node.settings.customer(customer.name)
        if configured is None or not self._in_bounds(event, customer, configured):
            return
        if not self._check_policy(event, customer, configured):
            return
        try:
            old = self._replacing.find(event, customer)
        except RemoteError as problem:
            self._refuse(event, problem.status, problem.code, customer)
            return
        if len(self._live) >= self._node.settings.sip.max_calls or not self._storage.well:
            reason = "full" if self._storage.well else "storage"
            self._refuse(event, 503, reason, customer, retry_after=RETRY_AFTER)
            return
        try:
            offered = self._first(event)
            leaf = self._number(customer)
        except (StorageError, NotPossible) as problem:
            self._storage.trouble(problem)
            reason = "disk" if isinstance(problem, DiskAway) else "storage"
            self._refuse(event, 503, reason, customer, retry_after=RETRY_AFTER)
            return
        except OSError:
            self._refuse(event, 503, "no-route", customer, retry_after=RETRY_AFTER)
            return
        self._node.metrics.sip_marks.labels(event.marks).inc()
        source = intern(normal_address(event.flow.remote[0]))  # a few values shared by all calls
        policy = self._policy(configured, event.flow)
        recording = self._recordings.new(policy, source, swapped=configured.swap_owners)
        call = LiveCall(recording, customer, leaf, event.session, event.flow.transport, replaces=old)
        self._live.add(call)
        self._executor.guarded(call, offered)
        self._executor.load_changed()

    def _number(self, customer: Customer) -> int:
        """Give a new recording its leaf from memory, or from the disk if few leaves are left."""
        day = customer.recording_day(int(self._node.now().wall.timestamp()) // DAY_SECONDS)
        take = partial(customer.keys.allocate, day)
        return self._disk.within(take) if customer.keys.low(day) else take()

    def _in_bounds(self, event: s.Invited, customer: Customer, configured: Configured) -> bool:
        """Refuse what exceeds the limits of its source or customer, before anything is opened or computed.

        The customer's limit is not charged before the caller has authenticated: anybody can write its domain.
        """
        sip, source, now = self._node.settings.sip, normal_address(event.flow.remote[0]), self._node.monotonic()
        if not self._by_source.admit(source, sip.source_invites, now):
            reason = "source-rate"
        elif not self._authentic(event, customer):
            return False
        elif not self._by_customer.admit(customer.name, configured.max_invites, now):
            reason = "customer-rate"
        elif not within(self._live.of_source(source), sip.source_calls):
            reason = "source-full"
        elif not within(self._live.of_customer(customer.name), configured.max_calls):
            reason = "customer-full"
        else:
            return True
        self._refuse(event, 503, reason, customer, retry_after=SLOW_DOWN if "rate" in reason else RETRY_AFTER)
        return False

    def _customer(self, event: s.Invited) -> str | None:
        try:
            host = event.request.target.host
        except SipError:
            host = ""
        return self._lookup.customer_of(event.flow.remote[0], event.flow.certificate_names, host)

    def _takes(self, name: str) -> bool:
        """Return whether calls of a customer may be taken, as far as other nodes are concerned."""
        return self._membership is None or self._membership.takes(name)

    def _unserved(self, flow: Flow) -> int | None:
        """Return the seconds for Retry-After if this source has only one customer and its calls cannot be taken now."""
        if len(self._customers) == len(self._node.settings.customers) and self._membership is None:
            return None
        name = self._lookup.only(flow.remote[0], flow.certificate_names)
        served = name is None or (name in self._customers and self._takes(name))
        return None if served else RETRY_AFTER

    def _refuse(
        self,
        event: s.Invited,
        status: int,
        reason: str,
        customer: Customer | str | None,
        warning: tuple[int, str] | None = None,
        retry_after: int | None = None,
        headers: Fields = (),
    ) -> None:
        name = customer.name if isinstance(customer, Customer) else customer
        now = self._node.monotonic()
        self._rejections.report("INVITE", status, reason, name, _source(event.flow), now)
        self._endpoint.refuse(event.token, status, now, warning=warning, retry_after=retry_after, headers=headers)

    def _refused(self, event: s.Refused) -> None:
        """Record what the endpoint refused by itself."""
        call = self._live.by_session(event.session) if event.session else None
        flow = event.flow
        if event.reason == s.NOT_OWNER:
            self._report_stranger(event, call)
            return
        if event.status == 401:  # a first try without credentials, as for an INVITE
            return
        name = call.customer.name if call else self._lookup.only(flow.remote[0], flow.certificate_names)
        now, known = self._node.monotonic(), call.id if call else None
        self._rejections.report(event.method, event.status, event.reason, name, _source(flow), now, call=known)

    def _report_stranger(self, event: s.Refused, call: LiveCall | None) -> None:
        """List an incident if somebody else sent a request in the call's dialog; the log line has the address."""
        flow, now = event.flow, self._node.monotonic()
        name = self._lookup.only(flow.remote[0], flow.certificate_names)
        self._rejections.refuse(event.method, event.status, event.reason, name, _source(flow), now)
        if call:
            self._node.incidents.add("dialog-strangers", call.customer.name, call=call.id)

    def overdue(self) -> None:
        """Report INVITEs that were challenged and never returned with credentials; runs every second."""
        now = self._node.monotonic()
        for customer, source in self._challenges.overdue(now):
            self._rejections.report("INVITE", 401, "digest-missing", customer, source, now)

    def _check_policy(self, event: s.Invited, customer: Customer, configured: Configured) -> bool:
        """Refuse what this customer's clients must not do."""
        marks, plain = event.marks, configured.siprec is Siprec.PLAIN
        if (marks == "none" and not plain) or (marks != "both" and configured.siprec is Siprec.STRICT):
            self._refuse(event, 421, "not-siprec", customer, headers=(("Require", "siprec"),))
            return False
        if event.offer is None and not configured.late_offer:
            self._refuse(event, 488, "no-offer", customer, (399, "The INVITE must contain an offer"))
            return False
        return True

    def _authentic(self, event: s.Invited, customer: Customer) -> bool:
        """Challenge an INVITE of a customer whose clients must authenticate (RFC 3261 section 22)."""
        realm = self._realms.get(customer.name)
        if realm is None:
            return True
        source, now = event.flow.remote[0], self._node.monotonic()
        outcome = self._authenticator.judge(event.request, realm, source, now)
        self._challenges.answer(event.request.call_id)
        if outcome is digest.Outcome.RIGHT:
            return True
        if outcome in _REFUSED:
            self._rejections.report("INVITE", 401, _REFUSED[outcome], customer.name, _source(event.flow), now)
        else:
            self._challenges.ask(event.request.call_id, customer.name, source, now)
        fields = self._authenticator.challenges(realm, source, now, stale=outcome is digest.Outcome.STALE)
        self._endpoint.refuse(event.token, 401, now, headers=tuple(fields))
        return False

    def _authorize(self, owner: str, flow: Flow, request: Request | None, before: Flow) -> Fields | None:
        """Check the sender of a request in a dialog as the first INVITE was checked (sip.ua.context.Authorize).

        ACK and CANCEL cannot be challenged. They are accepted from the host of their INVITE, which has authenticated,
        and from addresses that are sources of this customer alone, for example another node of its cluster.
        """
        source = flow.remote[0]
        if not self._lookup.may_be(owner, source, flow.certificate_names):
            return None
        realm = self._realms.get(owner)
        if realm is None:
            return ()
        if request is None or request.method in ("ACK", "CANCEL"):
            alone = source == before.remote[0] or self._lookup.only(source, flow.certificate_names) == owner
            return () if alone else None
        now = self._node.monotonic()
        outcome = self._authenticator.judge(request, realm, source, now)
        if outcome is digest.Outcome.RIGHT:
            return ()
        if outcome in _REFUSED:
            self._rejections.refuse(request.method, 401, _REFUSED[outcome], owner, normal_address(source), now)
        return tuple(self._authenticator.challenges(realm, source, now, stale=outcome is digest.Outcome.STALE))

    def _covered(self, flow: Flow) -> bool:
        return self._lookup.covers(flow.remote[0])

    def _elsewhere(self, owner: str, flow: Flow) -> bool:
        return self._lookup.elsewhere(owner, flow.remote[0], flow.certificate_names)

    def _policy(self, configured: Configured, flow: Flow) -> Policy:
        srtp, secure = self._node.settings.srtp_of(configured), flow.transport == "tls"
        return _policy_of(srtp, secure, configured.sdes_without_tls, configured.dtls, configured.pause_by_reinvite)

    def _first(self, event: s.Invited) -> e.Offered | e.OfferWanted:
        if event.offer is not None:
            return self._offered(event, event.offer)
        secure, ours = event.flow.transport == "tls", self._reachable.addresses(event.flow)
        return e.OfferWanted(event.token, event.request, event.metadata, secure, ours)

    def _offered(self, event: s.Invited | s.Reoffered, offer: bytes) -> e.Offered:
        secure, ours = event.flow.transport == "tls", self._reachable.addresses(event.flow)
        return e.Offered(event.token, event.request, offer, event.metadata, secure, ours)

    # ---- in the dialog ----
    def _acknowledged(self, event: s.Acknowledged) -> None:
        call = self._live.by_session(event.session)
        if call is None:
            return
        self._noticed(call)
        if event.answer is not None or call.recording.offers_first:
            self._feed(call, e.Agreed(event.answer))
        self._replacing.settle(call)
        self._request_metadata(call)
        self._request_picture(call)
        if event.news:
            call.changed()  # until it is saved some seconds later, a successor repeats the 200

    def _noticed(self, call: LiveCall) -> None:
        """Take a request in the dialog as a sign of life, and as proof that the client has our answer."""
        self.liveness.noticed(call)
        self._executor.reached(call)

    def _reanswered(self, event: s.Reanswered) -> None:
        """Take the answer to our later offer; a refusal changes nothing, provided that the media can be decrypted."""
        call = self._live.by_session(event.session)
        if call and (event.status < 300 or call.recording.locked or call.recording.agreement.renewal):
            self._feed(call, e.Agreed(event.sdp, event.asked))

    def _informed(self, event: s.Informed) -> None:
        self._feed_session(event.session, e.Informed(event.request, event.metadata))
        call = self._live.by_session(event.session)
        if call:
            self._noticed(call)
            self._replacing.settle(call)
            self._request_metadata(call)

    def _request_metadata(self, call: LiveCall) -> None:
        """Ask for the complete metadata if something is missing and the client accepts such requests (RFC 7866 9.2)."""
        why = call.recording.wants_snapshot
        if why and self._endpoint.ask_snapshot(call.session, f"metadata {why}", self._node.monotonic()):
            call.recording.snapshot_asked()

    def _request_picture(self, call: LiveCall) -> None:
        """Request a full picture by INFO if video starts or resumes and RTCP cannot request one (RFC 5168)."""
        if call.begins_video():
            self._endpoint.ask_picture(call.session, self._node.monotonic())

    def _reoffered(self, event: s.Reoffered) -> None:
        call = self._live.by_session(event.session)
        if call is None or event.offer is None:
            name, source, now = call.customer.name if call else None, _source(event.flow), self._node.monotonic()
            known = call.id if call else None
            self._rejections.report("re-offer", 488, "no-offer", name, source, now, call=known)
            self._endpoint.refuse(event.token, 488, now)
            return
        self._noticed(call)
        self._replacing.settle(call)
        self._feed(call, self._offered(event, event.offer))

    def _hung_up(self, event: s.HungUp) -> None:
        call = self._live.by_session(event.session)
        if call is None:
            self._endpoint.confirm(event.token, self._node.monotonic())
            return
        self._replacing.settle(call)
        self._feed(call, e.HungUp(event.token, event.request, event.metadata))

    def _probed(self, event: s.Probed) -> None:
        self._replacing.answered(event)
        self.liveness.answered(event)

    def _feed_session(self, session: s.SessionKey, event: e.Event) -> None:
        call = self._live.by_session(session)
        if call:
            self._feed(call, event)

    def _numbered(self, event: s.Numbered) -> None:
        """Save the CSeq of our request before it is sent: a client ignores one that it has seen before."""
        call = self._live.by_session(event.session)
        if call and call.recording.alive:
            self._executor.checkpoint(call)

    def _feed(self, call: LiveCall, event: e.Event) -> None:
        self._executor.guarded(call, event)
        if call.outdated and call.recording.alive:
            self._executor.checkpoint(call)


def realms(customers: Iterable[Configured]) -> dict[str, digest.Realm]:
    """Read the users file; raises NotPossible with the line that is wrong."""
    found = {}
    for customer in customers:
        if customer.digest is None:
            continue
        try:
            found[customer.name] = digest.Realm.parse(customer.digest.read_text(encoding="utf-8"))
        except (OSError, ValueError) as problem:
            where = f", line {problem.args[0]}" if isinstance(problem, ValueError) and problem.args else ""
            hint = "Write each line as user:realm:HA1, all with the same realm; htdigest makes HA1."
            raise NotPossible(f"the users of customer {customer.name} cannot be read{where}.", hint) from None
    return found


@lru_cache(MAX_POLICIES)
def _policy_of(srtp: Srtp, secure: bool, sdes_without_tls: bool, dtls: bool, reoffers: bool) -> Policy:
    """Return one shared policy for all calls that have the same."""
    return Policy(
        srtp.value, secure=secure, sdes_without_tls=sdes_without_tls, several_keys=True, dtls=dtls, reoffers=reoffers
    )


def _source(flow: Flow | None) -> str | None:
    return normal_address(flow.remote[0]) if flow else None
