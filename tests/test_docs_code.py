"""The code on the tutorial's and the extending page runs, from top to bottom."""

import re
from pathlib import Path

import pytest

from isoclone.policies.base import POLICIES

DOCS = Path(__file__).parent.parent / "docs"


def code_of(page: str) -> str:
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    assert blocks, f"{page} has no code"
    return "\n".join(blocks)


@pytest.mark.parametrize("page", ["tutorial.md", "extending.md"])
def test_the_page_runs(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(POLICIES, "_makers", dict(POLICIES._makers))
    exec(compile(code_of(page), page, "exec"), {"__name__": "docs"})
    if page == "tutorial.md":
        assert (tmp_path / "studies/toy/report.html").exists()
        assert "dev loss" in capsys.readouterr().out
