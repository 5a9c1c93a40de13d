"""Terminal escapes in every text that data can hold: none of them reaches the terminal.

| kind     | ruined                                                     | right answer          |
|----------|------------------------------------------------------------|-----------------------|
| terminal | a text in a table of runs, a study, demonstrations, points | no control characters |
|          | and progress, a path, a word of the command line           | in what is printed    |
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
import shutil
import warnings
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from kinds import Maker, Target, expect
from mutate import Draw
from targets import make_seeds as make_seeds

import isoclone.study.estimate
from isoclone.base.errors import IsocloneError
from isoclone.cli import main

RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
ESCAPES = st.sampled_from(
    [
        *("\x1b]52;c;ZXZpbA==\x07", "\x1b]0;title\x1b\\", "\x1b[2J\x1b[H", "\x1b[31m", "\x1bc"),
        *("\x9b31m", "\x9d52;c;eA==\x9c", "\x90q\x9c", "\x7f\x7f", "\x08" * 9, "\r", "\x0e"),
        *("\u202e", "\u2066", "\x1b[?1049h", "\x1b]8;;http://x\x07", "\x00"),
        *("[bold]", "[link=x]", ":bomb:"),
    ]
)
HOSTILE = st.lists(st.one_of(ESCAPES, st.text(max_size=4)), min_size=1, max_size=4).map("".join)
CELLS = ("run_id", "status", "role", "game", "policy", "recipe", "reason", "checkpoint")
POINT = ("status", "reason", "game", "policy", "recipe", "role", "isoclone_version", "device")
SPEC = ("name", "game", "expert", "policy", "flop_convention", "sampling", "law", "demos")
DEMOS = ("expert", "game", "fingerprint", "kind")
WORDS = (
    *("run {text}", "status {text}", "demos show {text}", "games {text}", "plan toy --{text} 1"),
    *("laws fit {text}.csv", "expert score {text} toy --episodes 1", "play {text}", "{text}"),
)


def terminal(seeds: Path, work: Path) -> Target:
    with (seeds / "study" / "points.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    study = Path(shutil.copytree(seeds / "study", work / "study"))
    isoclone.study.estimate.MEASURE_SECONDS = 0.01

    def ruin(draw: Draw) -> tuple[str, str, str]:
        kinds = {"table": ("group", *CELLS), "point": POINT, "spec": SPEC, "demos": DEMOS}
        kinds |= {"progress": ("label", "phase"), "laws": ("message", "code"), "words": WORDS}
        kind = draw(st.sampled_from([*kinds, "path"]))
        place = draw(st.sampled_from(kinds.get(kind, ("study", "table"))))
        return kind, place, draw(HOSTILE)

    def answer(ruined: tuple[str, str, str]) -> None:
        kind, place, text = ruined
        if kind == "table":
            _table(work / "runs.csv", rows, place, text)
        elif kind == "path":
            _path(work, study, rows, text)
        elif kind == "words":
            _say([word.replace("{text}", text) for word in place.split()])
        else:
            _file(study, kind, place, text)

    return Target(ruin, answer)


def _say(words: list[str]) -> None:
    """Call the command line, and look at every character that it prints."""
    out, said = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(said),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        try:
            code: Any = main(words)
        except SystemExit as left:
            code = left.code
    printed = out.getvalue() + said.getvalue()
    found = RAW.search(printed)
    expect(found is None, f"{words[0]} prints {found and found[0]!r}")
    expect(code in (0, 1, 2), f"exit code {code}")
    expect("Traceback" not in printed, "a traceback")


def _table(path: Path, rows: list[dict[str, str]], column: str, text: str) -> None:
    with path.open("w", newline="", encoding="utf-8", errors="surrogatepass") as file:
        writer = csv.DictWriter(file, ["group", *rows[0]])
        writer.writeheader()
        writer.writerows({"group": "a", **row, column: text} for row in rows)
    for verb, *flags in (("fit",), ("forecast", "--flops", "1e8"), ("recount", "--to", "6nd")):
        _say(["laws", verb, str(path), *flags])


def _path(work: Path, study: Path, rows: list[dict[str, str]], text: str) -> None:
    try:
        place = work / (text.replace("/", "").replace("\x00", "")[:40] + "s")
        shutil.copytree(study, place)
    except (OSError, UnicodeError) as error:
        raise IsocloneError("no such name can be made here") from error
    try:
        _say(["status", str(place)])
        _say(["demos", "show", str(place)])
        _table(place / f"{place.name}.csv", rows, "group", text)
    finally:
        shutil.rmtree(place)


def _file(study: Path, kind: str, place: str, text: str) -> None:
    """Put the text into one field of a file of a study, and look at the study."""
    name = {"spec": "study.json", "laws": "laws.json", "demos": "demos/demonstrations.json"}
    pattern = {"point": "runs/*/points/*.json", "progress": "runs/*/progress.json"}
    path = study / name[kind] if kind in name else sorted(study.glob(pattern[kind]))[0]
    whole = path.read_bytes()
    data = json.loads(whole)
    inner = data["spec"] if kind == "spec" else data
    if kind == "laws":
        inner["status"] = [{"code": "x", "message": "y", place: text}]
    else:
        inner[place] = text
    path.write_text(json.dumps(data))
    try:
        for verb in (("status",), ("demos", "show"), ("plan",)):
            if verb != ("plan",) or kind == "spec":
                _say([*verb, str(study)])
    finally:
        path.write_bytes(whole)


ALL: dict[str, Maker] = {"terminal": terminal}
