"""Run benchmarks and write their tables into one page, docs/benchmarks.md; `make bench` does.

    python benchmarks/page.py [SCRIPT ...] [--page docs/benchmarks.md]

Without a script: all that take minutes. Those that train whole studies or fit laws for hours are
run by hand: bench_backtest, bench_datalimited, bench_forecast, bench_laws, study_breakout. A page
that is there already keeps the tables of scripts that are not run again.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from datetime import date
from pathlib import Path

from machine import machine

HERE = Path(__file__).parent
USUAL = ("train", "loader", "emulator", "import", "store", "points", "foreign", "nethack")
INTRO = """# Benchmarks

Written by `make bench`. Rates are units per second of processor time, ours beside what a user would
pick otherwise, measured in turn within one process, so that both meet the same machine; ratios
travel better than rates. What was expected, and failures, are in [the log](log.md).
"""
SECTION = re.compile(r"^## (bench_\w+)\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scripts", nargs="*", default=[f"bench_{name}" for name in USUAL])
    parser.add_argument("--page", type=Path, default=HERE.parent / "docs" / "benchmarks.md")
    asked = parser.parse_args()
    there = asked.page.read_text(encoding="utf-8") if asked.page.exists() else ""
    sections = {found[1]: found[0].rstrip() for found in SECTION.finditer(there)}
    for name in (Path(script).stem for script in asked.scripts):
        print(f"{name} ...", flush=True)
        sections[name] = section(name)
        text = "\n\n".join([INTRO.rstrip(), *(sections[key] for key in sorted(sections))])
        asked.page.write_text(text + "\n", encoding="utf-8")


def section(name: str) -> str:
    """Run a script; return its part of the page: what it measures, where, and what it printed."""
    script = HERE / f"{name}.py"
    about = script.read_text(encoding="utf-8").split('"""')[1].split("\n\n")[0].strip()
    command = [sys.executable, str(script)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=HERE.parent)
    if done.returncode:
        raise SystemExit(f"{script} failed:\n{done.stderr[-2000:]}")
    printed = done.stdout.strip("\n")
    return f"## {name}\n\n{about}\n\n{date.today()}, {machine()}.\n\n```\n{printed}\n```"


if __name__ == "__main__":
    main()
