"""Commands about recordings: calls, export, verify, recover."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from recorder.cli import console
from recorder.cli.options import DEFAULT_CONFIG, AsJson, Config, OneCustomer
from recorder.cli.progress import progress
from recorder.config.loader import load
from recorder.config.model import Settings
from recorder.errors import Negative, NotPossible, WrongUse
from recorder.maintenance.cli_audit import record, shown
from storage.calls.call_row import CallState, Direction
from storage.errors import StorageError

FORMATS = ("wav", "flac", "opus", "mp3", "mkv", "pcap")


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("calls")(calls)
    app.command("export")(export)
    app.command("check-owners")(check_owners)
    app.command("verify")(verify)
    app.command("recover")(recover)


def with_customers(
    settings: Settings,
    name: str | None,
    work: Callable[[Any], Awaitable[Any]],
    unopened: Callable[[str, StorageError], Any] | None = None,
) -> list[Any]:
    """Open the wanted customers, do the work for each, close them.

    `unopened` is called for a customer that cannot be opened, with the error; without it that error is raised.
    """
    from recorder.persist.customers import open_customer

    wanted = [c for c in settings.customers if name in (None, c.name)]
    if not wanted:
        raise WrongUse(f"There is no customer {name!r}.", "recorder check-config checks the configuration.")

    async def run() -> list[Any]:
        done = []
        for each in wanted:
            try:
                customer = await open_customer(settings, each)
            except StorageError as problem:
                if unopened is None:
                    raise
                done.append(unopened(each.name, problem))
                continue
            try:
                done.append(await work(customer))
            finally:
                await customer.close()
        return done

    return asyncio.run(run())


def moment(text: str | None) -> datetime | None:
    """Read a time given on the command line: RFC 3339, a date, or a time span ago such as 2h, 3d."""
    if text is None:
        return None
    units = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
    if text[-1:] in units and text[:-1].isdigit():
        with suppress(OverflowError):
            return datetime.now(UTC) - timedelta(**{units[text[-1]]: int(text[:-1])})
    try:
        at = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise WrongUse(
            f"{text!r} is not a time.", "Write 2026-11-25, 2026-11-25T13:00:00Z, or a time span such as 2h or 3d."
        ) from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def calls(
    customer: OneCustomer = None,
    party: Annotated[str | None, typer.Option(help="Number, URI, name or e-mail address, in any spelling.")] = None,
    since: Annotated[str | None, typer.Option(help="From this time on: RFC 3339, a date, or 2h, 3d ago.")] = None,
    until: Annotated[str | None, typer.Option(help="Before this time.")] = None,
    state: Annotated[str | None, typer.Option(help="recording, complete or interrupted.")] = None,
    hold: Annotated[bool | None, typer.Option("--hold/--no-hold", help="Under legal hold, or not.")] = None,
    direction: Annotated[str | None, typer.Option(help="inbound, outbound or internal.")] = None,
    source: Annotated[str | None, typer.Option(help="Address of the SBC.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Most calls to list.")] = 100,
    config: Config = DEFAULT_CONFIG,
    json: AsJson = False,
) -> int:
    """List calls, newest first.

    Example: recorder calls --customer acme --party "+49 30 123456" --since 7d
    """
    from recorder.persist.call_list import Item, find

    if state not in (None, *(s.value for s in CallState)):
        raise WrongUse(f"{state!r} is not a state.", "Choose recording, complete or interrupted.")
    if direction not in (None, *(d.value for d in Direction)):
        raise WrongUse(f"{direction!r} is not a direction.", "Choose inbound, outbound or internal.")
    asked: dict[str, Any] = {"party": party, "since": moment(since), "until": moment(until), "state": state}
    asked |= {"hold": hold, "direction": direction, "source": source}

    lacking: list[str] = []

    async def search(one: Any) -> list[Item]:
        record(one.audit, "calls.search")
        lacking.extend([one.name] * (one.gap.first() is not None))
        return await find(one, asked, limit)

    settings = load(config)
    found = with_customers(settings, customer, search)
    items: list[Item] = sorted((item for part in found for item in part), key=begun, reverse=True)[:limit]
    if json:
        console.document({"items": items, **({"incomplete": True} if lacking else {})})
        return 0
    rows = []
    titles = {each.name: f"{each.title} ({each.name})" for each in settings.customers if each.title}
    for item in items:
        names = ", ".join(p["name"] or p["number"] or p["uri"] or "?" for p in item["parties"])
        length = f"{item['duration_ms'] / 1000:.1f} s"
        whose = titles.get(item["customer"], item["customer"])
        where = (_where(item),) if "node" in item else ()
        rows.append((item["id"], whose, item["state"], item["started_at"], length, *where, names))
    where = ("node",) if settings.node.number else ()
    console.table(("id", "customer", "state", "started", "length", *where, "parties"), rows)
    for name in lacking:
        console.say(
            f"{name}: calls may be missing. The daemon completes the index; without a daemon use recorder recover."
        )
    return 0


def _where(item: Any) -> str:
    """Return the node that recorded a call, with its state unless it simply runs."""
    state = item["node_state"]
    return f"{item['node'] or '?'}{f' ({state})' if state not in (None, 'active') else ''}"


def begun(item: Any) -> str:
    """Return when a call began, to sort by."""
    return str(item["started_at"] or "")


def export(
    call: Annotated[str, typer.Argument(help="Id of the call.")],
    to: Annotated[Path, typer.Option("-o", "--output", help="File to write; an existing file is not overwritten.")],
    format: Annotated[
        str | None, typer.Option(help=f"{', '.join(FORMATS)}; by default from the file's extension.")
    ] = None,
    customer: OneCustomer = None,
    config: Config = DEFAULT_CONFIG,
    json: AsJson = False,
) -> int:
    """Write a decrypted copy of one call.

    Example: recorder export CALL -o call.wav
    """
    from recorder.cli.export import export_call

    form = (format or to.suffix.lstrip(".") or "wav").lower()
    form = "opus" if form in ("ogg", "oga") else form
    if form not in FORMATS:
        raise WrongUse(f"The format {form!r} is unknown.", f"Choose one of {', '.join(FORMATS)}.")
    if to.exists():
        raise WrongUse(f"{to} exists already.", "Choose another file.")

    async def play(one: Any) -> dict[str, Any] | None:
        if await one.calls.get(call) is None:
            if customer:
                record(one.audit, "call.media", shown(call), "failed")
            return None
        record(one.audit, "call.media", call)
        return await export_call(one, call, form, to)

    reports = [r for r in with_customers(load(config), customer, play) if r]
    if not reports:
        raise Negative(f"There is no call {call}.", "recorder calls lists all calls.")
    if lacking := reports[0]["caveat"]:
        console.say(console.plain(lacking))
    if json:
        console.document(reports[0])
    else:
        print(f"{to}: {os.path.getsize(to):,} bytes, decrypted. Anybody who has this file can hear the call.")
    return 0


def check_owners(
    call: Annotated[str, typer.Argument(help="Id of a test call in which each side says who it is.")],
    clips: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for the first seconds of each stream, as WAV.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=1, max=60, help="Length of each clip.")] = 10.0,
    customer: OneCustomer = None,
    config: Config = DEFAULT_CONFIG,
    json: AsJson = False,
) -> int:
    """Show who speaks in each stream according to the SBC. Compare that with what you hear.

    Exports that silence people rely on the names from the SBC: if those are wrong, the export has the wrong voices.

    Example: recorder check-owners CALL --customer acme -o clips
    """
    from recorder.exports import owner_check

    settings = load(config)

    async def look(one: Any) -> dict[str, Any] | None:
        row = await one.calls.get(call)
        if row is None:
            if customer:
                record(one.audit, "call.view", shown(call), "failed")
            return None
        record(one.audit, "call.view" if clips is None else "call.media", call)
        configured = settings.customer(one.name)
        found = {"customer": one.name, **owner_check.owners_of(row, configured is not None and configured.swap_owners)}
        written = {} if clips is None else await owner_check.write_clips(one, row, clips, seconds)
        for stream in found["streams"]:
            stream["clip"] = written.get(stream["stream"])
        return found

    found = next((each for each in with_customers(settings, customer, look) if each), None)
    if found is None:
        raise Negative(f"There is no call {call}.", "recorder calls lists all calls.")
    if json:
        console.document(found)
        return 0
    heads = ("stream", "label", "media", "speaker", "basis", "clip")
    console.table(heads, [_owned(stream) for stream in found["streams"]])
    console.say(_advice(found))
    return 0


def _owned(stream: dict[str, Any]) -> tuple[str, ...]:
    """Return the table row of a stream."""
    speakers = ", ".join(p["name"] or p["number"] or p["uri"] or "?" for p in stream["speakers"]) or "unknown"
    basis = "inferred" if stream["inferred"] else "changed during the call" if stream["earlier"] else "stated"
    label, clip = stream["label"] or "", stream["clip"] or ""
    return str(stream["stream"]), label, stream["media"], speakers, basis if stream["speakers"] else "", clip


def _advice(found: dict[str, Any]) -> str:
    """Say what to do next, depending on what is heard."""
    if found["swapped"]:
        return (
            "swap_owners has swapped the owners that the SBC named. Is each voice that of the speaker beside it? "
            f"If not, remove swap_owners from the [[customer]] table of {found['customer']}."
        )
    return (
        "Is each voice that of the speaker beside it? If the two are the wrong way round, add swap_owners = true "
        f"to the [[customer]] table of {found['customer']}, restart, and check another test call."
    )


def verify(
    call: Annotated[list[str] | None, typer.Argument(help="Ids of calls; all calls if omitted.")] = None,
    sample: Annotated[
        int | None, typer.Option(min=0, help="Read only so many parts, chosen at random; compare the others by size.")
    ] = None,
    customer: OneCustomer = None,
    config: Config = DEFAULT_CONFIG,
    json: AsJson = False,
) -> int:
    """Authenticate stored recordings and report every defect.

    Example: recorder verify --customer acme

    Recordings that only the object store has are fetched. --sample N makes a check of a large store affordable.
    """
    from recorder.maintenance.verify import refused, verify_customer

    settings, begun_at = load(config), datetime.now(UTC)
    with progress("verifying", None) as advance:

        def work(one: Any) -> Any:
            return verify_customer(one, call or [], advance, sample)

        reports = with_customers(settings, customer, work, refused)
    defects = [d for r in reports for d in r.defects]
    missing = [c for c in call or [] if not any(c in r.seen for r in reports)]
    elsewhere = [e for r in reports for e in r.elsewhere]
    if json:
        totals = {name: sum(getattr(r, name) for r in reports) for name in ("calls", "parts", "bytes")}
        result = {"ok": not defects and not missing, **totals, "defects": defects, "missing": missing}
        console.document({**result, "elsewhere": elsewhere} if settings.node.number else result)
    else:
        for d in defects:
            place = f" part {d['part']} offset {d['offset']}" if d["part"] else ""
            of_call = f"call {d['call']}{place}"
            print(f"{d['customer']}: {of_call if d['call'] else d['part'] or 'index'}: {d['kind']}")
        calls, parts = sum(r.calls for r in reports), sum(r.parts for r in reports)
        print(f"{calls} calls, {parts} parts read, {len(defects)} defects.")
        for node in sorted({e["node"] for e in elsewhere}):
            some = sum(e["node"] == node for e in elsewhere)
            print(f"{some} recordings or attachments are on node {node} only: run recorder verify there, too.")
    if missing:
        raise Negative(f"There is no call {missing[0]}.", "recorder calls lists all calls.")
    if not (defects or call or customer or sample is not None):
        _note_verified(settings.node.data_dir, begun_at)
    return 1 if defects else 0


def _note_verified(data_dir: Path, at: datetime) -> None:
    """Note that everything was verified, for recorder_verify_age_seconds."""
    from recorder.persist.backup_time import mark_verified
    from recorder.runtime.service_user import acting_as_owner
    from storage.files.durable_files import Disk

    try:
        with acting_as_owner(data_dir):
            mark_verified(data_dir, at, Disk())
    except StorageError as problem:
        console.say(f"The time of this verification was not noted: {problem}.")


def recover(customer: OneCustomer = None, config: Config = DEFAULT_CONFIG, json: AsJson = False) -> int:
    """Repair and index recordings left by a crash. `recorder serve` does the same when it starts.

    Example: recorder recover
    """
    from recorder.persist.checkpoint import refused
    from recorder.persist.instance_lock import node_lock
    from recorder.persist.repair import recover as repair

    settings = load(config)
    found: list[dict[str, Any]] = []
    with node_lock(settings) as held, progress("recovering", None) as advance:
        if not held:
            raise NotPossible("The daemon is running; it recovers recordings by itself when it starts.")

        def show(x: Any) -> None:
            found.append({"call": x.call, "repaired_parts": x.repaired, "readable": x.document is not None})
            advance(1)

        def mend(c: Any) -> Any:
            return repair(c, (), show, refused(settings.node.runtime_dir, c.name, c.keys))

        with_customers(settings, customer, mend)
    if json:
        console.document({"recovered": found})
    else:
        print(f"{len(found)} recordings recovered.")
    return 0
