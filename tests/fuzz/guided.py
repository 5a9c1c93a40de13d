"""Ruined inputs that a fuzzer (atheris) chooses by the branches of isoclone they lead to.

    python tests/fuzz/guided.py [--seconds 60] [--kinds ttyrecs games ...]

The targets are those of `campaign.py`; what is drawn there at random comes from the fuzzer's bytes
here. It ends at the first defect. Atheris is no dependency: where it is not installed, this says so
and leaves it at that.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import subprocess
import sys
import tempfile
from pathlib import Path

LENGTH, TALLY = 4096, "tally"
DEFAULT = ("ttyrecs", "xlogfiles", "conditions", "games", "checkpoints", "specs")


def guide(kind: str, seconds: int, folder: Path) -> None:
    """Fuzz one kind; ends the process."""
    import atheris

    with atheris.instrument_imports(include=["isoclone"], enable_loader_override=False):
        import campaign
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st

    target, tally = campaign.target_of(kind, folder), campaign.Tally()

    @settings(database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def one(data: st.DataObject) -> None:
        wrong = tally.add(target, target.ruin(data.draw))
        (folder / TALLY).write_text(str(dict(tally.outcomes)))  # its end is abrupt
        if wrong:
            raise AssertionError(wrong)

    def judged(data: bytes) -> None:
        one.hypothesis.fuzz_one_input(data)  # type: ignore[attr-defined]

    campaign.catch_hangs()
    words = [f"-max_total_time={seconds}", f"-max_len={LENGTH}", "-len_control=0", "-verbosity=0"]
    words += ["-rss_limit_mb=0", f"-artifact_prefix={folder}/", str(beginnings(folder))]
    atheris.Setup([sys.argv[0], *words], judged)
    atheris.Fuzz()


def beginnings(folder: Path) -> Path:
    """Inputs to begin with, long enough for what is drawn from them."""
    (corpus := folder / "corpus").mkdir()
    for number in range(32):
        (corpus / str(number)).write_bytes(random.Random(number).randbytes(LENGTH))
    return corpus


def run() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=60, help="for each kind")
    parser.add_argument("--kinds", nargs="*", default=DEFAULT)
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        print("skipped: atheris is not installed (pip install atheris)")
        return 0
    if asked.inside:
        guide(asked.kinds[0], asked.seconds, asked.inside)
    code = 0
    for kind in asked.kinds:
        with tempfile.TemporaryDirectory(prefix="isoclone-guided-") as folder:
            words = ["--inside", folder, "--kinds", kind, "--seconds", str(asked.seconds)]
            done = subprocess.run([sys.executable, __file__, *words], stderr=subprocess.PIPE)
            tally = Path(folder, TALLY)
            print(f"{kind}: {tally.read_text() if tally.exists() else 'nothing was tried'}")
            if done.returncode:
                code = 1
                print(done.stderr.decode(errors="replace")[-3000:], file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(run())
