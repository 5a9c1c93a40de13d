"""Advantages and value targets of a rollout, from its end to its beginning.

With d_t = r_t + g V(s_{t+1}) - V(s_t), where V(s_{t+1}) is 0 after a terminal step and the value of
the last observation after a truncated one [bootstrap at time limits]:

- GAE (Schulman et al. 2016): A_t = d_t + g l A_{t+1}, the sum ending with the episode; the value's
  target is A_t + V(s_t).
- V-trace (Espeholt et al. 2018, eq. 1): v_t = V(s_t) + rho_t d_t + g c_t (v_{t+1} - V(s_{t+1})),
  rho_t = min(1, pi/mu), c_t = l min(1, pi/mu); A_t = r_t + g v_{t+1} - V(s_t). With pi = mu and
  l = 1 both have the same targets.
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray


def gae(
    rewards: Array,
    values: Array,
    following: Array,
    ends: Array,
    discount: float,
    lambda_: float,
) -> tuple[Array, Array]:
    """Return advantages and value targets, (steps, slots) each.

    Args:
        rewards: (steps, slots).
        values: (steps, slots), V(s_t).
        following: (steps, slots), V(s_{t+1}) within the episode: 0 after a terminal step.
        ends: (steps, slots) bool, the episode's last step, terminal or truncated.
    """
    deltas = rewards + discount * following - values
    advantages, later = np.zeros_like(deltas), np.zeros(deltas.shape[1])
    for t in reversed(range(len(deltas))):
        later = deltas[t] + discount * lambda_ * np.where(ends[t], 0.0, later)
        advantages[t] = later
    return advantages, advantages + values


def vtrace(
    rewards: Array,
    values: Array,
    following: Array,
    ends: Array,
    ratios: Array,
    discount: float,
    lambda_: float,
) -> tuple[Array, Array]:
    """Return advantages and value targets for actions of an older policy, (steps, slots) each.

    Args:
        ratios: (steps, slots), the learner's probability of the action over the player's.
        rewards, values, following, ends: as for `gae`, values being the learner's.
    """
    clipped = np.minimum(ratios, 1.0)
    deltas = clipped * (rewards + discount * following - values)
    gained, later = np.zeros_like(deltas), np.zeros(deltas.shape[1])  # v_t - V(s_t)
    targets_after = np.zeros_like(deltas)  # v_{t+1}
    for t in reversed(range(len(deltas))):
        beyond = np.where(ends[t], 0.0, later)
        targets_after[t] = following[t] + beyond
        later = deltas[t] + discount * lambda_ * clipped[t] * beyond
        gained[t] = later
    return rewards + discount * targets_after - values, values + gained
