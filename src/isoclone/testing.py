"""Checks for what users add: a game, an expert, a policy, a law. Each names the culprit.

ic.register_game("catch2", Catch2)        # checked as it arrives
isoclone.testing.check_policy("mine", game="toy")
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from isoclone import experts, games, policies
from isoclone.base.errors import IsocloneError, SpecError
from isoclone.experts import Expert, View
from isoclone.games import Env, FrameSpec, Game

STEPS = 200


def register_game(name: str, maker: Callable[..., Game]) -> None:
    """Add a game under a name, once it has passed `check_game`.

    Raises:
        SpecError: what is wrong with it, and where.
    """
    check_game(maker())
    games.register_game(name, maker)


def register_expert(name: str, maker: Callable[..., Expert], game: str | None = None) -> None:
    """Add an expert under a name; with `game`, once it has passed `check_expert` there.

    Raises:
        SpecError: what is wrong with it, and where.
    """
    if game is not None:
        the_game = games.game(game)
        check_expert(maker(game=the_game), the_game)
    experts.register_expert(name, maker)


def register_policy(name: str, maker: Callable[..., Any], game: str = "toy") -> None:
    """Add a policy under a name, once it has passed `check_policy` on a game's frames.

    Raises:
        SpecError: what is wrong with it, and where.
    """
    policies.register_policy(name, maker)
    try:
        check_policy(name, game)
    except IsocloneError:
        policies.POLICIES.remove(name)
        raise


def _demand(holds: bool, who: str, what: str) -> None:
    if not holds:
        raise SpecError(f"{who}: {what}")


@contextmanager
def _naming(who: str, what: str) -> Iterator[None]:
    """Whatever the user's own code raises, with its name."""
    try:
        yield
    except IsocloneError:
        raise
    except Exception as error:
        said = " ".join(str(error).split())[:160]
        raise SpecError(f"{who}: {what} raised {type(error).__name__}: {said}") from error


def check_game(game: Game) -> None:
    """Play a game for a moment and hold it to the protocol.

    Raises:
        SpecError: the first promise that is broken.
    """
    who = f"game {getattr(game, 'name', type(game).__name__)!r}"
    for name in ("name", "n_actions", "frame", "max_steps", "make_env", "options"):
        _demand(hasattr(game, name), who, f"has no `{name}`")
    _demand(isinstance(game.frame, FrameSpec), who, "`frame` must be a FrameSpec")
    _demand(game.frame.dtype in ("uint8", "float32"), who, "`frame.dtype` must be uint8 or float32")
    _demand(game.n_actions >= 2, who, f"`n_actions` must be at least 2, not {game.n_actions}")
    with _naming(who, "make_env()"):
        env = game.make_env()
    with _naming(who, "reset()"):
        first = env.reset(7)
    _check_frame(first, game.frame, f"{who}: reset()")
    _check_play(env, game, who)
    again = env.reset(7)
    _demand(np.array_equal(first, again), who, "reset(seed) must give the same frame again")


def _check_frame(frame: Any, spec: FrameSpec, who: str) -> None:
    shape, dtype = getattr(frame, "shape", None), getattr(frame, "dtype", None)
    _demand(shape == spec.shape, who, f"gave a frame of shape {shape}, `frame` says {spec.shape}")
    _demand(dtype == np.dtype(spec.dtype), who, f"gave dtype {dtype}, `frame` says {spec.dtype}")


def _check_play(env: Env, game: Game, who: str) -> None:
    rng, traces = np.random.default_rng(0), []
    actions = rng.integers(game.n_actions, size=STEPS)
    for _ in range(2):
        env.reset(3)
        trace = []
        for action in actions:
            with _naming(who, "step()"):
                answer = env.step(int(action))
            is_four = isinstance(answer, tuple) and len(answer) == 4
            _demand(is_four, who, "step() must return (frame, reward, terminated, truncated)")
            frame, reward, terminated, truncated = answer
            _check_frame(frame, game.frame, f"{who}: step()")
            _demand(np.isfinite(reward), who, f"step() gave reward {reward}")
            trace.append((frame.tobytes(), float(reward), bool(terminated), bool(truncated)))
            if terminated or truncated:
                break
        traces.append(trace)
    _demand(traces[0] == traces[1], who, "the same seed and actions gave different episodes")


def check_expert(expert: Expert, game: Game) -> None:
    """Let an expert act in a game for a moment and hold it to the protocol.

    Raises:
        SpecError: the first promise that is broken.
    """
    who = f"expert {getattr(expert, 'name', type(expert).__name__)!r}"
    for name in ("name", "lockstep", "act"):
        _demand(hasattr(expert, name), who, f"has no `{name}`")
    env = game.make_env()
    view = View(env, np.random.default_rng(0), game.frame.stack)
    view.frames.append(env.reset(0))
    for _ in range(20):
        with _naming(who, "act()"):
            actions = list(expert.act([view]))
        _demand(len(actions) == 1, who, f"act() of 1 view gave {len(actions)} actions")
        fits = 0 <= int(actions[0]) < game.n_actions
        _demand(fits, who, f"chose action {actions[0]}; {game.name} has 0..{game.n_actions - 1}")
        frame, _, terminated, truncated = env.step(int(actions[0]))
        if terminated or truncated:
            return
        view.frames.append(frame)


def check_policy(name: str, game: str | Game = "toy", widths: tuple[int, int] = (4, 8)) -> None:
    """Make a registered policy at two widths, push a batch through it and back.

    Raises:
        SpecError: the first promise that is broken.
    """
    import torch

    the_game = games.game(game) if isinstance(game, str) else game
    who, sizes = f"policy '{name}'", []
    for width in widths:
        with _naming(who, f"making it at width {width}"):
            module = policies.make_policy(name, width, the_game.frame, the_game.n_actions)
        _demand(isinstance(module, torch.nn.Module), who, "its maker must return a torch module")
        batch = torch.randn(3, *policies.input_shape(module, the_game.frame))
        try:
            logits = module(batch)
        except (RuntimeError, ValueError, TypeError) as error:
            said = " ".join(str(error).split())[:160]
            raise SpecError(
                f"{who}: forward of shape {tuple(batch.shape)} failed: {said}"
            ) from error
        wanted = (3, the_game.n_actions)
        _demand(tuple(logits.shape) == wanted, who, f"gave {tuple(logits.shape)}, not {wanted}")
        logits.sum().backward()
        idle = [n for n, p in module.named_parameters() if p.requires_grad and p.grad is None]
        _demand(not idle, who, f"parameters without a gradient: {', '.join(idle[:3])}")
        sizes.append(sum(p.numel() for p in module.parameters()))
    _demand(sizes[1] > sizes[0], who, f"width {widths[1]} is no larger than width {widths[0]}")
    flops = policies.policy_flops(name, widths[0], the_game.frame, the_game.n_actions)
    _demand(flops > 0, who, "torch counts no FLOPs in its forward pass")


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
