"""A study of NetHack of half a minute for the fault harness, on games that were recorded before.

(Games recorded anew are others to a study: a ttyrec holds the time of every screen.)
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support import tiny_nethack_spec

study = tiny_nethack_spec(name="faults-nethack", demos=os.environ["ISOCLONE_FAULT_DEMOS"])
