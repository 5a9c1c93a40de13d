"""Checks for what users add: a game, an expert, a policy, a law, demonstrations, an executor.

Each plays or computes for a moment and raises SpecError naming the culprit and the broken rule.
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

from isoclone import games, laws, policies
from isoclone.base.errors import (
    FOREIGN,
    DataError,
    ForeignFailure,
    IsocloneError,
    SpecError,
    words_of,
)
from isoclone.base.records import Forecast, Point
from isoclone.base.registry import is_reference
from isoclone.base.schema import columns
from isoclone.demos.base import MASKED, Demonstrations
from isoclone.executors import Executor
from isoclone.executors.serial import attempt
from isoclone.experts import Expert, View, shaped
from isoclone.games import Env, FrameSpec, Game, action_sizes
from isoclone.games.actions import chosen, one_action, random_actions
from isoclone.laws.plugged import forecast_fault

if TYPE_CHECKING:
    import torch

Maker = Callable[..., Any]
Args = tuple[Any, ...]
Options = dict[str, Any]

STEPS = 100  # of the episode in which a game is checked
MOVES = 20  # of the episode in which an expert is checked
SAME = 1e-4  # largest difference of two logits that count as equal


def _demand(holds: bool, who: str, what: str) -> None:
    if not holds:
        raise SpecError(f"{who}: {what}")


@contextmanager
def _naming(who: str, what: str) -> Iterator[None]:
    """Turn any error of the user's own code into a SpecError that names the code."""
    try:
        yield
    except DataError as error:  # an observation that is not of the game's space
        raise SpecError(f"{who}: {what}: {error}") from error
    except IsocloneError:
        raise
    except FOREIGN as error:
        # A process that plays for it may have been killed, which is no fault of the code.
        kind = ForeignFailure if isinstance(error, ConnectionError | EOFError) else SpecError
        verb = ":" if isinstance(error, SystemExit) else " raised"
        raise kind(f"{who}: {what}{verb} {words_of(error, 160)}") from error


# ---------------------------------------------------------------------- games


def check_game(game: Game) -> None:
    """Play a game for a moment and check it against the protocol.

    Five short episodes are played in two environments, which are closed again.

    Raises:
        SpecError: the first rule of the protocol that is broken.
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
    known = game.frame.dtype in ("uint8", "float32", "float64")
    _demand(known, who, "`frame.dtype` must be uint8, float32 or float64")
    _demand(game.n_actions >= 2, who, f"`n_actions` must be at least 2, not {game.n_actions}")
    sizes = action_sizes(game)
    added = sum(sizes) == game.n_actions and min(sizes) >= 1
    _demand(added, who, f"`action_sizes` {sizes} must add up to `n_actions`, {game.n_actions}")
    _demand(game.max_steps >= 1, who, f"`max_steps` must be at least 1, not {game.max_steps}")
    with _naming(who, "options()"):
        options = game.options()
    _demand(isinstance(options, dict), who, "options() must return a dict")


@contextmanager
def _environment(game: Game, who: str, checked: bool = False) -> Iterator[Env]:
    """Yield an environment of the game, and close it even after an error.

    A checked one names the game and the step itself if something is wrong.
    """
    with _naming(who, "make_env()"):
        env: Env = games.make_env(game) if checked else game.make_env()
    itself = "make_env() returned the game itself; it must make a new environment at each call"
    _demand(env is not game, who, itself)
    try:
        yield env
    except BaseException:
        with suppress(*FOREIGN):  # the first error is raised
            games.close(env)
        raise
    with _naming(who, "close()"):
        games.close(env)


class _Playing:
    """An episode in progress, with checks of each frame and answer."""

    def __init__(self, env: Env, game: Game, who: str, seed: int):
        self._env, self._game, self._who = env, game, who
        drawn = random_actions(action_sizes(game), np.random.default_rng(0), STEPS)
        self._actions = iter(drawn)
        with _naming(who, "reset()"):
            self.frame = env.reset(seed)
        self.over = False
        # Copies of the frames, since an environment may give the same array every time.
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
            answer = self._env.step(one_action(action))
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
    _demand(
        frame.shape == spec.shape,
        who,
        f"gave a frame of shape {frame.shape}, `frame` says {spec.shape}",
    )
    _demand(
        frame.dtype == np.dtype(spec.dtype),
        who,
        f"gave dtype {frame.dtype}, `frame` says {spec.dtype}",
    )
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
    """Let an expert act in a game for a moment and check it against the protocol.

    Its actions in an episode may depend on nothing outside of it: not on what was played before or
    is played beside it.

    Raises:
        SpecError: the first rule of the protocol that is broken.
    """
    who = f"expert {getattr(expert, 'name', type(expert).__name__)!r}"
    if hasattr(expert, "reset"):
        expert = shaped(expert, game)
    for name in ("name", "lockstep", "act"):
        _demand(hasattr(expert, name), who, f"has no `{name}`")
    _demand(expert.lockstep >= 1, who, f"`lockstep` must be at least 1, not {expert.lockstep}")
    leaks = (
        "acted differently in the same episode {}; keep what it remembers in view.memory (or begin "
        "anew at each reset), and draw chance from view.rng (or return logits)"
    )
    with _environment(game, who, checked=True) as env:
        alone = _acts(expert, game, who, (0,), env)
        _acts(expert, game, who, (1,), env)
        again = _acts(expert, game, who, (0,), env)
        _demand(again == alone, who, leaks.format("after another one"))
        if expert.lockstep > 1:
            with _environment(game, who, checked=True) as beside:
                both = _acts(expert, game, who, (0, 1), env, beside)
            _demand(both == alone, who, leaks.format("beside another one"))


def _acts(expert: Expert, game: Game, who: str, seeds: Sequence[int], *envs: Env) -> list[Any]:
    """Play episodes side by side; returns the actions in the first of them."""
    views = [
        View(env, np.random.default_rng(seed), game.frame.stack)
        for env, seed in zip(envs, seeds, strict=True)
    ]
    for view, seed in zip(views, seeds, strict=True):
        view.frames.append(view.env.reset(seed).copy())
    first, taken = views[0], []
    for _ in range(MOVES):
        with _naming(who, "act()"):
            actions = list(expert.act(views))
        fits = len(actions) == len(views)
        _demand(fits, who, f"act() of {len(views)} view(s) gave {len(actions)} actions")
        for view, action in zip(list(views), actions, strict=True):
            try:
                index, _ = chosen(game, expert.name, action)
            except DataError as error:
                raise SpecError(str(error)) from error
            frame, _, terminated, truncated = view.env.step(index)
            view.frames.append(frame.copy())
            if view is first:
                taken.append(np.asarray(index).tolist())
            if terminated or truncated:
                views.remove(view)
        if first not in views:
            break
    return taken


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
        SpecError: the first rule of the protocol that is broken.
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
    # The caller may be about to draw weights, or be in a mode without storage or gradients.
    with torch.random.fork_rng(devices=()), torch.device("cpu"), torch.enable_grad():
        torch.manual_seed(0)
        for width in widths:
            with _naming(who, f"making it at width {width} for frames {frame.shape}"):
                module = maker(width, frame, n_actions, **options)
            is_module = isinstance(module, torch.nn.Module)
            _demand(is_module, who, "its maker must return a torch module")
            _check_module(module, frame, n_actions, who)
            sizes.append(sum(p.numel() for p in module.parameters()))
    _demand(sizes[1] > sizes[0], who, f"width {widths[1]} is no larger than width {widths[0]}")


def _check_module(module: torch.nn.Module, frame: FrameSpec, n_actions: int, who: str) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        if policies.is_recurrent(module):
            logits = _check_recurrent(module, frame, n_actions, who)
        else:
            logits = _check_feed_forward(module, frame, n_actions, who)
    _demand(counter.get_total_flops() > 0, who, "torch counts no FLOPs in its forward pass")
    logits.sum().backward()
    idle = [n for n, p in module.named_parameters() if p.requires_grad and p.grad is None]
    _demand(not idle, who, f"parameters without a gradient: {', '.join(idle[:3])}")


def _forward(module: torch.nn.Module, who: str, *inputs: Any) -> Any:
    """Call the module; an error inside is raised with the shape of its input."""
    try:
        return module(*inputs)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        said = " ".join(str(error).split())[:160]
        shape = tuple(getattr(inputs[0], "shape", ()))
        raise SpecError(f"{who}: forward of shape {shape} failed: {said}") from error


def _observations(module: torch.nn.Module, frame: FrameSpec, *batch: int) -> Any:
    """Make up observations (*batch, ...) in the module's layout."""
    import torch

    if policies.layout_of(module) != "raw":
        return torch.randn(*batch, *policies.input_shape(module, frame))
    kind = getattr(torch, frame.dtype)
    return module.observe(torch.zeros(*batch, frame.stack, frame.size, dtype=kind))  # type: ignore


def _check_feed_forward(
    module: torch.nn.Module, frame: FrameSpec, n_actions: int, who: str
) -> torch.Tensor:
    logits = _forward(module, who, _observations(module, frame, 3))
    _check_logits(logits, (3, n_actions), who)
    out: torch.Tensor = logits
    return out


def _check_logits(logits: Any, wanted: tuple[int, ...], who: str) -> None:
    shape = tuple(getattr(logits, "shape", ()))
    _demand(shape == wanted, who, f"gave {shape}, not {wanted}")


def _check_recurrent(module: Any, frame: FrameSpec, n_actions: int, who: str) -> torch.Tensor:
    """Read the same steps in several ways that must agree; return the logits of reading at once."""
    import torch

    unroll = getattr(module, "unroll", None)
    _demand(isinstance(unroll, int) and unroll >= 1, who, "`unroll` must be a number of steps")
    steps, lanes = 5, 3
    seen = _observations(module, frame, steps, lanes)
    previous = torch.randint(n_actions, (steps, lanes))
    starts = torch.zeros(steps, lanes, dtype=torch.bool)
    starts[0], starts[3, 1] = True, True  # in one lane an episode begins midway
    previous[starts] = n_actions
    training = module.training
    module.eval()  # dropout would make every comparison differ

    def read(step: slice, lane: slice, state: Any = None) -> tuple[torch.Tensor, Any]:
        began = module.initial_state(len(range(lanes)[lane])) if state is None else state
        part = _cut(seen, step, lane)
        answer = _forward(module, who, part, previous[step, lane], starts[step, lane], began)
        pair = isinstance(answer, tuple) and len(answer) == 2
        _demand(pair, who, "forward must return (logits, state)")
        return answer

    every = slice(None)
    with _naming(who, "initial_state()"):
        shapes = {name: tuple(x.shape) for name, x in module.initial_state(lanes).items()}
    by_lane = all(shape[:1] == (lanes,) for shape in shapes.values())
    _demand(by_lane, who, f"the first dimension of its state must be the lane, not as in {shapes}")
    whole, state = read(every, every)
    _check_logits(whole, (steps, lanes, n_actions), who)
    left = {name: tuple(x.shape) for name, x in state.items()}
    _demand(left == shapes, who, f"its state has shapes {left} after a forward, {shapes} at first")
    with torch.no_grad():
        state, singly = None, []
        for step in range(steps):
            logits, state = read(slice(step, step + 1), every, state)
            singly.append(logits)
        _demand(
            _same(torch.cat(singly), whole),
            who,
            "reading steps one by one differs from reading them at once",
        )
        alone, _ = read(every, slice(0, 1))
        _demand(_same(alone, whole[:, :1]), who, "a lane depends on what the others read")
        afresh, _ = read(slice(3, None), slice(1, 2))
        _demand(_same(afresh, whole[3:, 1:2]), who, "`starts` does not make it forget its state")
    module.train(training)
    return whole


def _cut(seen: Any, step: slice, lane: slice) -> Any:
    """Take steps and lanes of observations: of a tensor, or of a named tuple of tensors."""
    if hasattr(seen, "shape"):
        return seen[step, lane]
    return type(seen)(*(_cut(part, step, lane) for part in seen))


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return bool((one - other).abs().max() <= SAME * (1 + other.abs().max()))


# ---------------------------------------------------------------------- laws


def check_law(fit: Callable[..., Any], name: str = "") -> None:
    """Give a law points from a known surface, and compare its forecast with the truth.

    `fit(table)` gets the columns of a points table, see `isoclone.laws.clean_table`, and returns
    something with `forecast(flops) -> Forecast`. The truth is L = .1 + 40 / N^.4 + 60 / D^.4 under
    C = 6ND, whose optimum has N proportional to C^.5.

    Raises:
        SpecError: the forecast is missing a part, or misses the truth.
    """
    who = f"law '{name}'" if name else "law"
    table = laws.clean_table(_known_surface())
    with _naming(who, "its fit, or forecast(1e15), on the check's own table"):
        forecast = fit(table).forecast(1e15)
    is_record = isinstance(forecast, Forecast)
    _demand(is_record, who, f"its forecast is a {type(forecast).__name__}, not an ic.Forecast")
    fault = forecast_fault(forecast)
    _demand(fault is None, who, fault or "")
    truth = _truth(1e15)
    miss = abs(np.log(forecast.dev_loss.value / truth))
    said = f"dev loss {forecast.dev_loss.value:.4f} at 1e15 FLOPs, where it is {truth:.4f}"
    _demand(
        miss < 0.1, who, f"on the check's own table, L = .1 + 40/N^.4 + 60/D^.4, it says {said}"
    )


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
    fill = {str: "", int: 1, float: 0.5}  # a law may read any column of a point
    others = {c.name: np.full(len(rows), fill[c.kind], dtype=object) for c in columns(Point)}
    return {
        **others,
        "role": np.full(len(rows), "sweep", dtype=object),
        "status": np.full(len(rows), "ok", dtype=object),
        "run_id": np.array([f"{p:.4g}" for p in params]),
        "budget_flops": flops,
        "flops": flops,
        "params": params,
        "samples": samples,
        "dev_loss": _surface(params, samples) * noise,
    }


# ---------------------------------------------------------------------- demonstrations


def check_demonstrations(demos: Demonstrations, policy: str = "mlp", batch_size: int = 64) -> None:
    """Open, split and feed demonstrations to a policy, and check them against the protocol.

    Args:
        demos: opened demonstrations; their frames are expanded, in their directory.
        policy: a policy that can read them.
        batch_size: samples of each batch, a multiple of a recurrent policy's `unroll`.

    Raises:
        SpecError: the first rule of the protocol that is broken.
    """
    import torch

    who = _check_table(demos)
    module = policies.make_policy(policy, 4, demos.frame, demos.n_actions)
    with _naming(who, "source()"):
        source = demos.source("unit", policies.layout_of(module))
    with _naming(who, "feed()"):
        feeds = [source.feed(module, batch_size, 0, "cpu", torch.float32) for _ in range(2)]
        first, second, again = feeds[0].batch(0), feeds[0].batch(1), feeds[1].batch(1)
    same = torch.equal(second.targets, again.targets)
    _demand(same, who, "batch k must depend on the demonstrations, the seed and k alone")
    _check_targets(first.targets, action_sizes(demos), who)
    judged: set[int] = set()
    with _naming(who, "dev_batches()"):
        for batch in source.dev_batches(module, 256, "cpu", torch.float32):
            _check_targets(batch.targets, action_sizes(demos), who)
            counted = batch.targets.cpu().numpy() != MASKED
            counted = counted.reshape(*batch.episodes.shape, -1).all(-1)
            judged |= set(np.unique(batch.episodes[counted]).tolist())
    held = {info.index for info in demos.in_split("dev")}
    _demand(
        judged == held, who, f"dev batches are of {sorted(judged)[:5]}, not of all dev episodes"
    )


def _check_table(demos: Demonstrations) -> str:
    """Check what demonstrations say of themselves; return what messages call them."""
    who = f"demonstrations {getattr(demos, 'path', type(demos).__name__)}"
    members = [m for m in vars(Demonstrations) if not m.startswith("_")]
    lacking = [member for member in members if not hasattr(demos, member)]
    _demand(not lacking, who, f"have no `{', '.join(lacking)}`")
    _demand(isinstance(demos.frame, FrameSpec), who, "`frame` must be a FrameSpec")
    train, dev = demos.in_split("train"), demos.in_split("dev")
    _demand(bool(train and dev), who, "need episodes in both splits, train and dev")
    split = sorted(info.index for info in [*train, *dev])
    whole = sorted(info.index for info in demos.episodes)
    _demand(split == whole, who, "each episode must be in exactly one of train and dev")
    counted = sum(demos.samples_in(split) for split in ("train", "dev"))
    _demand(counted == demos.samples, who, f"{demos.samples} samples, {counted} in the splits")
    return who


def _check_targets(targets: torch.Tensor, sizes: Sequence[int], who: str) -> None:
    for k, size in enumerate(sizes):
        part = targets if len(sizes) == 1 else targets[..., k]
        low, high = int(part.min()), int(part.max())
        fits = low >= MASKED and high < size
        _demand(fits, who, f"fed actions {low} to {high}; the game has 0..{size - 1}")


# ---------------------------------------------------------------------- executors


def check_executor(executor: Executor, name: str) -> None:
    """Check that an executor has all members of the protocol; it is given no task.

    Raises:
        SpecError: the first rule of the protocol that is broken.
    """
    for member in ("workers", "run", "__enter__", "__exit__"):
        _demand(hasattr(executor, member), f"executor '{name}'", f"has no `{member}`")


# ---------------------------------------------------------------------- makers, at their first use


def first_game(name: str, maker: Maker, args: Args, options: Options) -> Game:
    """Make a game and return it checked, and what makes it again too."""
    made: Game = maker(*args, **options)
    attempt(check_game, made)
    who = f"game '{name}'"
    with _naming(who, "making it again from its own options()"):
        maker(*args, **made.options())
    # Demonstrations and studies know a game by its `name`.
    known = made.name == name or is_reference(name) or games.GAMES.knows(made.name)
    _demand(known, who, f"its `name` is '{made.name}'; register it under that name")
    return made


def first_expert(name: str, maker: Maker, args: Args, options: Options) -> Expert:
    """Make an expert for the game among its options and return it checked there."""
    made = shaped(maker(*args, **options), options["game"])
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


def first_law(name: str, maker: Maker, args: Args, options: Options) -> Any:
    """Fit a law and return the result, once it has found a known surface again."""
    check_law(maker, name)
    return maker(*args, **options)


def first_demonstrations(name: str, maker: Maker, args: Args, options: Options) -> Demonstrations:
    """Open demonstrations and return them, what they say of themselves checked."""
    made: Demonstrations = maker(*args, **options)
    _check_table(made)
    return made
