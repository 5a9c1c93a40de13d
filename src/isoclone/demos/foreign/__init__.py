"""Demonstrations made by others: one interface (`demos_from`), and a reader for each format."""

from isoclone.base.tables import IMPORTS
from isoclone.demos.foreign.base import Foreign, Given, Unfit
from isoclone.demos.foreign.bring import import_demos
from isoclone.demos.foreign.keep import demos_from

__all__ = ["IMPORTS", "Foreign", "Given", "Unfit", "demos_from", "import_demos"]

IMPORTS.add("arrays", "isoclone.demos.foreign.arrays:read_arrays")
IMPORTS.add("lerobot", "isoclone.demos.foreign.lerobot:read_lerobot")
IMPORTS.add("minari", "isoclone.demos.foreign.minari:read_minari")
IMPORTS.add("parquet", "isoclone.demos.foreign.tables:read_parquet")
