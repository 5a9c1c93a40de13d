"""`isoclone export RUN --to nethackers`: an agent as a bot of that package's contract.

The folder holds `bot.py`, whose `make_agent()` returns a `Bot`, and the agent's checkpoint beside
it. The bot needs isoclone where it plays.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isoclone.agents.checkpoint import load_checkpoint
from isoclone.agents.export import to_safetensors
from isoclone.agents.runners import runner_for
from isoclone.base.errors import SpecError
from isoclone.nethack.game import action_keys, pack_tty
from isoclone.policies.sampling import Sampling

if TYPE_CHECKING:
    from isoclone.agents.checkpoint import TrainedPolicy

AGENT = "agent.safetensors"
CODE = '''"""A bot of NetHack: an agent of isoclone, which it needs, with the extra 'nethack'."""

from pathlib import Path

from isoclone.nethack.export import Bot


def make_agent():
    """Return the bot; see `isoclone.nethack.export.Bot` for its settings."""
    return Bot(Path(__file__).with_name("agent.safetensors"))
'''


class Bot:
    """An agent that plays by the contract: `reset(observation)`, then `act(observation)`.

    Args:
        path: the agent's checkpoint.
        sampling: 'sample', 'argmax' or settings, see `policies.sampling`.
        seed: of what is drawn; drawn from NumPy's global generator if not given, which the
            package's arena seeds for each game.
    """

    def __init__(self, path: Path, sampling: str = "sample", seed: int | None = None):
        from nle import nethack

        policy = load_checkpoint(path, "cpu")
        keys = action_keys(policy.run.game.partition("/")[2])
        known = [int(action) for action in nethack.ACTIONS]
        same = keys == tuple(known)  # two actions may press one key
        self._actions = list(range(len(keys))) if same else [known.index(key) for key in keys]
        self._runner, self._way = runner_for(policy, 1), Sampling.parse(sampling)
        self._seed, self._slot = seed, np.array([0])

    def reset(self, initial_observation: Mapping[str, Any]) -> None:
        """Begin a game."""
        seed = np.random.randint(2**31) if self._seed is None else self._seed
        self._chance, self._begins = np.random.default_rng(seed), True

    def act(self, observation: Mapping[str, Any]) -> int:
        """Return an index into `nle.nethack.ACTIONS`."""
        screen = (np.asarray(observation[f"tty_{name}"]) for name in ("chars", "colors", "cursor"))
        frame = pack_tty(*screen)[None]
        (self._runner.start if self._begins else self._runner.push)(self._slot, frame)
        self._begins = False
        draws = np.array([self._chance.random()])
        action = self._way.choose(self._runner.logits(self._slot), draws)
        self._runner.chose(self._slot, action)
        return self._actions[int(action[0])]


def to_nethackers(policy: TrainedPolicy, out: Path) -> None:
    """Write a policy as a bot, into a folder that is not there yet.

    Raises:
        SpecError: it does not play NetHack, or was not loaded from a file.
    """
    if not policy.run.game.startswith("nethack/"):
        raise SpecError(f"--to nethackers: the agent plays {policy.run.game}, not nethack")
    out.mkdir(parents=True)
    to_safetensors(policy, out / AGENT)
    (out / "bot.py").write_text(CODE, "utf-8")
