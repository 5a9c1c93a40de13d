"""What lies beside an SB3 zip: RL Zoo's `args.yml` and `config.yml`, and VecNormalize's statistics.

RL Zoo keeps `<algo>/<env>_1/<env>.zip`, with its settings in the folder `<env>` beside it; a
repository of the hub keeps all in one folder. The two YAML files hold tags that name Python
objects, so they are read by a reader that takes such an object for the plain list it is written as.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isoclone.base.errors import CheckpointError, MissingExtraError

STATISTICS = ("vecnormalize.pkl", "vec_normalize.pkl")


@dataclass(frozen=True)
class Beside:
    """The publisher's settings of a zip, as far as they were found beside it.

    `args` and `config` are what the two files say, {} without one; `files` are those that were
    read. `statistics` is the file of VecNormalize's, None if there is none.
    """

    args: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    statistics: Path | None = None

    @property
    def by_zoo(self) -> bool:
        """Whether RL Zoo wrote these files."""
        return bool(self.config) and "policy" in self.config

    @property
    def env_id(self) -> str | None:
        """The id of the environment it was trained in, None if not said."""
        return str(self.args["env"]) if self.args.get("env") else None

    @property
    def frame_stack(self) -> int | None:
        """The observations that were stacked; None if not said."""
        stack = self.config.get("frame_stack")
        if stack is not None and str(stack).isdigit():
            return int(stack)
        return 1 if self.config else None

    @property
    def normalizes(self) -> bool | None:
        """Whether observations were normalised in training; None if the files do not say."""
        if "normalize" not in self.config:
            return None
        setting = self.config["normalize"]
        if isinstance(setting, str):  # as in "dict(norm_obs=True, norm_reward=False)"
            said = re.search(r"norm_obs\W+(True|False)", setting)
            return (said is None and setting.lower() != "false") or bool(said and said[1] == "True")
        if isinstance(setting, dict):
            return bool(setting.get("norm_obs", True))
        return bool(setting)

    @property
    def wrapper_options(self) -> dict[str, Any]:
        """The settings of Atari's wrapper that differ from its own; {} if none."""
        wrappers = self.config.get("env_wrapper") or []
        for one in wrappers if isinstance(wrappers, list) else [wrappers]:
            if isinstance(one, dict):
                for name, options in one.items():
                    if str(name).endswith("AtariWrapper") and isinstance(options, dict):
                        return options
        return {}


def look_beside(path: Path) -> Beside:
    """Read what lies beside the zip at `path`.

    Raises:
        CheckpointError: a file there cannot be read.
        MissingExtraError: there are such files, and PyYAML is not installed.
    """
    folders = list(_folders(path))
    found = {name: _first(folders, name) for name in ("args.yml", "config.yml")}
    said = {name: read_yaml(file) if file else {} for name, file in found.items()}
    files = tuple(file for file in found.values() if file)
    return Beside(said["args.yml"], said["config.yml"], files, _statistics(path, folders))


def settings_of(path: Path) -> list[Path]:
    """Return the files beside a zip that say how it plays; [] for another file."""
    if path.suffix != ".zip":
        return []
    folders = list(_folders(path))
    found = [_first(folders, name) for name in ("args.yml", "config.yml")]
    return [file for file in [*found, _statistics(path, folders)] if file]


def wanted_statistics(path: Path) -> list[str]:
    """Return where the statistics of a zip are looked for, as paths for people."""
    return [f"{path.parent / STATISTICS[0]}", f"{path.with_suffix('') / STATISTICS[0]}"]


def _folders(path: Path) -> Iterator[Path]:
    """Yield the folders that may hold a zip's settings, the most special first."""
    yield path.with_suffix("")
    run = re.fullmatch(r"(.+)_\d+", path.absolute().parent.name)  # best_model.zip in <env>_1
    if run:
        yield path.parent / run[1]
    yield path.parent


def _first(folders: list[Path], name: str) -> Path | None:
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def _statistics(path: Path, folders: list[Path]) -> Path | None:
    stem = path.stem
    own = [f"{stem}_vecnormalize.pkl", f"{stem}_vec_normalize.pkl", f"{stem}.pkl"]
    checkpoint = re.fullmatch(r"(.+)_(\d+_steps)", stem)  # as SB3's CheckpointCallback names them
    if checkpoint:
        own.append(f"{checkpoint[1]}_vecnormalize_{checkpoint[2]}.pkl")
    places = [path.parent / name for name in own]
    places += [folder / name for folder in folders for name in STATISTICS]
    return next((place for place in places if place.is_file()), None)


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the settings of one of RL Zoo's files; objects that its tags name are not made.

    Raises:
        CheckpointError: it cannot be read, or holds no settings by name.
        MissingExtraError: PyYAML is not installed.
    """
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"reading {path}", "sb3") from error

    class Plain(yaml.SafeLoader):
        """Reads any tag as the plain value that it is written as."""

    def plain(loader: Any, _: str, node: Any) -> Any:
        kind = {yaml.MappingNode: "mapping", yaml.SequenceNode: "sequence"}.get(type(node))
        if kind is None:
            return loader.construct_scalar(node)
        return getattr(loader, f"construct_{kind}")(node, deep=True)

    Plain.add_multi_constructor("", plain)
    try:
        said = yaml.load(path.read_text("utf-8"), Loader=Plain)  # a safe loader
        return {str(name): value for name, value in _pairs(said)}
    except (yaml.YAMLError, OSError, UnicodeDecodeError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path} cannot be read: {' '.join(str(error).split())[:120]}") from (
            error
        )


def _pairs(said: Any) -> Any:
    """Return (name, value) pairs of a mapping, or of an OrderedDict written as [[pair, ...]]."""
    if said is None:
        return []
    if isinstance(said, dict):
        return said.items()
    inner = said[0] if len(said) == 1 and isinstance(said[0], list) else said
    if not all(isinstance(pair, list) and len(pair) == 2 for pair in inner):
        raise ValueError("no settings by name")
    return inner
