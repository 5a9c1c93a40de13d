"""VecNormalize's statistics: read from its pickle, applied to single observations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from isoclone.base.errors import CheckpointError
from isoclone.experts.pickles import Kept, read_kept


@dataclass(frozen=True)
class Statistics:
    """Mean and variance of observations, as VecNormalize had them at the end of training.

    `moments` has one pair for an array, under the key "", or one for each entry of a Dict that is
    normalised. An observation becomes (x - mean) / sqrt(variance + epsilon), cut at `clip`.
    """

    path: Path
    moments: dict[str, tuple[np.ndarray, np.ndarray]] = field(compare=False, repr=False)
    clip: float
    epsilon: float

    def normalized(self, observation: Any) -> Any:
        """Return an observation as the policy was trained on it; arrays as float32."""
        if isinstance(observation, Mapping):
            return {
                key: self._scaled(key, value) if key in self.moments else value
                for key, value in observation.items()
            }
        return self._scaled("", observation)

    def _scaled(self, key: str, value: Any) -> np.ndarray:
        mean, variance = self.moments[key]
        scaled = (np.asarray(value) - mean) / np.sqrt(variance + self.epsilon)
        return np.clip(scaled, -self.clip, self.clip).astype(np.float32)

    def fits(self, shapes: Mapping[str, tuple[int, ...]]) -> bool:
        """Return whether they are of observations of these shapes ("": an array)."""
        return all(mean.shape == shapes.get(key) for key, (mean, _) in self.moments.items())

    def check(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Raise CheckpointError unless they are of observations of these shapes ("": an array)."""
        for key, (mean, _) in self.moments.items():
            if mean.shape != shapes.get(key):
                entry = f" of '{key}'" if key else ""
                raise CheckpointError(
                    f"{self.path} normalises observations{entry} of shape {mean.shape}, the game's "
                    f"have {shapes.get(key, 'none')}; it belongs to another game"
                )


def read_statistics(path: Path) -> Statistics | None:
    """Read a VecNormalize that was saved; None if it left observations as they are.

    Nothing in the file is run.

    Raises:
        CheckpointError: it cannot be read, or is no VecNormalize.
    """
    kept = read_kept(path)
    moments = getattr(kept, "obs_rms", None)
    if getattr(kept, "norm_obs", None) is False:
        return None
    entries = moments if isinstance(moments, dict) else {"": moments}
    if isinstance(moments, Kept) and not hasattr(moments, "mean"):  # a dict of another kind
        entries = vars(moments)
    try:
        pairs = {str(key): _pair(one) for key, one in entries.items()}
        clip, epsilon = float(kept.clip_obs), float(kept.epsilon)
    except (AttributeError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} holds no statistics of VecNormalize") from error
    return Statistics(path, pairs, clip, epsilon)


def _pair(moments: Any) -> tuple[np.ndarray, np.ndarray]:
    mean, variance = np.asarray(moments.mean, np.float64), np.asarray(moments.var, np.float64)
    if mean.shape != variance.shape or not np.isfinite([mean, variance]).all():
        raise ValueError("mean and variance do not go together")
    return mean, variance
