"""Every minute, write a signed checkpoint beside each audit log that has grown, and send it to the witnesses.

The newest checkpoint is stored beside the keys with every entry; these are for whoever copies them elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from recorder.errors import NotPossible
from recorder.maintenance.audit_witnesses import tell
from recorder.observe.incidents import Incidents
from recorder.observe.logs import Log
from recorder.runtime.tasks import repeat
from storage.customer.customers import Customer
from storage.errors import StorageError

EVERY_SECONDS = 60.0

THIN_ROUNDS = 24 * 60
"""After so many rounds, and at the start, old checkpoints are thinned out."""

Failure = tuple[str, str, Exception]
"""Customer, the witness that could not be reached or "" for the checkpoint itself, and why."""


class AuditJob:
    """Writes and sends checkpoints; what a witness did not get is sent a minute later."""

    def __init__(
        self, customers: Mapping[str, Customer], log: Log, incidents: Incidents, witnesses: Sequence[str]
    ) -> None:
        self._customers = customers
        self._log = log
        self._incidents = incidents
        self._witnesses = witnesses
        self._rounds = 0
        self._untold: dict[tuple[str, str], bytes] = {}  # (customer, witness) → the newest checkpoint it does not have

    async def run(self) -> None:
        """Run for ever; owned by recorder.runtime.tasks."""
        # without this task no witness would get anything any more
        await repeat(self._turn, EVERY_SECONDS, lambda problem: self._log.fault("audit.checkpoint_failed", problem))

    async def _turn(self) -> None:
        self.report(await asyncio.to_thread(self.round))

    def round(self) -> list[Failure]:
        """Make the checkpoints that are due and send them; failures are retried in the next round."""
        failures: list[Failure] = []
        thinning, self._rounds = self._rounds % THIN_ROUNDS == 0, self._rounds + 1
        for customer in self._customers.values():
            if not customer.whole:
                continue  # those that succeeded
            try:
                mark = customer.audit.checkpoint()
                if thinning:
                    customer.audit.thin()
            except StorageError as problem:
                failures.append((customer.name, "", problem))
                continue
            if mark is not None:
                self._untold.update(((customer.name, witness), bytes(mark)) for witness in self._witnesses)
            failures += self._tell(customer)
        return failures

    def report(self, failures: list[Failure]) -> None:
        """Log the failures."""
        for name, witness, problem in failures:
            if not witness:
                self._log.fault("audit.checkpoint_failed", problem, customer=name)
                continue
            kind = witness.partition(":")[0]
            self._log.fault("audit.witness_failed", problem, customer=name, kind=kind)
            self._incidents.add("audit-witness", name, reason=kind)

    def _tell(self, customer: Customer) -> list[Failure]:
        failures: list[Failure] = []
        for witness in self._witnesses:
            line = self._untold.get((customer.name, witness))
            if line is None:
                continue
            try:
                tell(witness, line)
            except (StorageError, NotPossible) as problem:
                failures.append((customer.name, witness, problem))
            else:
                del self._untold[(customer.name, witness)]
        return failures
