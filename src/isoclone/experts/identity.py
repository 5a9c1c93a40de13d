"""The identity of an expert: what must be equal for two experts to be called the same.

| the expert is | its identity |
|---|---|
| a file, or a directory of `expert train` | the hashes of its files, and its settings |
| a name that comes with isoclone, or from the hub | the name, and its settings |
| a name that somebody registered | besides, the maker's module, name and source |
| a function, a class, an object | module, qualified name and source, and what these refer to |

A function's source alone does not say what it does: the functions, classes and values of its own
module that it uses, what it closes over and its defaults count too, and so does the state of an
object. Under `files` are the hashes of files that it uses: of a user's modules that it refers to or
imports, within a function too, and of those that these do, and of what a default, a setting of a
class or a global names that is a file, in the working directory or beside the code. What cannot be
told apart (an open connection, a network of a library without a state) is listed under `unknown`,
by the name of its type.

An expert may say it by itself: an attribute `identity`, a dictionary of plain values.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import sys
import types
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from isoclone.base.records import jsonable, stable_id
from isoclone.base.registry import is_reference
from isoclone.base.store import sha256_file
from isoclone.base.tables import EXPERTS
from isoclone.base.userfile import found_in_file, is_file_reference, split_reference
from isoclone.experts.beside import settings_of
from isoclone.experts.imported import (
    OURS,
    files_named,
    imports_in,
    imports_of,
    is_of_library,
    modules_in,
    place,
)

OWN = "identity"  # the attribute by which an expert says who it is
NOT_SETTINGS = ("trust", "device")  # options that do not change what an expert does
FILES = (".zip", ".pkl", ".json", ".pt", ".pth", ".onnx", ".yml", ".safetensors")
DEEPEST = 6  # how far references are followed
PLAIN = (bool, int, float, complex, str, bytes, type(None))
VALUES = (*PLAIN, tuple, list, dict, np.ndarray)
EXPERT = "expert"  # the name that is meant in a file where none is given

Identity = dict[str, Any]


def identity_of(source: Any, options: dict[str, Any] | None = None) -> Identity:
    """Return the identity of an expert as plain values; what `experts.expert` takes, this does.

    Args:
        source: a name, a path, 'players.py:Name', a function or an expert.
        options: the settings that it is made with.

    Raises:
        StoreError: a file cannot be read.
        SpecError: a Python file that cannot be run.
    """
    found = _kind_of(source, options or {})
    settings = {k: v for k, v in (options or {}).items() if k not in NOT_SETTINGS}
    settings = {k: _by_content(v, _folder_of(source)) for k, v in settings.items()}
    return jsonable({**found, "settings": settings} if settings else found)


class Known:
    """Live experts seen in this process, so that what playing does to one does not count.

    A player may keep a log or count its calls. It stays who it was while its state is the one in
    which the last recording left it.
    """

    def __init__(self) -> None:
        self._seen: dict[int, tuple[Any, Identity, Identity]] = {}  # the object is kept alive

    def identity(self, source: Any, options: dict[str, Any] | None = None) -> Identity:
        """Return an expert's identity; its first one if only recordings changed it."""
        now = identity_of(source, options)
        _, first, left = self._seen.get(id(_inner(source)), (None, now, None))
        return first if now == left else now

    def leave(self, source: Any, identity: Identity, options: dict[str, Any] | None = None) -> None:
        """Keep in mind how a recording leaves a live expert."""
        if not isinstance(source, str | Path):
            inner = _inner(source)
            self._seen[id(inner)] = inner, identity, identity_of(source, options)


def _inner(source: Any) -> Any:
    """Return the function or player that a wrapper of ours holds; anything else as it is."""
    if not is_of_library(getattr(type(source), "__module__", None)):
        return source
    held = (getattr(source, name, None) for name in ("function", "player"))
    return next((inner for inner in held if inner is not None), source)


KNOWN = Known()


def said(identity: Identity) -> str:
    """Return an identity as one line for people."""
    parts = [f"{k} {v[:40]}" for k, v in identity.items() if isinstance(v, str) and v]
    files = identity.get("files") or {}
    parts += [f"{name} {digest[:12]}" for name, digest in files.items()]
    settings = identity.get("settings") or {}
    parts += [f"{k}={v}" for k, v in settings.items()]
    unknown = identity.get("unknown")
    if unknown:
        parts.append(f"no identity can be had of {', '.join(unknown)}")
    return ", ".join(parts)


def _kind_of(source: Any, options: dict[str, Any]) -> Identity:
    own = getattr(source, OWN, None)
    if isinstance(own, dict):
        return own
    if isinstance(source, str) and is_file_reference(source):
        name = split_reference(source)[1] or EXPERT
        return {**_of_object(found_in_file(source, EXPERT)), "name": name}
    if isinstance(source, str) and EXPERTS.knows(source):
        return _of_name(source, options)
    if isinstance(source, str | Path) or hasattr(source, "__fspath__"):
        return _of_path(Path(source))
    return _of_object(source)


def _of_name(name: str, options: dict[str, Any]) -> Identity:
    """Return the identity of a registered name: its maker counts where it is not isoclone's.

    A maker may say it by itself: `maker.identity(*rest, **options)`, a dictionary.
    """
    found, rest = EXPERTS.find(name)
    maker = inspect.unwrap(found)
    own = getattr(maker, OWN, None)
    if own is not None:
        return {"name": name.partition("/")[0], **own(*rest, **options)}
    if str(getattr(maker, "__module__", "")).startswith(OURS) and not is_reference(name):
        return {"name": name}
    return {**_of_object(maker), "name": name}


def _of_path(path: Path) -> Identity:
    """Return the hash of a file and of what belongs to it, or of the files of a directory.

    Its own name does not count.
    """
    if not path.is_dir():
        beside = {p.name: sha256_file(p) for p in settings_of(path)}
        return {"file": sha256_file(path), **({"beside": beside} if beside else {})}
    inside = sorted(p for p in path.rglob("*") if p.suffix in FILES)
    return {"files": {p.relative_to(path).as_posix(): sha256_file(p) for p in inside}}


def _by_content(value: Any, folder: Path | None) -> Any:
    """Return a setting; one that is the path of a file is known by what is in it."""
    file = _file_named(value, folder)
    if file is not None:
        return {"file": sha256_file(file)}
    return str(value) if isinstance(value, PurePath) else value


def _folder_of(source: Any) -> Path | None:
    """Return the folder of the Python file that an expert is named in."""
    if isinstance(source, str) and is_file_reference(source):
        return Path(split_reference(source)[0]).parent
    return None


def _file_named(value: Any, folder: Path | None) -> Path | None:
    """Return the file that a value is the path of, from the working directory or a folder."""
    if not isinstance(value, str | PurePath) or not 0 < len(str(value)) < 1_000:
        return None
    if "\0" in str(value):
        return None
    places = [Path(value), *([] if folder is None else [folder / value])]
    with suppress(OSError):  # a part of it may be too long for a name
        return next((place for place in places if place.is_file()), None)
    return None


def _of_object(source: Any) -> Identity:
    """Return module, qualified name and digest of a function, a class or an object."""
    names = inner = _inner(source)  # a wrapper of ours tells little
    if not hasattr(names, "__qualname__"):
        names = type(names)
    reader = _Reader()
    fields = vars(source) if inner is not source else {}
    settings = {k: v for k, v in fields.items() if isinstance(v, PLAIN) and k[0] != "_"}
    digest = stable_id([reader.content(thing, DEEPEST) for thing in (inner, settings)], 16)
    found = {"module": _module(names), "qualname": names.__qualname__, "source": digest}
    if reader.files:
        found["files"] = dict(sorted(reader.files.items()))
    return {**found, "unknown": sorted(reader.unknown)} if reader.unknown else found


def _module(thing: Any) -> str:
    name = getattr(thing, "__module__", None) or ""
    return "" if name in ("__main__", "__mp_main__", "<run_path>") else str(name)


class _Reader:
    """Turns what an expert is made of into plain values; what it cannot is in `unknown`.

    The files that it uses are in `files`: their hashes, by name.
    """

    def __init__(self) -> None:
        self.unknown: set[str] = set()
        self.files: dict[str, str] = {}
        self._inside: set[int] = set()

    def content(self, value: Any, depth: int) -> Any:
        """Return plain values that are equal for equal things."""
        if isinstance(value, PLAIN):
            return [type(value).__name__, repr(value)]
        if isinstance(value, np.ndarray | np.generic):
            array = np.asarray(value)
            raw = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
            return ["array", str(array.dtype), list(array.shape), raw]
        if isinstance(value, PurePath):
            return ["path", str(value)]
        if isinstance(value, types.ModuleType):
            self._add_modules([place(value)])
            return ["module", value.__name__]
        if depth <= 0 or id(value) in self._inside:
            return [type(value).__name__]
        self._inside.add(id(value))
        try:
            return self._compound(value, depth - 1)
        finally:
            self._inside.discard(id(value))

    def _compound(self, value: Any, depth: int) -> Any:
        if isinstance(value, list | tuple):
            return [type(value).__name__, *(self.content(v, depth) for v in value)]
        if isinstance(value, set | frozenset | dict):
            return self._unordered(value, depth)
        if isinstance(value, functools.partial):
            parts = (value.func, value.args, value.keywords)
            return ["partial", *(self.content(v, depth) for v in parts)]
        if isinstance(value, types.MethodType):
            return ["method", value.__name__, self.content(value.__self__, depth)]
        if isinstance(value, types.FunctionType):
            return self._function(value, depth)
        if isinstance(value, type):
            return self._class(value, depth)
        return self._object(value, depth)

    def _add_modules(self, due: list[tuple[str, Path]]) -> None:
        """Add the files of a user's modules, and of the user's modules that they use."""
        while due:
            name, file = due.pop()
            if is_of_library(name) or not file.is_file():
                continue
            inner = "/__init__" if file.stem == "__init__" else ""
            known = f"{name.replace('.', '/')}{inner}{file.suffix}"
            if known not in self.files:
                self.files[known] = digest = sha256_file(file)
                due += files_named(imports_in(file, digest, name), file.parent)
                due += [place(module) for module in modules_in(sys.modules.get(name))]

    def _add_named(self, function: types.FunctionType, *values: Any) -> None:
        """Add the files that values name, from the working directory or beside a function."""
        for value in values:
            file = _file_named(value, Path(function.__code__.co_filename).parent)
            if file is not None:
                digest = sha256_file(file)
                same = self.files.setdefault(file.name, digest) == digest
                self.files[file.name if same else str(value)] = digest

    def _add_used(self, function: types.FunctionType) -> None:
        defaults = *(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()
        self._add_named(function, *defaults, *_used_by(function).values())
        imported = imports_of(function.__code__, function.__globals__.get("__package__") or "")
        self._add_modules(files_named(imported, Path(function.__code__.co_filename).parent))

    def _unordered(self, value: Any, depth: int) -> Any:
        if not isinstance(value, dict):
            return [type(value).__name__, *sorted(map(repr, value))]
        items = sorted(value.items(), key=lambda item: repr(item[0]))
        return ["dict", *([repr(k), self.content(v, depth)] for k, v in items)]

    def _function(self, function: types.FunctionType, depth: int) -> Any:
        """Return a function's source, what it closes over, its defaults, and what it refers to."""
        code = function.__code__
        if is_of_library(function.__module__):
            return ["function", function.__module__, function.__qualname__]
        self._add_used(function)
        text = None if function.__name__ == "<lambda>" else _text(function)
        return [
            "function",
            _instructions(code) if text is None else text,
            self.content(function.__defaults__, depth),
            self.content(function.__kwdefaults__, depth),
            self.content(_closed_over(function), depth),
            self.content(_used_by(function), depth),
        ]

    def _class(self, kind: type, depth: int) -> Any:
        if is_of_library(kind.__module__):
            return ["class", kind.__module__, kind.__qualname__]
        functions = {n: f for n, v in vars(kind).items() if (f := _function_of(v)) is not None}
        values = {n: v for n, v in vars(kind).items() if _is_value(n, v)}
        for function in functions.values():
            self._add_used(function)
            self._add_named(function, *values.values())
        bases = [self.content(base, depth) for base in kind.__bases__]
        # A dataclass's own methods are made by Python and have no source: the class's has all.
        said = _text(kind)
        made = {} if said else functions
        used = {n: _used_by(f) for n, f in functions.items()} if said else {}
        return ["class", said or "", self.content(made, depth), self.content(used, depth),
                self.content(values, depth), *bases]  # fmt: skip

    def _object(self, value: Any, depth: int) -> Any:
        """Return an object's class and state; a network's is its weights."""
        kind = self.content(type(value), depth)
        if hasattr(value, "detach") and hasattr(value, "numpy"):  # a tensor of torch
            return self.content(value.detach().cpu().numpy(), depth)
        for weights in ("state_dict", "get_parameters"):  # torch's modules; stable-baselines3's
            if callable(getattr(value, weights, None)):
                return [weights, kind, self.content(getattr(value, weights)(), DEEPEST)]
        if isinstance(value, np.random.Generator):
            return ["generator", self.content(value.bit_generator.state, depth)]
        own = getattr(value, OWN, None)
        if isinstance(own, dict):
            return ["identity", jsonable(own)]
        state = dict(_state(value))
        if not state and is_of_library(type(value).__module__):
            self.unknown.add(f"{type(value).__module__}.{type(value).__qualname__}")
        return ["object", kind, self.content(state, depth)]


def _state(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield an object's fields: of its dictionary, of its slots, of a dataclass."""
    yield from getattr(value, "__dict__", {}).items()
    for kind in type(value).__mro__:
        slots = vars(kind).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(value, name) and not name.startswith("__"):
                yield name, getattr(value, name)
    if dataclasses.is_dataclass(value):
        yield from ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))


def _is_value(name: str, value: Any) -> bool:
    """Return whether a class's attribute is a setting, and none of those that Python adds."""
    return not name.startswith("__") and isinstance(value, VALUES)


def _function_of(value: Any) -> types.FunctionType | None:
    """Return a method's function, also a static, a class's, a property's; None if it is none."""
    for inner in ("__func__", "fget", "func"):
        value = getattr(value, inner, value)
    return value if isinstance(value, types.FunctionType) else None


def _names(code: types.CodeType) -> list[str]:
    """Return the global names that a function and those inside it may refer to, sorted."""
    inner = [c for c in code.co_consts if isinstance(c, types.CodeType)]
    return sorted({*code.co_names, *(name for c in inner for name in _names(c))})


def _closed_over(function: types.FunctionType) -> dict[str, Any]:
    """Return what a function closes over; a name that has no value yet is left out."""
    found = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):
            found[name] = cell.cell_contents
    return found


def _used_by(function: types.FunctionType) -> dict[str, Any]:
    """Return the globals that a function refers to."""
    known = function.__globals__
    return {name: known[name] for name in _names(function.__code__) if name in known}


def _text(thing: Any) -> str | None:
    """Return the source of a function or a class, without its indentation; None if it is lost."""
    try:
        return inspect.cleandoc(inspect.getsource(thing))
    except (OSError, TypeError):
        return None


def _instructions(code: types.CodeType) -> list[Any]:
    """Return a function's instructions: two lambdas on one line have the same source."""
    inner = [_instructions(c) if isinstance(c, types.CodeType) else repr(c) for c in code.co_consts]
    return [hashlib.sha256(code.co_code).hexdigest(), inner, list(code.co_names)]
