"""An expert that fails in one game and takes its process with it in another."""

from __future__ import annotations

import os


class Quitter:
    """Searches a while, then fails, or takes its process with it."""

    name, lockstep = "quitter", 1

    def act(self, views):
        env = views[0].env
        if env.steps == 30 and env.seed == 1:
            raise RuntimeError("no more ideas")
        if env.steps == 30 and env.seed == 2:
            os._exit(9)
        return [75]
