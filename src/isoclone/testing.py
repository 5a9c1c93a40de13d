"""Checks for what users add: a game, an expert, a policy, a law, demonstrations, an executor.

Each plays or computes for a moment and raises SpecError naming the culprit and the broken promise.
The doors of `isoclone.api` call them: a callable is checked when it is registered, and a name
"package.module:Name" before its first use in each process.

    ic.register_game("catch2", Catch2)
    isoclone.testing.check_game(Catch2())
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from isoclone import experts, games, policies
from isoclone.base.errors import IsocloneError, SpecError
from isoclone.base.registry import is_reference
from isoclone.executors import Executor
from isoclone.experts import Expert, View
from isoclone.games import Env, FrameSpec, Game

if TYPE_CHECKING:
    import torch

Maker = Callable[..., Any]
Args = tuple[Any, ...]
Options = dict[str, Any]

STEPS = 100  # of an episode that a game is watched for
MOVES = 20  # of an episode that an expert is watched for
SAME = 1e-4  # largest difference of two logits that count as equal


def _demand(holds: bool, who: str, what: str) -> None:
    if not holds:
        raise SpecError(f"{who}: {what}")


@contextmanager
def _naming(who: str, what: str) -> Iterator[None]:
    """Turn whatever the user's own code raises into a SpecError that says whose code it was."""
    try:
        yield
    except IsocloneError:
        raise
    except Exception as error:
        said = " ".join(str(error).split())[:160]
        raise SpecError(f"{who}: {what} raised {type(error).__name__}: {said}") from error


# ---------------------------------------------------------------------- games


def check_game(game: Game) -> None:
    """Play a game for a moment and hold it to the protocol.

    Five short episodes are played in two environments, which are closed again.

    Raises:
        SpecError: the first promise that is broken.
    """
    who = f"game {getattr(game, 'name', type(game).__name__)!r}"
    _check_declared(game, who)
    with _environment(game, who) as one, _environment(game, who) as two:
        _demand(one is not two, who, "make_env() must make a new environment at each call")
        alone = _episode(one, game, who)
        again = _episode(one, game, who)
        _demand(again[0] == alone[0], who, "reset(seed) must give the same frame again")
        _demand(again == alone, who, "the same seed and actions gave different episodes")
        _check_apart(one, two, game, who, alone)
        other = _episode(two, game, who)
        _demand(other == alone, who, "the same seed and actions gave different episodes in turn")


def _check_declared(game: Game, who: str) -> None:
    for name in ("name", "n_actions", "frame", "max_steps", "make_env", "options"):
        _demand(hasattr(game, name), who, f"has no `{name}`")
    for name in ("random_score", "expert_score"):
        _demand(hasattr(game, name), who, f"has no `{name}`; set it to None if it is not known")
    _demand(isinstance(game.frame, FrameSpec), who, "`frame` must be a FrameSpec")
    _demand(game.frame.dtype in ("uint8", "float32"), who, "`frame.dtype` must be uint8 or float32")
    _demand(game.n_actions >= 2, who, f"`n_actions` must be at least 2, not {game.n_actions}")
    _demand(game.max_steps >= 1, who, f"`max_steps` must be at least 1, not {game.max_steps}")
    with _naming(who, "options()"):
        options = game.options()
    _demand(isinstance(options, dict), who, "options() must return a dict")


@contextmanager
def _environment(game: Game, who: str) -> Iterator[Env]:
    """An environment of the game that is closed whatever happens."""
    with _naming(who, "make_env()"):
        env = game.make_env()
    itself = "make_env() returned the game itself; it must make a new environment at each call"
    _demand(env is not game, who, itself)
    try:
        yield env
    except BaseException:
        with suppress(Exception):  # the first error is the one to tell
            games.close(env)
        raise
    with _naming(who, "close()"):
        games.close(env)


class _Playing:
    """An episode in progress, each frame and answer held to the protocol."""

    def __init__(self, env: Env, game: Game, who: str, seed: int):
        self._env, self._game, self._who = env, game, who
        self._actions = iter(np.random.default_rng(0).integers(game.n_actions, size=STEPS))
        with _naming(who, "reset()"):
            self.frame = env.reset(seed)
        self.over = False
        # What was seen: copies, since an environment may hand out the same array every time.
        self.seen: list[tuple[bytes, float, bool, bool]] = []
        self._see("reset()", 0.0, False, False)

    def step(self) -> None:
        """Act once at random; the episode is over when it ends or `STEPS` are done."""
        action = next(self._actions, None)
        if action is None:
            self.over = True
            limit = self._game.max_steps
            _demand(limit > STEPS, self._who, f"an episode must end after max_steps = {limit}")
            return
        with _naming(self._who, "step()"):
            answer = self._env.step(int(action))
        is_four = isinstance(answer, tuple) and len(answer) == 4
        _demand(is_four, self._who, "step() must return (frame, reward, terminated, truncated)")
        self.frame, reward, terminated, truncated = answer
        with _naming(self._who, "the reward of step()"):
            _demand(bool(np.isfinite(reward)), self._who, f"step() gave reward {reward}")
        self._see("step()", float(reward), bool(terminated), bool(truncated))
        self.over = bool(terminated or truncated)

    def _see(self, call: str, *answer: Any) -> None:
        _check_frame(self.frame, self._game.frame, f"{self._who}: {call}")
        self.seen.append((self.frame.tobytes(), *answer))


def _check_frame(frame: Any, spec: FrameSpec, who: str) -> None:
    _demand(isinstance(frame, np.ndarray), who, f"gave a {type(frame).__name__}, not an array")
    _demand(frame.shape == spec.shape, who, f"gave a frame of shape {frame.shape}, `frame` says "
            f"{spec.shape}")
    _demand(frame.dtype == np.dtype(spec.dtype), who, f"gave dtype {frame.dtype}, `frame` says "
            f"{spec.dtype}")
    finite = frame.dtype.kind != "f" or bool(np.isfinite(frame).all())
    _demand(finite, who, "gave a frame with a number that is not finite")


def _episode(env: Env, game: Game, who: str, seed: int = 3) -> list[Any]:
    playing = _Playing(env, game, who, seed)
    while not playing.over:
        playing.step()
    return playing.seen


def _check_apart(one: Env, two: Env, game: Game, who: str, alone: list[Any]) -> None:
    """Play two environments in turn: neither may touch what the other has handed out or is in."""
    first = _Playing(one, game, who, 3)
    held = first.frame.tobytes()
    second = _Playing(two, game, who, 4)
    while not first.over:
        same = first.frame.tobytes() == held
        _demand(same, who, "environments share memory: one changed a frame that another gave")
        first.step()
        held = first.frame.tobytes()
        if not second.over:
            second.step()
    apart = first.seen == alone
    _demand(apart, who, "environments share state: an episode changed when another was played too")


# ---------------------------------------------------------------------- experts


def check_expert(expert: Expert, game: Game) -> None:
    """Let an expert act in a game for a moment and hold it to the protocol.

    Its actions in an episode may depend on nothing outside of it: not on what was played before or
    is played beside it.

    Raises:
        SpecError: the first promise that is broken.
    """
    who = f"expert {getattr(expert, 'name', type(expert).__name__)!r}"
    for name in ("name", "lockstep", "act"):
        _demand(hasattr(expert, name), who, f"has no `{name}`")
    _demand(expert.lockstep >= 1, who, f"`lockstep` must be at least 1, not {expert.lockstep}")
    leaks = (
        "acted differently in the same episode {}; keep what it remembers in view.memory, and draw "
        "chance from view.rng"
    )
    with _environment(game, who) as env, _environment(game, who) as beside:
        alone = _acts(expert, game, who, (0,), env)
        _acts(expert, game, who, (1,), env)
        again = _acts(expert, game, who, (0,), env)
        _demand(again == alone, who, leaks.format("after another one"))
        if expert.lockstep > 1:
            both = _acts(expert, game, who, (0, 1), env, beside)
            _demand(both == alone, who, leaks.format("beside another one"))


def _acts(expert: Expert, game: Game, who: str, seeds: Sequence[int], *envs: Env) -> list[int]:
    """Play episodes side by side; returns the actions in the first of them."""
    views = [View(env, np.random.default_rng(seed), game.frame.stack) for env, seed in
             zip(envs, seeds, strict=True)]
    for view, seed in zip(views, seeds, strict=True):
        view.frames.append(view.env.reset(seed).copy())
    first, chosen = views[0], []
    for _ in range(MOVES):
        with _naming(who, "act()"):
            actions = [int(action) for action in expert.act(views)]
        fits = len(actions) == len(views)
        _demand(fits, who, f"act() of {len(views)} view(s) gave {len(actions)} actions")
        for view, action in zip(list(views), actions, strict=True):
            legal = 0 <= action < game.n_actions
            _demand(legal, who, f"chose action {action}; {game.name} has 0..{game.n_actions - 1}")
            frame, _, terminated, truncated = view.env.step(action)
            view.frames.append(frame.copy())
            if view is first:
                chosen.append(action)
            if terminated or truncated:
                views.remove(view)
        if first not in views:
            break
    return chosen


# ---------------------------------------------------------------------- policies


def check_policy(
    policy: str | Callable[..., Any],
    game: str | Game = "toy",
    widths: tuple[int, int] = (4, 8),
    **options: Any,
) -> None:
    """Make a policy at two widths, push a batch through it and back.

    Args:
        policy: its maker, or its registered name.
        game: the game whose frames it is to read, or that game's name.
        widths: two widths, the second of which must give more parameters.
        options: the policy's own.

    Raises:
        SpecError: the first promise that is broken.
    """
    the_game = games.game(game) if isinstance(game, str) else game
    name = policy if isinstance(policy, str) else getattr(policy, "__name__", "policy")
    maker = policies.POLICIES.find(policy)[0] if isinstance(policy, str) else policy
    _check_policy(name, maker, the_game.frame, the_game.n_actions, options, widths)


def _check_policy(
    name: str,
    maker: Callable[..., Any],
    frame: FrameSpec,
    n_actions: int,
    options: dict[str, Any],
    widths: tuple[int, int] = (4, 8),
) -> None:
    import torch

    who, sizes = f"policy '{name}'", []
    # Whoever asked may be about to draw weights, without storage or without gradients.
    with torch.random.fork_rng(devices=()), torch.device("cpu"), torch.enable_grad():
        torch.manual_seed(0)
        for width in widths:
            with _naming(who, f"making it at width {width}"):
                module = maker(width, frame, n_actions, **options)
            is_module = isinstance(module, torch.nn.Module)
            _demand(is_module, who, "its maker must return a torch module")
            _check_module(module, frame, n_actions, who)
            sizes.append(sum(p.numel() for p in module.parameters()))
    _demand(sizes[1] > sizes[0], who, f"width {widths[1]} is no larger than width {widths[0]}")


def _check_module(module: torch.nn.Module, frame: FrameSpec, n_actions: int, who: str) -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    batch = torch.randn(3, *policies.input_shape(module, frame))
    with FlopCounterMode(display=False) as counter:
        try:
            logits = module(batch)
        except (RuntimeError, ValueError, TypeError) as error:
            said = " ".join(str(error).split())[:160]
            raise SpecError(
                f"{who}: forward of shape {tuple(batch.shape)} failed: {said}"
            ) from error
    wanted = (3, n_actions)
    _demand(tuple(logits.shape) == wanted, who, f"gave {tuple(logits.shape)}, not {wanted}")
    _demand(counter.get_total_flops() > 0, who, "torch counts no FLOPs in its forward pass")
    logits.sum().backward()
    idle = [n for n, p in module.named_parameters() if p.requires_grad and p.grad is None]
    _demand(not idle, who, f"parameters without a gradient: {', '.join(idle[:3])}")


# ---------------------------------------------------------------------- laws


def check_law(fit: Callable[[dict[str, np.ndarray]], Any]) -> None:
    """Give a law points from a known surface and hold its forecast to it.

    `fit(table)` gets the columns of a points table and returns something with
    `forecast(flops) -> Forecast`. The truth is L = .1 + 40 / N^.4 + 60 / D^.4 under C = 6ND, whose
    optimum has N proportional to C^.5.

    Raises:
        SpecError: the forecast is missing a part, or misses the truth.
    """
    table = _known_surface()
    with _naming("law", "its fit or forecast"):
        forecast = fit(table).forecast(1e15)
    for name in ("params", "samples", "dev_loss"):
        interval: Any = getattr(forecast, name, None)
        _demand(interval is not None, "law", f"its forecast has no `{name}`")
        ordered = (interval.low or 0) <= interval.value <= (interval.high or np.inf)
        _demand(ordered, "law", f"`{name}`: value {interval.value} lies outside its own interval")
    truth = _truth(1e15)
    miss = abs(np.log(forecast.dev_loss.value / truth))
    _demand(miss < 0.1, "law", f"dev loss {forecast.dev_loss.value:.4f} at 1e15, truth {truth:.4f}")


def _surface(params: Any, samples: Any) -> Any:
    return 0.1 + 40 / params**0.4 + 60 / samples**0.4


def _truth(flops: float) -> float:
    sizes = np.geomspace(1e2, 1e9, 2000)
    return float(_surface(sizes, flops / 6 / sizes).min())


def _known_surface() -> dict[str, np.ndarray]:
    budgets = np.geomspace(1e11, 1e14, 7)
    rows = [
        (budget, size)
        for budget in budgets
        for size in np.geomspace(0.1, 10, 7) * np.sqrt(budget / 6 / 1.5)
    ]
    flops, params = np.array(rows).T
    samples = flops / 6 / params
    noise = 1 + 0.003 * np.random.default_rng(0).standard_normal(len(rows))
    return {
        "run_id": np.array([f"{p:.4g}" for p in params]),
        "budget_flops": flops,
        "flops": flops,
        "params": params,
        "samples": samples,
        "dev_loss": _surface(params, samples) * noise,
    }


# ---------------------------------------------------------------------- executors


def check_executor(executor: Executor, name: str) -> None:
    """Look whether an executor has all that the protocol asks for; it is given nothing to do.

    Raises:
        SpecError: the first promise that is broken.
    """
    for member in ("workers", "run", "__enter__", "__exit__"):
        _demand(hasattr(executor, member), f"executor '{name}'", f"has no `{member}`")


# ---------------------------------------------------------------------- makers, at their first use


def first_game(name: str, maker: Maker, args: Args, options: Options) -> Game:
    """Make a game and return it checked, and what makes it again too."""
    made: Game = maker(*args, **options)
    check_game(made)
    who = f"game '{name}'"
    with _naming(who, "making it again from its own options()"):
        maker(*args, **made.options())
    # Demonstrations and studies know a game by its `name`.
    known = made.name == name or is_reference(name) or games.GAMES.knows(made.name)
    _demand(known, who, f"its `name` is '{made.name}'; register it under that name")
    return made


def first_expert(name: str, maker: Maker, args: Args, options: Options) -> Expert:
    """Make an expert for the game among its options and return it checked there."""
    made: Expert = maker(*args, **options)
    check_expert(made, options["game"])
    return made


def first_policy(name: str, maker: Maker, args: Args, options: Options) -> torch.nn.Module:
    """Return a policy once two small ones for the same game have been checked."""
    _, frame, n_actions = args
    _check_policy(name, maker, frame, n_actions, options)
    made: torch.nn.Module = maker(*args, **options)
    return made


def first_executor(name: str, maker: Maker, args: Args, options: Options) -> Executor:
    """Make an executor and return it checked."""
    made: Executor = maker(*args, **options)
    check_executor(made, name)
    return made
