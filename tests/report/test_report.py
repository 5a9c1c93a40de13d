"""The report: what it says, that it is safe, the same each time, and drawn in a real browser."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from markupsafe import escape

from isoclone.base import results
from isoclone.base.results import Reference
from isoclone.base.store import read_json, write_json
from isoclone.report import write_report
from isoclone.report.facts import Facts
from isoclone.report.headline import headline
from isoclone.report.page import sections_of
from isoclone.report.templating import environment
from isoclone.report.verdict import forecast
from isoclone.study import pipeline
from isoclone.study.builtins import builtin
from isoclone.study.facts import gather
from isoclone.study.study import Study

HOSTILE = "<img src=x onerror=alert(1)>&\"'"
CLOSING = "</script><script>alert(1)</script>"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole study, made in a few seconds."""
    spec = builtin("toy").replace(
        samples=4_000,
        widths=(2, 4, 8),
        budgets_flops=(3e6, 1e7, 3e7),
        episodes=4,
        forecast_episodes=4,
        dev_samples=300,
        extend=1,
    )
    path = tmp_path_factory.mktemp("report") / "tiny"
    return pipeline.run(Study.create(path, spec)).path


@pytest.fixture
def study(finished: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(finished, tmp_path / "tiny"))


def page_of(path: Path) -> str:
    """The study's page, written anew, without plotly.js."""
    text = write_report(path / "report.html", gather(Study.open(path))).read_text()
    return re.sub(r"<script>/\*\*.*?</script>", "", text, count=1, flags=re.DOTALL)


@pytest.fixture(scope="session")
def page(finished: Path) -> str:
    """The finished study's page, without plotly.js."""
    return page_of(finished)


@pytest.fixture(scope="session")
def facts(finished: Path) -> Facts:
    """What the finished study's page tells."""
    return gather(Study.open(finished))


def edit(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    data = read_json(path)
    change(data)
    write_json(path, data)


def edit_points(study: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    for path in study.glob("runs/*/points/*.json"):
        edit(path, change)


def figures_in(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', page)
    assert found
    return json.loads(found.group(1))


class Reader(HTMLParser):
    """Collects tags with their attributes, and whether every element is closed in order."""

    VOID = frozenset({"meta", "img", "br", "link", "input"})

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    assert not reader.open
    return reader


# ---------------------------------------------------------------------- a finished study


def test_page_tells_the_whole_story(finished: Path, page: str) -> None:
    opened = Study.open(finished)
    agent = json.loads((finished / "forecast.json").read_text())["point"]
    for name in ("isoflop", "frontier", "forecast", "plan", "laws", "points", "reproduce"):
        assert f'<section id="{name}">' in page
    for point in opened.points(None):
        assert f"<code>{point.run_id}</code>" in page
        assert point.checkpoint in page
    assert f"{agent['dev_loss']:.4f}"[:4] in page
    assert opened.demos().fingerprint in page
    assert "isoclone run tiny" in page
    assert "What is missing" not in page
    assert "data:video/mp4;base64," in page
    assert "<video controls loop muted playsinline" in page


def test_page_is_well_formed_and_its_ids_are_unique(page: str) -> None:
    reader = read(page)
    ids = [attrs["id"] for _, attrs in reader.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert set(figures_in(page)) <= set(ids)


def test_error_of_the_size_becomes_one_of_the_samples(facts: Facts) -> None:
    """An MLP of one hidden layer costs nearly 6 FLOPs per parameter, whatever its width."""
    assert facts.flops_rise == pytest.approx(1.0, abs=0.05)


def test_every_decision_of_the_plan_is_told(finished: Path, page: str) -> None:
    decisions = Study.open(finished).savings().decisions
    assert decisions
    for decision in decisions:
        assert escape(decision.why) in page


def test_same_study_gives_the_same_bytes(study: Path) -> None:
    first = pipeline.write_report(Study.open(study)).read_bytes()
    assert pipeline.write_report(Study.open(study)).read_bytes() == first


def test_nothing_is_loaded_from_anywhere(page: str) -> None:
    for tag, attrs in read(page).tags:
        for name in ("src", "href", "srcset", "poster", "action"):
            assert (attrs.get(name) or "data:").startswith("data:"), (tag, attrs)
    assert "default-src 'none'" in page


def test_hover_names_the_run_behind_a_point(finished: Path, page: str) -> None:
    text = json.dumps(figures_in(page)["chart-isoflop"])
    for point in Study.open(finished).points():
        assert point.run_id in text
        assert point.checkpoint in text


def test_optimum_at_the_edge_is_drawn_hollow(finished: Path, page: str) -> None:
    optima = Study.open(finished).laws().isoflop_curves()
    chart = figures_in(page)["chart-isoflop"]
    symbols = [trace["marker"]["symbol"] for trace in chart["data"] if "marker" in trace]
    edges = sum(not optimum.interior for optimum in optima)
    assert symbols.count("diamond-open") == edges
    assert symbols.count("diamond") == len(optima) - edges


def test_colours_are_roles_of_the_style_sheet(page: str) -> None:
    roles = set(re.findall(r'"@([a-z]+)', json.dumps(figures_in(page)))) - {"clear", "seq"}
    assert roles
    for role in roles:
        assert f"--{role}: light-dark(" in page


# ---------------------------------------------------------------------- hostile data


def test_hostile_text_stays_text(study: Path) -> None:
    edit(study / "study.json", lambda d: d["spec"].update(name=HOSTILE, expert=HOSTILE))
    edit_points(study, lambda p: p.update(recipe=CLOSING, game=HOSTILE))
    diverged = next(study.glob("runs/*/points/*.json"))
    lost = {"status": "diverged", "reason": CLOSING, "dev_loss": None, "return_mean": None}
    edit(diverged, lambda p: p.update(lost))
    edit(
        study / "forecast.json",
        lambda d: d["forecast"].update(status=[{"code": HOSTILE, "message": CLOSING}]),
    )
    page = page_of(study)
    tags = read(page).tags
    assert not any(tag == "img" or "onerror" in attrs for tag, attrs in tags)
    assert [attrs for tag, attrs in tags if tag == "script"] == [
        {"type": "application/json", "id": "figures"},
        {},
    ]
    assert escape(HOSTILE) in page
    assert escape(CLOSING) in page
    assert figures_in(page)


def test_json_cannot_end_its_script() -> None:
    value = {"a": f"<!-- {CLOSING} \u2028 &"}
    written = environment().from_string("{{ value|tojson }}").render(value=value)
    assert "<" not in written
    assert json.loads(written) == value


# ---------------------------------------------------------------------- missing pieces


def test_without_forecast_the_law_still_tells_one(study: Path) -> None:
    (study / "forecast.json").unlink()
    (study / "video.mp4").unlink()
    page = page_of(study)
    assert "the file of the forecast is lost" in page
    assert "It has not been tested yet" in page
    assert "not filmed" in page
    assert "<video" not in page
    assert "not tested yet" in page
    assert "trained yet" not in page


def test_without_returns(study: Path) -> None:
    nothing = {"return_mean": None, "return_se": None, "episodes": 0}
    edit_points(study, lambda p: p.update(nothing))
    edit(
        study / "forecast.json",
        lambda d: (d["by_seed"][0].update(nothing), d["forecast"].update(return_mean=None)),
    )
    edit(study / "study.json", lambda d: d["spec"].update(episodes=0))
    page = page_of(study)
    assert "no policy was played" in page
    assert not {"chart-return_mean", "chart-return-loss"} & set(figures_in(page))
    assert "not forecast" in page


def test_one_budget_only(study: Path) -> None:
    edit(study / "study.json", lambda d: d["spec"].update(budgets_flops=[3e6]))
    for path in study.glob("runs/*/points/*.json"):
        if not path.name.startswith("3.0") or not path.name.endswith("+06.json"):
            path.unlink()
    (study / "forecast.json").unlink()
    page = page_of(study)
    assert "Laws: " in page
    assert "No forecast yet" in page
    training = {"chart-losses", "chart-gradients", "chart-time"}
    assert set(figures_in(page)) == {"chart-isoflop", "chart-return-loss"} | training
    assert "One budget makes no frontier" in page


def test_lost_points_are_rows_with_their_reason(study: Path) -> None:
    paths = sorted(study.glob("runs/*/points/3.000000e+07.json"))
    nothing = {"dev_loss": None, "dev_loss_se": None, "dev_accuracy": None, "return_mean": None}
    edit(paths[0], lambda p: p.update(nothing, status="diverged", reason="loss not finite"))
    edit(paths[1], lambda p: p.update(nothing, status="failed", reason="out of memory"))
    page = page_of(study)
    assert "1 diverged, 1 failed" in page
    assert "loss not finite" in page
    assert "out of memory" in page


def test_failed_forecast_agent(study: Path) -> None:
    lost = {"status": "failed", "reason": "worker lost", "dev_loss": None, "return_mean": None}
    edit(
        study / "forecast.json",
        lambda d: (
            d["by_seed"][0].update(lost),
            d.update(holds={"dev_loss": None, "return_mean": None}),
        ),
    )
    page = page_of(study)
    assert "worker lost" in page
    assert "inside" not in page[page.index("<h1>") : page.index("<section")]


@pytest.mark.parametrize(
    ("loss", "returns", "words"),
    [
        (True, True, "both inside their intervals"),
        (False, False, "both outside their intervals"),
        (True, False, "the loss inside its interval, the return outside"),
        (None, True, ": the return inside its interval; the forecast of the loss says nothing"),
        (None, None, "; the forecast of the loss and of the return says nothing"),
    ],
)
def test_verdict_in_words(
    facts: Facts, loss: bool | None, returns: bool | None, words: str
) -> None:
    assert facts.tested
    held = {"dev_loss": loss, "return_mean": returns}
    vague = {name: 0.0 if answer is None else 1.0 for name, answer in held.items()}
    said = dataclasses.replace(facts.tested.forecast, excludes=vague)
    told = dataclasses.replace(
        facts, tested=dataclasses.replace(facts.tested, forecast=said, holds=held)
    )
    assert words in headline(told)


@pytest.mark.parametrize(
    ("mean", "words"),
    [(20.0, "is no better than random play: -20 ± 4 % of the way"), (34.0, "may be no better"),
     (90.0, None)],
)  # fmt: skip
def test_an_agent_that_does_not_beat_random_play_is_said_to(facts: Facts, mean, words) -> None:
    assert facts.forecast is not None
    assert facts.agent is not None
    agent = dataclasses.replace(facts.agent, return_mean=mean, return_se=2.0)
    tested = dataclasses.replace(facts.tested, by_seed=(agent,))
    ends = {"random": Reference(33.3, 1.0, 9), "expert": Reference(100.0, 1.0, 9)}
    said = headline(dataclasses.replace(facts, tested=tested, references=ends))
    assert words in said if words else "random play:" not in said


def test_study_that_has_only_begun(tmp_path: Path) -> None:
    Study.create(tmp_path / "young", builtin("toy"))
    page = page_of(tmp_path / "young")
    read(page)
    assert "No policy has been measured yet" in page
    assert "young/demos: no demonstrations" in page
    assert str(tmp_path) not in page
    assert figures_in(page) == {}


def test_damaged_forecast_is_named_and_does_not_stop_the_page(study: Path) -> None:
    (study / "forecast.json").write_text('{"forecast": {}}')
    assert "forecast.json is damaged" in page_of(study)


def test_figures_of_nothing_are_none(tmp_path: Path) -> None:
    sections, trouble = sections_of(gather(Study.create(tmp_path / "young", builtin("toy"))))
    assert not trouble
    assert not any(section.figures for section in sections.values())


def test_the_headline_names_who_played_and_how_often_it_was_seen(facts: Facts) -> None:
    assert facts.demos is not None
    assert facts.agent is not None
    assert facts.forecast is not None
    samples = round(facts.forecast.samples.value)
    seen = dataclasses.replace(facts.agent, epochs=25.0, samples=samples)
    shown = dataclasses.replace(
        facts, demos=dataclasses.replace(facts.demos, expert="champion.zip"),
        tested=results.Tested.of(facts.forecast, [seen]),
    )  # fmt: skip
    said = headline(shown)
    assert "Imitating the champion.zip expert in toy" in said
    assert re.search(r"\(the demonstrations <b>2[45][.\d]* times</b> over\)", said)
    fewer = dataclasses.replace(seen, epochs=50.0, samples=2 * samples)  # than the agent's own
    shown = dataclasses.replace(shown, tested=results.Tested.of(facts.forecast, [fewer]))
    assert re.search(r"\(the demonstrations <b>2[45][.\d]* times</b> over\)", headline(shown))
    once = dataclasses.replace(seen, epochs=0.9)
    shown = dataclasses.replace(facts, tested=results.Tested.of(facts.forecast, [once]))
    assert "times</b> over" not in headline(shown)


def test_a_forecast_above_the_expert_says_so(facts: Facts) -> None:
    assert facts.forecast is not None
    assert facts.forecast.return_mean is not None
    told = "higher than what was measured of the expert, 1.00 ± 0.10 over 7 episodes"
    low = {**facts.references, "expert": Reference(1.0, 0.1, 7)}
    shown = dataclasses.replace(facts, references=low)
    assert told in headline(shown)
    assert told in forecast(shown).html
    high = {**facts.references, "expert": Reference(1e3, 0.1, 7)}
    assert "higher than" not in headline(dataclasses.replace(facts, references=high))


# ---------------------------------------------------------------------- a real browser


def browse(page: Path, profile: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Open a page in headless Chromium with no network to speak of."""
    if CHROMIUM is None:
        pytest.skip("no Chromium here: the report was not looked at in a browser")
    quiet = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-dev-shm-usage",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        "--enable-logging=stderr",
        "--virtual-time-budget=10000",
        f"--user-data-dir={profile}",
    ]
    return subprocess.run(
        [CHROMIUM, *quiet, *options, page.as_uri()],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def test_charts_are_drawn_in_a_browser(finished: Path, page: str, tmp_path: Path) -> None:
    charts = figures_in(page)
    seen = browse(finished / "report.html", tmp_path / "profile", "--dump-dom")
    dom = seen.stdout[seen.stdout.rindex("</h1>") :]
    assert dom.count('class="plot-container') == len(charts) == 9
    assert dom.count('class="trace scatter') >= sum(len(c["data"]) for c in charts.values()) * 0.8
    assert dom.count("<path") > 50
    for axis in ("parameters N", "compute C (FLOPs)", "dev loss (nats per action)"):
        assert axis in dom
    trouble = [line for line in seen.stderr.splitlines() if "CONSOLE" in line]
    assert not trouble, trouble


def test_themes_width_and_sorting_in_a_browser(finished: Path, tmp_path: Path) -> None:
    """Each theme paints its own colours; on a small screen nothing is wider than it;
    a click on a heading sorts, a second one the other way."""
    path = finished / "report.html"
    probe = (
        "<script>function sorted(){const t=document.querySelector('.sortable');"
        "const h=[...t.querySelectorAll('th button')].find(b=>b.textContent=='dev loss');"
        "h.click();h.click();const at=h.parentNode.cellIndex;"
        "return [...t.tBodies[0].rows].map(r=>r.cells[at].dataset.v).join(' ')}"
        "document.title=[document.documentElement.scrollWidth<=innerWidth,"
        "getComputedStyle(document.body).backgroundColor,"
        "document.querySelector('.xtitle').style.fill,"
        "sorted()].join('|')</script>"
    )
    found = {}
    for theme in ("light", "dark"):
        inner = tmp_path / f"{theme}.html"
        text = path.read_text().replace("<html ", f'<html data-theme="{theme}" ', 1)
        inner.write_text(text.replace("</body>", f"{probe}</body>"))
        seen = browse(inner, tmp_path / f"profile-{theme}", "--dump-dom", "--window-size=500,900")
        found[theme] = seen.stdout.split("<title>")[1].split("</title>")[0].split("|")
    assert found["light"][0] == found["dark"][0] == "true"
    assert found["light"][1] == "rgb(246, 247, 249)"
    assert found["dark"][1] == "rgb(15, 18, 22)"
    assert found["light"][2] != found["dark"][2]
    losses = [float(v) for v in found["light"][3].split()]
    assert losses == sorted(losses, reverse=True)
    assert len(losses) == len(Study.open(finished).points(None))
