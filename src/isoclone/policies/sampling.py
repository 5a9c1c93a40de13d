"""Choose actions from logits: `sample`, `argmax`, or settings (`temperature=0.7,top_p=0.9`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from isoclone.base.errors import SpecError

COLD = 1e-30  # lower temperatures act as 0: float32 logits are never so close


@dataclass(frozen=True)
class Sampling:
    """Draw from softmax(logits / temperature), from the likeliest actions alone.

    Attributes:
        temperature: 0 always takes the likeliest action.
        top_p: only the likeliest actions that together have at least this probability.
        top_k: only so many of the likeliest actions; 0 for all.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0

    @classmethod
    def parse(cls, text: str) -> Sampling:
        """Read a way of sampling from text.

        Raises:
            SpecError: an unknown setting, or a value it cannot have.

        >>> Sampling.parse("temperature=0.5,top_k=4")
        Sampling(temperature=0.5, top_p=1.0, top_k=4)
        """
        if text in ("sample", "argmax"):
            return cls(temperature=float(text == "sample"))
        kinds: dict[str, Any] = {f.name: int if f.name == "top_k" else float for f in fields(cls)}
        try:
            pairs = [setting.split("=") for setting in text.split(",")]
            given = {name.strip(): kinds[name.strip()](value) for name, value in pairs}
            chosen = cls(**given)
            if len(given) < len(pairs):
                raise ValueError("said twice")
        except (ValueError, KeyError) as error:
            raise SpecError(
                f"sampling must be 'sample', 'argmax' or settings such as "
                f"'temperature=0.7,top_p=0.9,top_k=5', not '{text}'"
            ) from error
        if not (0 <= chosen.temperature < np.inf and 0 < chosen.top_p <= 1 and chosen.top_k >= 0):
            raise SpecError(
                f"sampling '{text}': temperature and top_k must not be negative, top_p lies above "
                "0 and at most at 1"
            )
        return chosen

    def choose(
        self, logits: np.ndarray, uniforms: np.ndarray, sizes: Sequence[int] = ()
    ) -> np.ndarray:
        """Choose (n,) actions from (n, actions) logits and (n,) uniform draws from [0, 1).

        With several `sizes` each factor is chosen by itself: (n, factors) actions and draws.
        """
        if len(sizes) > 1:
            parts = np.split(logits, np.cumsum(sizes)[:-1], axis=1)
            return np.stack([self.choose(x, uniforms[:, k]) for k, x in enumerate(parts)], axis=1)
        if self.temperature < COLD:
            return logits.argmax(1)
        below = logits - logits.max(1, keepdims=True)
        with np.errstate(over="ignore"):  # far below at a low temperature: a share of 0
            shares = np.exp(below if self.temperature == 1 else below / self.temperature)
        if self.top_p < 1 or 0 < self.top_k < logits.shape[1]:
            shares = np.where(self._likely(shares), shares, 0)
        bounds = shares.cumsum(1)
        drawn = (bounds <= uniforms[:, None] * bounds[:, -1:]).sum(1)
        return np.minimum(drawn, logits.shape[1] - 1)

    def _likely(self, shares: np.ndarray) -> np.ndarray:
        """Return which actions `top_k` and `top_p` leave; always the likeliest."""
        order = np.argsort(-shares, axis=1, kind="stable")
        ranked = np.take_along_axis(shares, order, 1)
        rank = np.arange(shares.shape[1])
        if self.top_k:
            ranked = np.where(rank < self.top_k, ranked, 0)
        before = ranked.cumsum(1) - ranked
        kept = (ranked > 0) & ((before < self.top_p * ranked.sum(1, keepdims=True)) | (rank == 0))
        answer = np.empty_like(kept)
        np.put_along_axis(answer, order, kept, 1)
        return answer
