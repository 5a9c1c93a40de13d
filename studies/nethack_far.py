"""NetHack at ten times the usual budgets: is the law still good at 6e13 FLOPs?

    isoclone demos import nld PATH --out demos/aa --expert AutoAscend
    isoclone run studies/nethack_far.py --demos demos/aa     # an hour of two cores

The forecast is 3.3 times beyond the largest budget, as elsewhere. Of 144 games of
AutoAscend (6.6 million samples) the agent sees each about twice.
"""

from isoclone.nethack.study import NETHACK

study = NETHACK.replace(
    name="nethack-far",
    widths=(48, 96, 192, 384),
    budgets_flops=(4.5e11, 1.2e12, 3e12, 7e12, 1.8e13),
    forecast_flops=6e13,
)
