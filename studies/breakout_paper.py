"""Breakout with the paper's recipe: what the recipe `lean` is worth.

    isoclone run studies/breakout_paper.py --demos studies-out/breakout/demos

Bytes over 255, Adam at a constant rate, no averaging: on these budgets hardly anything is learned.
"""

from isoclone.study.builtins import BREAKOUT
from isoclone.training.recipes import recipe

study = BREAKOUT.replace(name="breakout-paper", recipe=recipe("paper").to_json())
