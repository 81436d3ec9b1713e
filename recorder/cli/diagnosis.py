"""Commands for when something is wrong: doctor, trace, support."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated

import typer

from recorder.cli import console
from recorder.cli.options import DEFAULT_CONFIG, AsJson, Config
from recorder.config.loader import examine, load
from recorder.errors import NotPossible, WrongUse

UNITS = {"s": 1, "m": 60, "h": 3600}


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("doctor")(doctor)
    app.command("trace")(trace)
    app.command("support")(support)


def doctor(
    call: Annotated[
        str | None, typer.Option(help="Place a trial call as this customer's, listen to it and have it erased.")
    ] = None,
    sbc: Annotated[
        list[str] | None,
        typer.Option(help="SIP URI of an SBC to ask instead of the configured addresses; may be repeated."),
    ] = None,
    listen: Annotated[str | None, typer.Option(help="How long to watch for requests from the SBCs: 60s.")] = None,
    config: Config = DEFAULT_CONFIG,
    json: AsJson = False,
) -> int:
    """Check all that a recorder needs. Where something is wrong, say what to type.

    Checks kernel settings, clock, disks, swap, all that a start needs, ports, certificates, the database, the object
    store, and whether the SBCs answer OPTIONS. It changes nothing, and each check has a time limit. What cannot be seen
    from this machine is `unchecked`.

    --call: if a waiver is on file the trial call asks for its own erasure; if not, it stays in the list until its
    retention ends, as a call of `recorder doctor`. Exit status: 0 nothing failed, 1 something did.

    Example: recorder doctor --call acme --listen 60s
    """
    from recorder.diagnosis.doctor import diagnose
    from recorder.runtime.service_user import become_owner

    wait = _span(listen) if listen else 0.0
    settings, _ = examine(config, files=False)
    if call is not None and settings.customer(call) is None:
        known = ", ".join(each.name for each in settings.customers) or "none"
        raise WrongUse(f"There is no customer {call!r}.", f"Configured are: {known}.")
    _check_uris(sbc or [])
    become_owner(settings.node.data_dir)
    checks = diagnose(settings, config, customer=call, sbcs=tuple(sbc or ()), listen=wait)
    failed = any(each.state == "fail" for each in checks)
    if json:
        console.document({"ok": not failed, "checks": [each.as_dict() for each in checks]})
        return int(failed)
    for each in checks:
        print(console.plain(f"{each.state.value:9}  {each.name}: {each.detail}"))
        if each.remedy:
            print(console.plain(f"{'':9}  -> {each.remedy}"))
    counts = {state: sum(each.state == state for each in checks) for state in ("fail", "warn", "unchecked")}
    console.say(f"{len(checks)} checks: {counts['fail']} failed, {counts['warn']} warnings, "
                f"{counts['unchecked']} unchecked.")  # fmt: skip
    return int(failed)


def _check_uris(uris: list[str]) -> None:
    """Raise WrongUse if one is not a SIP URI."""
    from recorder.simulate.plan import Plan, PlanError

    for uri in uris:
        try:
            Plan(uri).check()
        except PlanError as fault:
            raise WrongUse(str(fault)) from None


def trace(
    seconds: Annotated[str, typer.Option("--for", help="How long: 30s, 10m, 1h at most.")] = "10m",
    source: Annotated[
        str | None, typer.Option(help="Only messages from and to this address or network; all if omitted.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option("-o", "--output", help="File to write; an existing file is not overwritten.")
    ] = None,
    config: Config = DEFAULT_CONFIG,
    json: AsJson = False,
) -> int:
    """Show SIP messages of the running recorder.

    These are all that it receives and sends, and why it refuses or ignores some.

    Names, numbers, users of addresses, texts of the metadata, SRTP keys and credentials are masked. Within a trace, the
    same value always has the same mask. Ctrl-C ends it. Without -o the messages are printed; with --json they are
    counted.

    Example: recorder trace --for 10m --source 192.0.2.5 -o trace.txt
    """
    from recorder.trace.client import follow, text_of

    length, where = _span(seconds), _network(source)
    settings = load(config, files=False)
    with _output(to, quiet=json) as write:
        done = follow(settings, length, where, lambda line: write(text_of(line)))
    if json:
        console.document({"path": str(to) if to else None, "messages": done.messages})
        return 0
    skipped = f", {done.skipped} skipped because there were too many at once" if done.skipped else ""
    console.say(f"{f'{to}: ' if to else ''}{done.messages} messages{skipped}. {done.note}".rstrip())
    return 0


def support(
    to: Annotated[Path, typer.Option("-o", "--output", help="File to write; an existing file is not overwritten.")],
    log: Annotated[
        Path | None, typer.Option(help="File with the log, if it is not in the journal of the unit `recorder`.")
    ] = None,
    config: Config = DEFAULT_CONFIG,
    json: AsJson = False,
) -> int:
    """Write an archive (tar.gz) for somebody who helps from afar. It has no secrets and nothing personal.

    It has versions, the configuration without secrets, what `recorder doctor` finds, metrics, incidents and the newest
    lines of the log; README.txt in it names what is missing. Run it as root, who may read the journal.

    Example: recorder support -o support.tar.gz
    """
    from recorder.diagnosis.support import collect

    if log is not None and not log.is_file():
        raise WrongUse(f"There is no file {log}.", "Name the file with the recorder's log, or leave --log out.")
    settings, _ = examine(config, files=False)
    with new_file(to) as file:
        missing = collect(settings, config, file, log)
    if json:
        console.document({"path": str(to)})
        return 0
    for each in missing:
        console.say(f"Missing: {each}")
    print(f"{to}: {to.stat().st_size:,} bytes. To see what is in it: tar -xzOf {to} | less")
    return 0


def _span(text: str) -> float:
    """Return the seconds of a length of time such as 10m; raises WrongUse."""
    from recorder.trace.control_socket import MAX_SECONDS

    found = re.fullmatch(r"([0-9]{1,5})([smh]?)", text)
    seconds = int(found[1]) * UNITS[found[2] or "s"] if found else 0
    if not 1 <= seconds <= MAX_SECONDS:
        raise WrongUse(f"{text!r} is not a length of time up to an hour.", "Write 30s, 10m, or 1h at most.")
    return float(seconds)


def _network(text: str | None) -> str | None:
    import ipaddress

    try:
        return str(ipaddress.ip_network(text, strict=False)) if text else None
    except ValueError:
        raise WrongUse(f"{text!r} is not an address.", "Write 192.0.2.5, 192.0.2.0/24 or 2001:db8::5.") from None


@contextmanager
def _output(to: Path | None, *, quiet: bool) -> Iterator[Callable[[str], None]]:
    """Yield a function that writes text to a new file of mode 0600, to standard output, or nowhere."""
    if to is None:
        yield (lambda text: None) if quiet else _printed
        return
    with new_file(to) as file:
        yield lambda text: _written(file, text)


@contextmanager
def new_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a new file that only its owner may read; remove it if the block fails. Raises WrongUse, NotPossible."""
    try:
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise WrongUse(f"{path} exists already.", "Choose another file.") from None
    except OSError as problem:
        raise NotPossible(f"{path} cannot be written: {problem.strerror}.", "Choose another folder.") from None
    try:
        with os.fdopen(fd, "wb") as file:
            yield file
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _printed(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _written(file: IO[bytes], text: str) -> None:
    file.write(text.encode())
    file.flush()
