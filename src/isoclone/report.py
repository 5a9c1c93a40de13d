"""placeholder until the page is written"""

from pathlib import Path
from typing import Any


def write_report(study: Any) -> Path:
    return study.path / "report.html"
