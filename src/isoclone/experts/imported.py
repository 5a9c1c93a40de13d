"""Find the files of the modules that a user's code imports, without importing them."""

from __future__ import annotations

import dis
import functools
import sys
import types
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import resolve_name
from pathlib import Path

OURS = "isoclone."
INSTALLED = ("site-packages", "dist-packages")
BY_NAME = ("import_module", "__import__")  # functions that are given a module's name
LONGEST = 100  # characters of a string that may be a module's name


def imports_of(code: types.CodeType, package: str) -> set[str]:
    """Return the full names of what code, and the functions inside it, may import.

    Args:
        code: of a function or a module.
        package: the name of its package, '' for none; relative imports begin there.
    """
    steps = [step for step in dis.get_instructions(code) if step.opname != "EXTENDED_ARG"]
    found: set[str] = set()
    for at, step in enumerate(steps):
        if step.opname == "IMPORT_NAME":
            level, names = steps[at - 2].argval, steps[at - 1].argval
            with suppress(ImportError):  # beyond the top of its package
                module = resolve_name("." * level + step.argval, package)
                found |= {module, *(f"{module}.{name}" for name in names or ())}
    if set(BY_NAME) & set(code.co_names):
        texts = (one for one in code.co_consts if isinstance(one, str) and len(one) < LONGEST)
        found |= {one for one in texts if one.replace(".", "").isidentifier()}
    inner = (one for one in code.co_consts if isinstance(one, types.CodeType))
    return found.union(*(imports_of(one, package) for one in inner))


@functools.lru_cache(maxsize=10_000)
def imports_in(file: Path, digest: str, name: str) -> frozenset[str]:
    """Return the full names of what a module's file may import; none if it is no Python.

    Args:
        digest: of the file as it is now; an unchanged file is read once.
        name: the module's full name.
    """
    if file.suffix != ".py":
        return frozenset()
    package = name if file.stem == "__init__" else name.rpartition(".")[0]
    with suppress(SyntaxError, ValueError, RecursionError):
        return frozenset(imports_of(compile(file.read_bytes(), file, "exec"), package))
    return frozenset()


def files_of(name: str, folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield names and files of a user's module and of the packages that it is in.

    Args:
        name: the module's full name.
        folder: where its importer is; it is looked for there, then on Python's path.
    """
    where: list[str] | None = [str(folder), *sys.path]
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        full = ".".join(parts[:end])
        if is_of_library(full):
            return
        known: ModuleSpec | None = getattr(sys.modules.get(full), "__spec__", None)
        spec = known or _spec(full, where)
        if spec is None:
            return
        file = Path(spec.origin or "")
        if set(INSTALLED) & set(file.parts):
            return
        if file.is_file():
            yield full, file
        where = list(spec.submodule_search_locations or ())


def place(module: types.ModuleType) -> tuple[str, Path]:
    """Return a loaded module's name and file; the path is '.' if it has none."""
    return module.__name__, Path(getattr(module, "__file__", None) or "")


def files_named(names: Iterable[str], folder: Path) -> list[tuple[str, Path]]:
    """Return what `files_of` yields for each of some names."""
    return [found for name in sorted(names) for found in files_of(name, folder)]


def modules_in(module: types.ModuleType | None) -> list[types.ModuleType]:
    """Return the modules that a module has, or has functions or classes of."""
    found = []
    for value in list(getattr(module, "__dict__", {}).values()):
        if isinstance(value, types.FunctionType | type):
            value = sys.modules.get(value.__module__ or "")
        if isinstance(value, types.ModuleType):
            found.append(value)
    return found


def _spec(name: str, where: list[str] | None) -> ModuleSpec | None:
    with suppress(ImportError, ValueError, OSError):
        return PathFinder.find_spec(name, where)
    return None


def is_of_library(module: str | None) -> bool:
    """Return whether a module is isoclone's own, Python's, or that of an installed package."""
    if not module or module in ("__main__", "__mp_main__", "<run_path>"):
        return False
    if f"{module}.".startswith(OURS) or module.partition(".")[0] in sys.stdlib_module_names:
        return True
    file = getattr(sys.modules.get(module), "__file__", None) or ""
    return bool(set(INSTALLED) & set(Path(file).parts))
