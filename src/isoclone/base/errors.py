"""Every error isoclone raises on purpose.

    IsocloneError                 exit code 1: something failed; nothing finished is lost
    ├── UsageError                exit code 2: the request cannot be carried out as given
    │   ├── UnknownNameError      no game, expert, policy, recipe, law or study of that name
    │   ├── SpecError             a field of a study, plan or recipe has a value it cannot have
    │   ├── SpecMismatchError     the directory holds a study with a different specification
    │   ├── TrustError            the file is pickled, and the user has not said to trust it
    │   └── MissingExtraError     the feature needs an optional dependency
    ├── DataError                 demonstrations, tables or recordings are damaged or unfit
    │   └── FitError              too little usable data for the law that was asked for
    ├── CheckpointError           weights are damaged, or belong to another policy
    ├── StoreError                the study directory cannot be read or written
    └── ExecutionError            a run kept failing, or a worker was lost for good
        └── ForeignFailure        a game or an expert raised; another try may do better

A message is one line: what is wrong, where (file, field or flag), and what to do about it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class IsocloneError(Exception):
    """Base of all errors meant for users; `exit_code` is what the command line returns."""

    exit_code = 1

    def __init__(self, message: str = ""):
        super().__init__(" ".join(message.splitlines()))  # a quoted text may have several


class UsageError(IsocloneError):
    """The request cannot be carried out as given."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A name that is not registered. The message lists known names, the nearest first.

    Args:
        kind: of thing, for the message.
        name: that is not known.
        known: the names that are.
        advice: what else may help, added to the message.
    """

    def __init__(self, kind: str, name: str, known: list[str], advice: str = ""):
        import difflib

        self.kind = kind
        name = " ".join(str(name).split())[:80]
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known[:12])}"
        super().__init__(f"unknown {kind} '{name}'; {hint}" + (f"; {advice}" if advice else ""))


class SpecError(UsageError):
    """A field has a value it cannot have."""


class SpecMismatchError(UsageError):
    """The directory holds a study with a different specification."""


class TrustError(UsageError):
    """A pickled file was met without an explicit trust flag."""


class MissingExtraError(UsageError):
    """An optional dependency is not installed."""

    def __init__(self, feature: str, extra: str):
        super().__init__(f"{feature} needs the extra '{extra}': pip install 'isoclone[{extra}]'")


class DataError(IsocloneError):
    """Demonstrations, tables or recordings are damaged or unfit."""


class FitError(DataError):
    """Too little usable data for the law that was asked for."""


class CheckpointError(IsocloneError):
    """Weights are damaged, or belong to another policy."""


class StoreError(IsocloneError):
    """The study directory cannot be read or written."""


class ExecutionError(IsocloneError):
    """A run kept failing, or a worker was lost for good."""


class ForeignFailure(ExecutionError):
    """A game or an expert raised. Its process may have been killed, so another try is worth it."""


# ---------------------------------------------------------------------- code of others

# What code of others may raise: sys.exit() in it is its failure, and must not end us with its code.
# Ctrl-C is the user's own, and passes.
FOREIGN = (Exception, SystemExit)


def words_of(error: BaseException, length: int = 200) -> str:
    """Return what code of others raised as one line: its kind and message, or where it exits."""
    if not isinstance(error, SystemExit):
        said = " ".join(str(error).split())[:length]
        return f"{type(error).__name__}: {said}" if said else type(error).__name__
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    at = "" if trace is None else f"{trace.tb_frame.f_code.co_filename}, line {trace.tb_lineno}, "
    code = "" if error.code is None else " ".join(repr(error.code).split())[:length]
    return f"{at}called sys.exit({code})"


@contextmanager
def foreign_fails(kind: type[IsocloneError], said: str, length: int = 200) -> Iterator[None]:
    """Have whatever code of others raises in the block be an error of a kind; ours pass.

    Args:
        said: what stands before the code's own words, of which `length` characters are kept.

    Raises:
        IsocloneError: of that kind, or one of ours.
    """
    try:
        yield
    except IsocloneError:
        raise
    except FOREIGN as error:
        raise kind(f"{said}: {words_of(error, length)}") from error


@contextmanager
def exits_fail(who: str = "") -> Iterator[None]:
    """Have sys.exit() of others' code in the block count as a failure.

    Raises:
        ExecutionError: it was called; the message says by whom and where.
    """
    try:
        yield
    except SystemExit as stop:
        raise ExecutionError(f"{who}: {words_of(stop)}" if who else words_of(stop)) from stop


# ---------------------------------------------------------------------- Ctrl-C


class NothingKept(KeyboardInterrupt):
    """Ctrl-C in work of which nothing is kept, so that it begins anew."""


@contextmanager
def nothing_kept() -> Iterator[None]:
    """Have Ctrl-C in the block be NothingKept.

    Raises:
        NothingKept: Ctrl-C was pressed.
    """
    try:
        yield
    except KeyboardInterrupt as stop:
        raise NothingKept from stop
