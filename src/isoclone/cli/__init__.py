"""The command line: verbs in groups, one for each public function.

Results go to stdout (one JSON document with `--json`), everything else to stderr. A mistake of the
user's ends in one line and exit code 2, a failure in one line and exit code 1, Ctrl-C in 130.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isoclone.base.errors import (
    FOREIGN,
    IsocloneError,
    NothingKept,
    SpecError,
    UnknownNameError,
    exits_fail,
    words_of,
)

if TYPE_CHECKING:
    from tyro.extras import SubcommandApp

DESCRIPTION = """How big a model, how many demonstrations, what score: before the compute is spent.
`isoclone VERB --help` tells of each flag; `isoclone --version` prints the version; with any verb,
`--import MODULE` imports a module of yours first: what it registers is then known, and
`--unpack-limit 8GiB` lets a file unpack to more than 2 GiB."""
GROUPS = {
    "demos": "Record demonstrations, show them, import and select others'.",
    "demos import": "Import demonstrations made by others.",
    "demos export": "Write demonstrations in formats of others.",
    "expert": "Train an expert, or measure one.",
    "laws": "Fit laws to a table of runs, and forecast, back-test, plan by them.",
}
STOPPED = 130  # exit code after Ctrl-C
STOPPED_SAYS = "stopped; the same command goes on from here"
STOPPED_ANEW = "stopped; nothing was kept, the same command begins anew"
IN_OBJECT_STORES = ("run", "plan", "doctor")  # verbs whose --out may be an address


def verbs() -> dict[str, Callable[..., Any]]:
    """Return every verb and the function behind it, in the order of the help, plugins' last.

    A plugin's verb that cannot be imported, or whose words another verb has, is left out, and
    `isoclone doctor` says why.
    """
    from isoclone.base.registry import BROKEN_PLUGINS, VERBS, load_plugins, resolved
    from isoclone.cli import (
        ablation,
        agents,
        demos,
        doctor,
        expert,
        games,
        imports,
        laws,
        runs,
        study,
        tune,
    )

    rooms = (study, ablation, tune, runs, games, doctor, demos, imports, agents, expert, laws)
    found = {words: call for room in rooms for words, call in room.VERBS.items()}
    load_plugins()
    for words, call in VERBS.items():
        taken = next((other for other in found if _overlap(words, other)), None)
        if taken:
            BROKEN_PLUGINS[f"verb {words}"] = f"isoclone has the verb {taken}"
            continue
        try:
            found[words] = resolved(call)
        except FOREIGN as error:  # whatever is wrong with somebody's package
            BROKEN_PLUGINS[f"verb {words}"] = words_of(error)
    return found | imports.other_kinds(found)


def _overlap(words: str, other: str) -> bool:
    """Return whether one verb's words begin with all of the other's."""
    return f"{words} ".startswith(f"{other} ") or f"{other} ".startswith(f"{words} ")


def groups_of(words: str) -> list[str]:
    """Return the groups that a verb is in, the outermost first.

    >>> groups_of("demos import old")
    ['demos', 'demos import']
    """
    parts = words.split()
    return [" ".join(parts[:count]) for count in range(1, len(parts))]


def parser_of(calls: dict[str, Callable[..., Any]], asked: str = "") -> SubcommandApp:
    """Return the parser of these verbs, nested by their groups.

    Args:
        asked: the verb whose own help is wanted; all others show the first line of theirs.
    """
    from tyro.extras import SubcommandApp

    top = SubcommandApp()
    inner = {"": top}
    for words, call in calls.items():
        for group in groups_of(words):
            if group not in inner:
                inner[group] = SubcommandApp()
                outer, _, name = group.rpartition(" ")
                help_text = GROUPS.get(group, f"Verbs of {group}.")
                inner[outer].command(inner[group], name=name, help=help_text)
        group, _, name = words.rpartition(" ")
        first_line = (call.__doc__ or "").strip().partition("\n")[0]
        shown = None if words == asked else first_line
        inner[group].command(name=name, help=shown)(call)
    return top


def verb_in(words: Sequence[str], known: Sequence[str]) -> str:
    """Return the verb that a command line begins with, or as many of its groups; '' if none."""
    places = {*known, *(group for verb in known for group in groups_of(verb))}
    said = (" ".join(words[:count]) for count in range(len(words), 0, -1))
    return next((place for place in said if place in places), "")


def _taken_out(words: list[str], flag: str, wants: str) -> list[str]:
    """Take every `flag VALUE` out of a command line, wherever it stands; return the values.

    >>> words = ["plan", "--import", "mine.games", "study", "--import=more"]
    >>> _taken_out(words, "--import", "a module"), words
    (['mine.games', 'more'], ['plan', 'study'])

    Raises:
        SpecError: no value follows.
    """
    values = []
    for at in reversed(range(len(words))):
        name, equals, value = words[at].partition("=")
        if name != flag:
            continue
        taken = 1 if equals else 2
        values.append(value if equals else (words[at + 1 : at + 2] or [""])[0])
        del words[at : at + taken]
    if not all(values):
        raise SpecError(f"{flag} takes {wants}")
    return values[::-1]


def _stop(number: int, frame: object) -> None:
    """End as Ctrl-C does: by KeyboardInterrupt, the second time at once."""
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, _at_once)
    raise KeyboardInterrupt


def _at_once(number: int, frame: object) -> None:
    os._exit(STOPPED)


def _end_quietly_on_signals() -> None:
    """Have Ctrl-C and a polite kill raise KeyboardInterrupt, unless Ctrl-C is to be ignored."""
    signal.signal(signal.SIGTERM, _stop)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as with `isoclone run ... &`
        signal.signal(signal.SIGINT, _stop)


def _who_knows(words: Sequence[str]) -> str:
    """Return a hint at the file that made a study, if one of the words lies in such a study."""
    from isoclone.base.store import read_json
    from isoclone.executors.setup import STUDY_FILE_VARIABLE
    from isoclone.study.folder import StudyFolder

    places = [p for word in words for p in (Path(word), *Path(word).parents)]
    for folder in places if not os.environ.get(STUDY_FILE_VARIABLE) else ():
        with suppress(IsocloneError, OSError, TypeError, KeyError):
            file = read_json(StudyFolder(folder).made_by)["file"]
            return f"; {folder} was made by {file}: set {STUDY_FILE_VARIABLE}={file}"
    return ""


def _refuse_bytes(texts: Sequence[str]) -> None:
    """Raise SpecError if a text is not UTF-8: tables and pages could not name such a path."""
    for text in texts:
        if any("\udc80" <= letter <= "\udcff" for letter in text):
            raise SpecError(f"{text} is not UTF-8; give it another name")


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
    """Run the command line and return the exit code."""
    from isoclone.cli import output

    try:
        output.prepare()
        _carry_out(list(sys.argv[1:] if argv is None else argv))
    except IsocloneError as error:
        output.complain(error)
        return output.finish(error.exit_code)
    except SystemExit as left:  # the help was asked for
        return output.finish(int(left.code or 0))
    except KeyboardInterrupt as stop:
        output.complain(STOPPED_ANEW if isinstance(stop, NothingKept) else STOPPED_SAYS)
        return output.finish(STOPPED)
    except BrokenPipeError:  # whoever read our output has had enough
        output.complain(output.CLOSED)
        output.forget_output()
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        output.complain(f"{where}{error.strerror or error}")
        return output.finish(1)
    return output.finish(0)


def _carry_out(words: list[str]) -> None:
    """Do what the words of a command line ask for."""
    for library in ("OMP", "OPENBLAS", "MKL"):  # before NumPy: matrices this small want no threads
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")
    from isoclone import __version__
    from isoclone.base.quiet import hush
    from isoclone.cli.output import print_plain

    hush()
    _end_quietly_on_signals()
    if words[:1] == ["--version"]:
        print_plain(f"isoclone {__version__}")
        return
    _call(words)


def _call(words: list[str]) -> None:
    """Call the function of a verb with its arguments."""
    from isoclone.base.registry import Registry
    from isoclone.cli.output import chatter_aside

    aside = chatter_aside if "--json" in words else nullcontext
    try:
        with aside():
            call = _call_of(words)
        ours = call.func.__module__.startswith("isoclone.")  # others print their JSON themselves
        with aside() if ours else nullcontext(), exits_fail():
            call()
    except IsocloneError as error:
        unknown = error if isinstance(error, UnknownNameError) else error.__cause__
        if isinstance(unknown, UnknownNameError) and unknown.kind in Registry.KINDS:
            error.args = (f"{error}{_who_knows(words)}",)
        raise


def _call_of(words: list[str]) -> partial[Any]:
    """Return the call that the words of a command line ask for; the user's files are run first."""
    import tyro

    from isoclone.base.limits import raise_limit
    from isoclone.base.registry import import_modules
    from isoclone.cli.usage import complaints_in_one_line, deferred
    from isoclone.executors.setup import run_study_file

    for size in _taken_out(words, "--unpack-limit", "a size, as in --unpack-limit 8GiB"):
        raise_limit(size, "--unpack-limit")
    import_modules(_taken_out(words, "--import", "a module, as in --import mine.games"))
    run_study_file()
    known = verbs()
    verb = verb_in(words, list(known))
    with complaints_in_one_line(verb):
        call = parser_of(deferred(known), verb).cli(
            prog="isoclone",
            description=DESCRIPTION,
            args=words,
            config=(
                tyro.conf.OmitSubcommandPrefixes,
                tyro.conf.FlagCreatePairsOff,
                tyro.conf.DisallowNone,  # left out, not given as None
                tyro.conf.PositionalMetavarFromFieldName,
            ),
        )
    _refuse_bytes([os.getcwd(), *words])
    _refuse_addresses(verb, call)
    return call
