"""The command line: one verb for each public function.

Results go to stdout (one JSON document with `--json`), everything else to stderr. A mistake of the
user's ends in one line and exit code 2, a failure in one line and exit code 1.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from isoclone.base.errors import IsocloneError, SpecError, UnknownNameError

IN_OBJECT_STORES = ("run", "plan", "doctor")  # verbs whose --out may be an address


def verbs() -> dict[str, Callable[..., Any]]:
    """Every verb and the function behind it, in the order of the help."""
    from isoclone.cli import ablation, demos, doctor, expert, laws, runs, study

    rooms = (study, ablation, demos, runs, expert, laws, doctor)
    return {verb: call for room in rooms for verb, call in room.VERBS.items()}


def _stop(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _who_knows(words: Sequence[str]) -> str:
    """Which Python file registers what a study needs, if one of the words lies in such a study."""
    from isoclone.base.store import read_json
    from isoclone.cli.study import MADE_BY
    from isoclone.executors.setup import STUDY_FILE_VARIABLE

    places = [p for word in words for p in (Path(word), *Path(word).parents)]
    for folder in places if not os.environ.get(STUDY_FILE_VARIABLE) else ():
        with suppress(IsocloneError, OSError, TypeError, KeyError):
            file = read_json(folder / MADE_BY)["file"]
            return f"; {folder} was made by {file}: set {STUDY_FILE_VARIABLE}={file}"
    return ""


def _refuse_addresses(verb: str, call: functools.partial[Any]) -> None:
    """Raise SpecError if an object store is to be written by a verb that writes files here."""
    given = [flag for flag in ("out", "keep") if call.keywords.get(flag) is not None]
    if not given or verb in IN_OBJECT_STORES:
        return
    from isoclone.remote import address_of

    for flag in given:
        if address := address_of(call.keywords[flag]):
            raise SpecError(f"--{flag} {address}: give a path on this machine")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    for library in ("OMP", "OPENBLAS", "MKL"):  # before NumPy: matrices this small want no threads
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")
    import tyro

    from isoclone.base.registry import Registry
    from isoclone.cli.usage import complaints_in_one_line, deferred
    from isoclone.executors.setup import run_study_file

    words = list(sys.argv[1:] if argv is None else argv)
    for count in (3, 2):  # `demos show` is one verb of two words
        if " ".join(words[:count]) in verbs():
            words[:count] = [" ".join(words[:count])]
    signal.signal(signal.SIGTERM, _stop)  # a polite kill ends as Ctrl-C does
    try:
        run_study_file()
        with complaints_in_one_line(words[0] if words and words[0] in verbs() else None):
            call = tyro.extras.subcommand_cli_from_dict(
                deferred(verbs()),
                prog="isoclone",
                description="How big a model, how many demonstrations, what score: before the "
                "compute is spent.",
                args=words,
                config=(
                    tyro.conf.OmitSubcommandPrefixes,
                    tyro.conf.FlagCreatePairsOff,
                    tyro.conf.DisallowNone,  # left out, not given as None
                ),
            )
        _refuse_addresses(words[0], call)
        call()
    except UnknownNameError as error:
        hint = _who_knows(words) if error.kind in Registry.KINDS else ""
        print(f"isoclone: {error}{hint}", file=sys.stderr)
        return error.exit_code
    except IsocloneError as error:
        print(f"isoclone: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("isoclone: stopped; the same command goes on from here", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read our output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"isoclone: {where}{error.strerror or error}", file=sys.stderr)
        return 1
    return 0
