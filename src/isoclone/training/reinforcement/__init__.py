"""Reinforcement learning: PPO, a learner behind the same verb as behavioural cloning."""
