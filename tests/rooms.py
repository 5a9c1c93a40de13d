"""The rooms of the package, lowest floor first: what each holds, and that imports only go down.

A room may import rooms of lower floors and its own files. `python tests/rooms.py` writes this list
into docs/architecture.md.
"""

from __future__ import annotations

from pathlib import Path

FLOORS: list[dict[str, str]] = [
    {"base": "errors, records, columns of a point, atomic files, names, process groups"},
    {
        "remote": "a directory here and its twin in an object store",
        "games": "the protocol; toy, Atari, Gymnasium; vector environments",
        "laws": "NumPy and SciPy only: points, isoFLOP curves, power laws, surfaces, fits; "
        "`frontier/` forecasts the lowest loss; `reinforcement/` has the laws of return; "
        "`tables` reads runs of others",
    },
    {
        "executors": "who calls a function: serial, processes, Ray, Slurm",
        "policies": "the protocol; cnn, mlp, recurrent; how frames are encoded; what each costs; "
        "how an action is drawn",
        "experts": "the protocol; scripted, look-ahead, checkpoints of others, PPO; their scores",
    },
    {
        "demos": "record, open, verify, split; batches to train on and to judge by",
        "agents": "trained policies on their own: checkpoints, and playing with them",
        "published": "other people's studies",
    },
    {"training": "recipes, the training loop"},
    {"evaluation": "dev loss, whole episodes, baselines, film"},
    {"report": "the page: facts in, HTML out"},
    {
        "study": "a study's specification, folder and plan; the worker that trains a run to a "
        "budget; the pipeline from demonstrations to report",
        "testing": "checks for games, experts, policies, laws and demonstrations of others",
    },
    {"api": "the public functions, and the doors through which anything is added"},
    {"__init__": "the public names", "cli": "the command line, and all printing"},
    {
        "nethack": "a wing: NetHack comes in by the entry point that any package may use",
        "__main__": "`python -m isoclone`",
    },
]
FLOOR = {room: number for number, floor in enumerate(FLOORS) for room in floor}
PAGE = Path(__file__).resolve().parents[1] / "docs" / "architecture.md"
BEGIN, END = "<!-- rooms: written by tests/rooms.py -->\n", "<!-- end of rooms -->\n"


def table() -> str:
    """Return the list as a table in Markdown, the highest floor first."""
    rows = [
        f"| {number} | `{room}` | {what} |"
        for number, floor in reversed(list(enumerate(FLOORS, 1)))
        for room, what in floor.items()
    ]
    return "\n".join(["| floor | room | what is in it |", "|---|---|---|", *rows]) + "\n"


def with_table(page: str) -> str:
    """Return the page with the table between its marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + table() + END + after


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
