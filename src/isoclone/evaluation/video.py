"""Films of a policy at play."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from isoclone.agents.checkpoint import TrainedPolicy, check_fits
from isoclone.agents.runners import runner_for
from isoclone.base.errors import IsocloneError, SpecError
from isoclone.base.seals import sealed
from isoclone.base.store import replacing
from isoclone.games import Game, action_sizes, check_seed, close, make_env
from isoclone.games.actions import action_shape, one_action
from isoclone.policies.sampling import Sampling

FRAMES_PER_SECOND = 30  # agent steps, unless the game says; Atari runs at 15 of them a second
MAX_STEPS = 1_800
CANDIDATES = 3
SIDE = 400  # pixels, about: smaller pictures are enlarged
DARK = 32  # a picture with no brighter byte is one of codes
WIDEST = 1_280  # pixels
FORMATS: dict[str, dict[str, Any]] = {
    ".mp4": {"quality": 6, "output_params": ["-f", "mp4", "-movflags", "+faststart"]},
    ".gif": {  # 256 colours, chosen for the film; half the size in each direction
        "codec": "gif",
        "quality": None,
        "pix_fmt_out": "pal8",
        "output_params": [
            *("-f", "gif", "-filter_complex"),
            "fps=15,scale=iw/2:-1:flags=area,split[a][b];[a]palettegen[p];[b][p]paletteuse",
        ],
    },
}


def play_episode(
    policy: TrainedPolicy, game: Game, seed: int, sampling: str
) -> Iterator[tuple[Callable[[], np.ndarray], float]]:
    """Play one episode; yield (draw, reward) for each step.

    `draw()` makes the picture, (h, w, 3) uint8; it shows this step until the next is asked for.
    """
    env, shown, rng = make_env(game), runner_for(policy, 1), np.random.default_rng(seed)
    slot, way, sizes = np.array([0]), Sampling.parse(sampling), action_sizes(game)
    try:
        shown.start(slot, env.reset(seed)[None])
        ended = False
        while not ended:
            draws = rng.random(action_shape(sizes, 1))
            action = way.choose(shown.logits(slot), draws, sizes)
            frame, reward, terminated, truncated = env.step(one_action(action[0]))
            shown.chose(slot, action)
            shown.push(slot, frame[None])
            ended = terminated or truncated
            yield functools.partial(_picture, game, env, frame), reward
    finally:
        close(env)


def _picture(game: Game, env: object, frame: np.ndarray) -> np.ndarray:
    """Return the game's own picture where it has one, else the frame itself, enlarged."""
    screen = getattr(env, "screen_rgb", None)
    if screen is not None:
        seen: np.ndarray = screen()
        times = max(1, round(SIDE / max(seen.shape)))
        return seen.repeat(times, 0).repeat(times, 1)
    draw = getattr(game, "draw", None)
    if draw is not None:
        picture: np.ndarray = draw(frame)
        return picture
    return _bars(frame) if frame.ndim == 1 else _enlarged(frame)


def _enlarged(frame: np.ndarray) -> np.ndarray:
    """Draw a picture that the game emits: bytes as they are, codes and floats by their range."""
    colour = frame.ndim == 3 and frame.shape[2] == 3
    shown = frame if frame.ndim == 2 or colour else frame.max(2)
    if frame.dtype != np.uint8 or shown.max(initial=0) < DARK:
        low, high = float(shown.min()), float(shown.max())
        shown = ((shown - low) * (255 / ((high - low) or 1))).astype(np.uint8)
    times = max(1, 320 // max(shown.shape[:2]))
    large = shown.repeat(times, 0).repeat(times, 1)
    return large if colour else np.repeat(large[..., None], 3, axis=2)


def _bars(vector: np.ndarray) -> np.ndarray:
    """Draw a vector as a row of bars, for games without a picture; long ones are thinned."""
    shown = vector[:: -(-len(vector) // (WIDEST // 4))]
    each = min(40, WIDEST // len(shown))
    heights = (160 + 150 * np.tanh(shown)).astype(int)
    picture = np.full((320, each * len(shown), 3), 255, np.uint8)
    for i, height in enumerate(heights):
        low, high = sorted((160, 320 - height))
        edge = each // 5
        picture[low : high + 1, each * i + edge : each * (i + 1) - edge] = (70, 110, 180)
    return picture


def write_video(
    policy: TrainedPolicy,
    game: Game,
    path: Path,
    seed: int = 0,
    sampling: str = "sample",
    tell: Callable[[str], None] = lambda said: None,
) -> float:
    """Film the median one of a few episodes, as an mp4 or a gif; returns its return.

    Args:
        tell: told why the game's own pictures are not filmed, if they are not.

    Raises:
        SpecError: the name ends neither in .mp4 nor in .gif, or the seed is below 0.
        CheckpointError: the policy was trained on frames or actions of another game.
    """
    check_fits(policy, game)
    check_seed(seed)
    if path.suffix.lower() not in FORMATS:
        raise SpecError(f"{path}: a video is an mp4 or a gif; give a name that ends so")
    returns = {}
    for candidate in range(seed, seed + CANDIDATES):
        steps = play_episode(policy, game, candidate, sampling)
        returns[candidate] = sum(reward for _, reward in steps)
    chosen = sorted(returns, key=lambda s: returns[s])[CANDIDATES // 2]
    shown = _filmed(game, tell)
    rate = getattr(shown, "frames_per_second", FRAMES_PER_SECOND)
    _encode(play_episode(policy, shown, chosen, sampling), path, rate)
    return returns[chosen]


def _filmed(game: Game, tell: Callable[[str], None]) -> Game:
    """Return the game that draws itself, if it can; else itself, whose frames are filmed."""
    filmed: Callable[[], Game] | None = getattr(game, "filmed", None)
    try:
        return game if filmed is None else filmed()
    except IsocloneError as error:
        tell(f"{game.name} is filmed as the policy sees it: {error}")
        return game


def _encode(steps: Iterator[tuple[Callable[[], np.ndarray], float]], path: Path, rate: int) -> None:
    from imageio_ffmpeg import write_frames

    pictures = (draw() for draw, _ in itertools.islice(steps, MAX_STEPS))
    first = next(pictures)
    size = (first.shape[1], first.shape[0])
    with replacing(path) as temporary:
        temporary.touch()  # raises in one line if the folder cannot be written
        writer = write_frames(
            str(temporary),
            size,
            fps=rate,
            macro_block_size=2,
            ffmpeg_log_level="error",
            **FORMATS[path.suffix.lower()],
        )
        writer.send(None)
        for picture in itertools.chain([first], pictures):
            writer.send(np.ascontiguousarray(picture))
        writer.close()
        if path.suffix.lower() == ".mp4":
            temporary.write_bytes(sealed(temporary.read_bytes(), ".mp4"))
