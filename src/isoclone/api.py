"""The public functions of `import isoclone as ic`, and the doors by which things are added.

Importing this is light: each function imports what it needs, so that a plugin's `register()`, which
every process calls, brings in neither torch nor a game.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isoclone.base.errors import SpecError
from isoclone.base.registry import Registry, add_verb, is_reference, trust_typed

if TYPE_CHECKING:
    import torch

    from isoclone.agents.agent import Agent
    from isoclone.agents.checkpoint import TrainedPolicy
    from isoclone.agents.export import Exporter
    from isoclone.base.records import Forecast, Point
    from isoclone.demos import Demonstrations
    from isoclone.demos.foreign import Foreign
    from isoclone.evaluation.dev_loss import DevLoss
    from isoclone.evaluation.rollout import Returns
    from isoclone.executors import Executor
    from isoclone.experts import Expert
    from isoclone.games import Game
    from isoclone.laws import Law
    from isoclone.report.sections import Render
    from isoclone.study.session import Session
    from isoclone.study.spec import StudySpec
    from isoclone.study.study import Study
    from isoclone.training.recipes import Recipe


# ---------------------------------------------------------------------- games and experts


def game(name: str, **options: Any) -> Game:
    """Return a game by name.

    Args:
        name: 'toy', 'atari/Breakout', 'gym/CartPole-v1', a registered one, or the maker of one as
            "package.module:Name", whose module is trusted by this.
        options: the game's own.

    Raises:
        UnknownNameError: no such game.
        SpecError: an option the game does not have, or a value it cannot take.
    """
    from isoclone import games

    trust_typed(name)
    return games.game(name, **options)


def expert(
    source: str | os.PathLike[str] | Callable[..., Any] | Expert,
    game: str | Game,
    **options: Any,
) -> Expert:
    """Return an expert by name, file or function; see `isoclone.experts.expert`.

    A name "package.module:Name" trusts its module.

    Raises:
        UnknownNameError: no such expert.
        TrustError: the source is pickled and `trust` was not given.
        SpecError: an option the expert does not have.
    """
    from isoclone import experts

    trust_typed(source if isinstance(source, str) else None)
    return experts.expert(source, _game(game), **options)


def _game(given: str | Game) -> Game:
    return game(given) if isinstance(given, str) else given


def record(
    expert: str | os.PathLike[str] | Callable[..., Any] | Expert,
    game: str | Game,
    *,
    samples: int,
    path: str | Path,
    seed: int = 0,
    dev_fraction: float = 0.1,
    executor: Executor | None = None,
    **expert_options: Any,
) -> Demonstrations:
    """Record an expert's demonstrations into a directory, or go on with what is there.

    More samples than are there are recorded on; fewer are answered by what is there.

    Args:
        expert: what `isoclone.expert` takes, or gives (picklable, if other processes play).
        game: a name, or a game.
        samples: at least so many; the last episode is finished.
        path: the directory.
        executor: who plays; this process alone unless said.

    Raises:
        SpecMismatchError: the directory holds demonstrations of another expert or request.
    """
    from isoclone import experts
    from isoclone.demos import RecordRequest, record_demonstrations
    from isoclone.executors import SerialExecutor

    the_game = _game(game)
    if isinstance(expert, str | os.PathLike):
        expert = os.fspath(expert)
        trust_typed(expert)
    else:
        expert = experts.expert(expert, the_game)
    request = RecordRequest(
        game=the_game.name,
        expert=expert,
        samples=samples,
        seed=seed,
        dev_fraction=dev_fraction,
        game_options=the_game.options(),
        expert_options=expert_options,
    )
    with executor or SerialExecutor() as workers:
        return record_demonstrations(request, path, workers)


# ---------------------------------------------------------------------- studies and policies


def run(study: Study, session: Session | None = None) -> Study:
    """Carry out a whole study, from demonstrations to report; what is done is not done again.

    Args:
        study: of `Study.create` or `Study.open`.
        session: who does the work; this process alone, on the CPU, unless said.

    Raises:
        StoreError: another process is at work on this study, or the disk is full.
        ExecutionError: recording failed, or every size failed at a budget.
        SpecError: it is no study.
    """
    from isoclone.base.records import shown
    from isoclone.study import repair

    if not hasattr(study, "spec"):
        raise SpecError(f"ic.run takes a study, as Study.open(path) gives it, not {shown(study)}")
    return repair.run(study, session)


def train(study: Study, forecast: Forecast, session: Session | None = None) -> Point:
    """Train the agent that a forecast describes, and measure it.

    Raises:
        ExecutionError: the forecast's size costs more than its budget in a single batch.
    """
    from isoclone.study import trial

    return trial.train_forecast(study, forecast, session)


def load(
    checkpoint: str | Path, device: str = "cpu", sampling: str = "sample", seed: int = 0
) -> Agent:
    """Load an agent: `agent.act(observation)` returns an action, in anybody's own loop.

    Args:
        checkpoint: a checkpoint (.safetensors), a run's folder (its largest), a study (its
            forecast agent), or hf://USER/NAME.
        device: 'cpu', 'cuda', 'mps'.
        sampling: 'sample', 'argmax', or settings: 'temperature=0.7,top_p=0.9,top_k=5'.
        seed: of what is drawn.

    Raises:
        CheckpointError: the file is damaged, or does not hold what it says.
        DataError: there is no checkpoint.
    """
    from isoclone.agents.agent import load_agent
    from isoclone.study.checkpoints import checkpoint_in

    return load_agent(checkpoint_in(checkpoint), device, sampling, seed)


def export(policy: TrainedPolicy, to: str, out: str | Path) -> Path:
    """Write an agent for other programs, as `isoclone export` does; return the path.

    Args:
        policy: of `ic.load`.
        to: 'safetensors', 'onnx', 'torch', or what was registered.
        out: the file or folder to write.

    Raises:
        UnknownNameError: no such format.
        SpecError: there is something at `out`, or the policy cannot be written so.
        MissingExtraError: a package that the format needs is not installed.
    """
    from isoclone.agents.export import export as write

    return write(policy, to, Path(out))


def evaluate(policy: TrainedPolicy, demos: Demonstrations, samples: int = 20_000) -> DevLoss:
    """Measure the teacher-forced dev loss of a policy on held-out episodes, in nats per action."""
    from isoclone.evaluation.dev_loss import dev_loss

    source = demos.source(policy.encoder.kind, policy.encoder.layout)
    return dev_loss(policy, source, samples)


def rollout(
    policy: TrainedPolicy,
    game: str | Game,
    episodes: int = 32,
    seed: int = 0,
    sampling: str = "sample",
) -> Returns:
    """Play whole episodes with a policy and return their returns.

    `sampling` is 'sample', 'argmax', or settings: 'temperature=0.7,top_p=0.9,top_k=5'.
    """
    from isoclone.evaluation.rollout import rollout as play_out

    return play_out(policy, _game(game), episodes, seed, sampling)


def policy_params(policy: str, width: int, game: str | Game, **options: Any) -> int:
    """Count the trainable parameters of a policy of a width for a game."""
    from isoclone import policies

    the_game = _game(game)
    trust_typed(policy)
    return policies.policy_params(policy, width, the_game.frame, the_game.n_actions, **options)


def policy_flops(
    policy: str, width: int, game: str | Game, convention: str = "exact", **options: Any
) -> float:
    """Count the FLOPs to train a policy on one sample (conventions: `isoclone.policies.flops`)."""
    from isoclone import policies

    the_game = _game(game)
    trust_typed(policy)
    return policies.policy_flops(
        policy, width, the_game.frame, the_game.n_actions, convention, **options
    )


def width_for(params: float, policy: str, game: str | Game, **options: Any) -> int:
    """Return the width whose parameter count is nearest to `params`."""
    from isoclone import policies

    the_game = _game(game)
    trust_typed(policy)
    return policies.width_for(params, policy, the_game.frame, the_game.n_actions, **options)


# ---------------------------------------------------------------------- the doors
#
# A callable is checked when it is registered. A name "package.module:Name" is imported and checked
# before its first use in a process.


def register_game(name: str, maker: Callable[..., Game] | str) -> None:
    """Add a game under a name.

    Args:
        name: what studies call it; 'family/' for all names that begin so.
        maker: `maker(**options) -> Game` (`maker(rest, **options)` of a family), or its name.

    Raises:
        SpecError: what is wrong with it, and where.
    """
    from isoclone.base.tables import GAMES

    _register(GAMES, name, maker, None if name.endswith("/") else ((), {}))


def register_expert(
    name: str, maker: Callable[..., Expert] | str, game: str | Game | None = None
) -> None:
    """Add an expert under a name.

    Args:
        name: what studies call it; 'family/' for all names that begin so.
        maker: `maker(game=..., **options) -> Expert`, or its name.
        game: a game to check it in now; it is checked before its first use if None.

    Raises:
        SpecError: what is wrong with it, and where.
    """
    from isoclone.base.tables import EXPERTS

    _register(EXPERTS, name, maker, None if game is None else ((), {"game": _game(game)}))


def register_policy(
    name: str, maker: Callable[..., torch.nn.Module] | str, game: str | Game = "toy"
) -> None:
    """Add a policy under a name.

    Args:
        name: what studies call it.
        maker: `maker(width, frame, n_actions, **options) -> torch.nn.Module`, or its name.
        game: the game on whose frames a callable is checked now.

    Raises:
        SpecError: what is wrong with it, and where.
    """
    from isoclone.base.tables import POLICIES

    if isinstance(maker, str):
        return _register(POLICIES, name, maker, None)
    the_game = _game(game)
    return _register(POLICIES, name, maker, ((4, the_game.frame, the_game.n_actions), {}))


def register_law(name: str, fit: Law | str) -> None:
    """Add a law under a name: `fit(table) -> object with forecast(flops)`, or that function's name.

    Raises:
        SpecError: what is wrong with it.
    """
    from isoclone.base.tables import LAWS

    _check_callable(LAWS, name, fit)
    if not isinstance(fit, str):
        from isoclone.testing import check_law

        check_law(fit, name)
    LAWS.add(name, fit, checked=not isinstance(fit, str))


def register_demonstrations(
    kind: str, opener: Callable[[Path, bool], Demonstrations] | str, path: str | Path | None = None
) -> None:
    """Add a kind of demonstrations: those whose `demonstrations.json` says "kind": `kind`.

    Args:
        kind: as the file says it.
        opener: `opener(path, verify) -> Demonstrations`, or its name.
        path: a directory to check it with now; it is checked before its first use if None.

    Raises:
        SpecError: what is wrong with it.
    """
    from isoclone.base.tables import DEMONSTRATIONS

    _register(DEMONSTRATIONS, kind, opener, None if path is None else ((Path(path), True), {}))


def register_import(kind: str, reader: Callable[..., Foreign] | str) -> None:
    """Add a format of others' demonstrations: `isoclone demos import KIND PLACE`, `import_demos`.

    Args:
        kind: what is typed.
        reader: `reader(place, **options) -> isoclone.demos.foreign.Foreign`, or its name.

    Raises:
        SpecError: it is neither a callable nor a name.
    """
    from isoclone.base.tables import IMPORTS

    _register(IMPORTS, kind, reader, None)


def register_executor(name: str, maker: Callable[..., Executor] | str) -> None:
    """Add an executor under a name: `maker(workers, **options) -> Executor`, or its name.

    It is checked before its first use, as making one may ask a cluster for machines.

    Raises:
        SpecError: it is neither a callable nor a name.
    """
    from isoclone.base.tables import EXECUTORS

    _register(EXECUTORS, name, maker, None)


def register_exporter(name: str, exporter: Exporter | str) -> None:
    """Add a format for `isoclone export --to NAME`: `exporter(policy, path)`, or its name.

    It writes the policy to a file, or a folder, that is not there yet.

    Raises:
        SpecError: it is neither a callable nor a name.
    """
    from isoclone.base.tables import EXPORTERS

    _check_callable(EXPORTERS, name, exporter)
    EXPORTERS.add(name, exporter)


def register_section(name: str, render: Render | str, after: str = "went") -> None:
    """Add a section to every report, after another one.

    Args:
        name: its id on the page: letters, digits, '-' and '_'.
        render: `render(facts) -> Section | None`, or its name.
        after: the section that it follows.

    Raises:
        SpecError: the name cannot be an id, or is that of a built-in section.
        UnknownNameError: there is no section `after`.
    """
    from isoclone.report import sections

    _check_callable(sections.SECTIONS, name, render)
    sections.add_section(name, render, after)


def register_study(name: str, study: StudySpec | str) -> None:
    """Add a study under a name, for `isoclone run NAME`.

    Args:
        name: what is typed.
        study: a specification, or the name of one as "package.module:name".

    Raises:
        SpecError: it is neither, or it cannot be studied.
    """
    from isoclone.base.tables import STUDIES

    if isinstance(study, str):
        _check_callable(STUDIES, name, study)
    else:
        study.check()
    STUDIES.add(name, study)


def register_recipe(name: str, recipe: Recipe | str) -> None:
    """Add a training recipe under a name.

    Args:
        name: what studies call it.
        recipe: a recipe of that name, or the name of one as "package.module:name".

    Raises:
        SpecError: it is neither, or is called something else.
    """
    from isoclone.base.tables import RECIPES

    if isinstance(recipe, str):
        _check_callable(RECIPES, name, recipe)
    elif recipe.name != name:
        raise SpecError(f"recipe '{name}': its `name` is '{recipe.name}'; use one name for both")
    RECIPES.add(name, recipe)


def register_verb(words: str, function: Callable[..., None] | str) -> None:
    """Add a verb to the command line.

    Args:
        words: what is typed after `isoclone`, as in "demos import csv": groups, then the verb.
        function: a typed function whose docstring is the help, or its name.

    Raises:
        SpecError: words that nobody could type, or a function without a docstring.
    """
    add_verb(words, function)


def _register(
    registry: Registry,
    name: str,
    maker: Callable[..., Any] | str,
    arguments: tuple[tuple[Any, ...], dict[str, Any]] | None,
) -> None:
    """Add a maker; one that is callable is checked now if there are arguments to call it with."""
    _check_callable(registry, name, maker)
    if isinstance(maker, str) or arguments is None:
        registry.add(name, maker, checked=False)
        return
    args, options = arguments
    registry.check(name, maker, *args, **options)
    registry.add(name, maker)


def _check_callable(registry: Registry, name: str, maker: Any) -> None:
    if not callable(maker) and not (isinstance(maker, str) and is_reference(maker)):
        raise SpecError(
            f"{registry.kind} '{name}': give a callable or \"package.module:Name\", not {maker!r}"
        )
