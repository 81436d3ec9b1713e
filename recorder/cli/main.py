"""The command line: one executable, `recorder`.

Exit status: 0 done, 1 the answer is "no", 2 wrong use or bad configuration, 3 cannot be done now.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from recorder.config.default_path import DEFAULT_CONFIG
from recorder.config.faults import SettingsError
from recorder.errors import NotPossible, RecorderError
from recorder.runtime.sandbox import forbid_dumps

SERVE = "serve"


def main() -> None:
    """Run the command line; the console script of the distribution."""
    try:
        forbid_dumps()  # first: any command may open keys or media
    except NotPossible as problem:
        print(f"recorder: {sentence(problem)}", file=sys.stderr)
        sys.exit(problem.status)
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit status; no failure shows a traceback."""
    from storage.errors import StorageError

    try:
        if arguments[:1] == [SERVE] and not {"--help", "-h"} & set(arguments):
            return _serve(arguments[1:])  # loading the help of all commands would cost 0.2 s at every restart
        if arguments[:1] == ["--version"]:
            return _version(json_="--json" in arguments[1:])
        return _others(arguments)
    except (RecorderError, StorageError) as problem:
        print(f"recorder: {sentence(problem)}", file=sys.stderr)
        return getattr(problem, "status", 3)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stdout = None  # skip the flush at exit: nobody reads any more
        return 0
    except OSError as problem:
        named = f"{problem.filename}: " if problem.filename else ""
        print(
            f"recorder: {named}{os.strerror(problem.errno or 0)}. Check the path, its owner and the free space.",
            file=sys.stderr,
        )
        return 3
    except Exception as problem:  # a traceback would show the values of variables
        from recorder.observe.logs import failure

        described = failure(problem)
        print(
            f"recorder: internal error, {described['error']} at {described['raised_at'][-1]}. Please report it.",
            file=sys.stderr,
        )
        return 3


def sentence(problem: Exception) -> str:
    """Return what is wrong and what to do about it, in one sentence or two, or the faults one a line."""
    if isinstance(problem, SettingsError):
        return problem.sentence()
    hint = str(getattr(problem, "hint", ""))
    said = str(problem)
    if not hint:
        return said
    return f"{said} {hint}" if said.endswith((".", "!", "?")) else f"{said}: {hint}"


def _serve(arguments: list[str]) -> int:
    import argparse

    parser = argparse.ArgumentParser(prog="recorder serve", add_help=False)
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


def command() -> Any:
    """Return `recorder` with all its commands, as typer sees them."""
    import typer

    from recorder.cli import accounts, calls, customers, directory, keys, privacy, setup, trial

    app = typer.Typer(
        name="recorder",
        help="Call recorder for SIPREC: records, encrypts, finds, exports and erases calls.\n\nExample: recorder demo",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.command(SERVE)(setup.serve)
    for module in (trial, setup, customers, accounts, calls, privacy, keys, directory):
        module.add_to(app)
    return typer.main.get_command(app)


def _usage(problem: Exception) -> int | None:
    """Show what is wrong with a command's arguments; None if the failure is another one."""
    show, status = getattr(problem, "show", None), getattr(problem, "exit_code", None)
    if isinstance(status, int):
        if show:
            show()
        return 2 if show else status
    return None
