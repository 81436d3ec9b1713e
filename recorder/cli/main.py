"""The command line: one executable, `recorder`.

Exit status: 0 done, 1 the answer is "no", 2 wrong use or bad configuration, 3 cannot be done now.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, NoReturn

from recorder.config.default_path import DEFAULT_CONFIG
from recorder.config.faults import SettingsError
from recorder.errors import NotPossible, RecorderError, WrongUse
from recorder.runtime.sandbox import forbid_dumps

SERVE = "serve"


def main() -> None:
    """Run the command line; the console script of the distribution."""
    arguments = sys.argv[1:]
    try:
        forbid_dumps()  # first: any command may open keys or media
    except NotPossible as problem:
        sys.exit(_failed(problem, serves(arguments)))
    sys.exit(run(arguments))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit status; no failure shows a traceback."""
    try:
        if serves(arguments):
            return _serve(arguments[1:])  # loading the help of all commands would cost 0.2 s at every restart
        if arguments[:1] == ["--version"]:
            return _version(json_="--json" in arguments[1:])
        return _others(arguments)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stdout = None  # skip the flush at exit: nobody reads any more
        return 0
    except Exception as problem:  # a traceback would show the values of variables
        return _failed(problem, serves(arguments))


def serves(arguments: list[str]) -> bool:
    """Return whether the arguments start the daemon."""
    return arguments[:1] == [SERVE] and not {"--help", "-h"} & set(arguments)


def _failed(problem: Exception, daemon: bool) -> int:
    """Print why a command ends, and return its exit status; the daemon also logs it."""
    from recorder.observe import logs

    status, text = _outcome(problem)
    if daemon:
        logs.ended(problem, status, text, getattr(problem, "faults", ()))
        if logs.one_file(sys.stdout, sys.stderr):
            return status
    print(f"recorder: {text}", file=sys.stderr)
    return status


def _outcome(problem: Exception) -> tuple[int, str]:
    """Return the exit status for a failure, and the sentence for people."""
    from storage.errors import StorageError

    if isinstance(problem, RecorderError | StorageError):
        return getattr(problem, "status", NotPossible.status), sentence(problem)
    if isinstance(problem, OSError):
        named = f"{problem.filename}: " if problem.filename else ""
        hint = "Check the path, its owner and the free space."
        if isinstance(problem, PermissionError) and problem.filename:
            from storage.files.durable_files import denied

            hint = f"{denied(Path(problem.filename))}."
        return NotPossible.status, f"{named}{os.strerror(problem.errno or 0)}. {hint}"
    from recorder.observe.logs import failure

    described = failure(problem)
    where = described["raised_at"][-1]
    return NotPossible.status, f"internal error, {described['error']} at {where}. Please report it."


def sentence(problem: Exception) -> str:
    """Return what is wrong and what to do about it, in one or two sentences; faults get a line each."""
    if isinstance(problem, SettingsError):
        return problem.sentence()
    hint = str(getattr(problem, "hint", ""))
    text = str(problem)
    if not hint:
        return text
    return f"{text} {hint}" if text.endswith((".", "!", "?")) else f"{text}: {hint}"


def _serve(arguments: list[str]) -> int:
    import argparse

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            raise WrongUse(f"{message[:1].upper()}{message[1:]}.", "recorder serve --help lists the options.")

    parser = Parser(prog="recorder serve", add_help=False)
    parser.add_argument("--config", type=Path, default=DEFAULT_CONFIG)
    parser.add_argument("--drain", action="store_true")
    given = parser.parse_args(arguments)
    from recorder.service.serve import serve

    return serve(given.config, drain=given.drain)


def _version(*, json_: bool) -> int:
    import json

    from recorder.runtime.version import VERSION, commit

    found = commit()
    named = f" ({found[:12]})" if found else ""
    print(json.dumps({"version": VERSION, "commit": found}) if json_ else f"recorder {VERSION}{named}")
    return 0


def _others(arguments: list[str]) -> int:
    try:
        result: Any = command().main(arguments, prog_name="recorder", standalone_mode=False)
    except Exception as problem:
        status = _usage(problem)
        if status is None:
            raise
        return status
    return result if isinstance(result, int) else 0


@cache
def command() -> Any:
    """Return `recorder` with all its commands, as typer sees them; reading their signatures takes 0.1 s."""
    import typer

    from recorder.cli import (
        accounts,
        backup,
        calls,
        customers,
        diagnosis,
        directory,
        journal,
        keys,
        node,
        privacy,
        setup,
        store,
        trial,
    )  # fmt: skip

    app = typer.Typer(
        name="recorder",
        help="Call recorder for SIPREC: records, encrypts, finds, exports and erases calls.\n\n"
        "recorder COMMAND --help explains a command, recorder --version shows which version this is.\n\n"
        "Example: recorder demo",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.command(SERVE)(setup.serve)
    everything = [
        trial,
        setup,
        customers,
        diagnosis,
        accounts,
        calls,
        privacy,
        journal,
        keys,
        backup,
        store,
        node,
        directory,
    ]
    for module in everything:
        module.add_to(app)
    made = typer.main.get_command(app)
    _write_plainly(made)
    return made


def _write_plainly(command: Any) -> None:
    """Let the help of a command, and of those below it, name parameters as people write them."""
    for parameter in command.params:
        parameter.get_help_record = partial(_plain_record, parameter.get_help_record)
        parameter.get_usage_pieces = partial(_plain_usage, parameter.get_usage_pieces)
    for below in getattr(command, "commands", {}).values():
        _write_plainly(below)


def _plain_record(record: Callable[[Any], tuple[str, str] | None], context: Any) -> tuple[str, str] | None:
    """Return names and text of a parameter: of a list `--role <str...>` or `call... <str>`, of a range `<int>`.

    Typer would write `<list[str]>`.
    """
    found = record(context)
    if found is None:
        return None
    words, text = found
    several = r"<\1>" if "... <" in words else r"<\1...>"
    return re.sub(r"<list\[(\w+)]>", several, words).replace(" range>", ">"), text


def _plain_usage(pieces: Callable[[Any], list[str]], context: Any) -> list[str]:
    """Return a parameter for the usage line: `<call>`, because `{call}` looks like a choice."""
    return [re.sub(r"{(\w+)}", r"<\1>", piece) for piece in pieces(context)]


def _usage(problem: Exception) -> int | None:
    """Print what is wrong with a command's arguments; None if the failure is a different one."""
    show, status = getattr(problem, "show", None), getattr(problem, "exit_code", None)
    if isinstance(status, int):
        if show:
            show()
        return 2 if show else status
    return None
