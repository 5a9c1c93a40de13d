"""Games ranked as the NetHack Challenge does; the facts that this needs are those of real games."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import isoclone as ic
from isoclone.base.store import write_json
from isoclone.nethack.game import key_actions
from isoclone.nethack.ranking import FEW, MOST, account, cause, grouped, race_of, ranking, role_of
from isoclone.report.page import render, sections_of
from isoclone.study.facts import gather
from isoclone.study.study import Study


def row(score, death="killed by a jackal", **more):
    return {"score": score, "death": death, "end": "terminated", **more}


@pytest.mark.parametrize(
    ("death", "group"),
    [
        ("killed by a jackal", "jackal"),
        ("killed by an invisible jackal, while praying", "jackal"),
        ("killed by a fox while fainted from lack of food", "fox"),  # as imported logs have it
        ("killed by an air elemental of Chih Sung-tzu, while helpless", "air elemental"),
        ("killed by the wrath of Susanowo", "wrath"),
        ("killed by a bolt of lightning", "bolt of lightning"),
        ("killed by Ms. Kopasker, the shopkeeper", "shopkeeper"),
        ("killed by a little dog called Hachi", "little dog"),
        ("killed by kicking a wall", "kicking a wall"),
        ("killed himself by breaking a wand", "killed oneself by breaking a wand"),
        ("poisoned by a rotted giant rat corpse, while helpless", "rotted corpse"),
        ("choked on a food ration", "choking"),
        ("died of starvation, while fainted", "starvation"),
        ("drowned in a moat by a giant eel", "giant eel"),
        ("petrified by a cockatrice corpse", "cockatrice corpse"),
        ("escaped", "escaped the dungeon"),
        ("ascended", "ascended"),
        ("quit", "quit"),
        (None, "not recorded"),
    ],
)
def test_causes_are_told_without_article_name_or_state(death, group):
    assert cause(row(1, death)) == group


def test_a_game_that_was_cut_off_did_not_die():
    assert cause({"end": "step limit", "death": "quit"}) == "cut off: step limit"


def test_agents_are_ranked_by_ascensions_then_median_then_mean():
    ascended = ranking([row(1, "ascended"), row(2)])
    steady = ranking([row(50), row(60), row(70)])
    lucky = ranking([row(10), row(20), row(90_000)])
    luckier = ranking([row(10), row(20), row(100_000)])
    order = sorted((lucky, luckier, steady, ascended), key=lambda r: r.order, reverse=True)
    assert order == [ascended, steady, luckier, lucky]
    assert ranking([]).order < lucky.order


def test_the_medians_interval_holds_it_as_often_as_it_says():
    chance, held = np.random.default_rng(0), 0
    for _ in range(400):
        found = ranking([row(float(x)) for x in chance.lognormal(size=25)])
        held += found.median_low <= 1.0 <= found.median_high
    assert 0.93 <= held / 400 <= 1.0
    assert ranking([row(s) for s in range(5)]).median_low is None


def test_what_is_missing_is_counted_and_not_filled_in():
    told = account([row(4), {"end": "died"}])
    assert told.figures["ranking"]["games"] == 2
    assert told.figures["ranking"]["scored"] == 1
    assert "1 without a score" in told.lines[0]
    assert {r["cause"] for r in told.figures["by_cause"]} == {"jackal", "cut off: died"}


def test_shares_have_counts_and_small_groups_are_said_to_be_small():
    games = [row(s, role="Mon", race="Hum") for s in range(FEW)] + [row(5, "quit", role="Val")]
    told = account(games)
    mon, val = told.figures["by_role"]
    assert (mon["role"], mon["games"], mon["few"]) == ("Mon", FEW, False)
    assert (val["role"], val["games"], val["few"]) == ("Val", 1, True)
    assert mon["share"] + val["share"] == 1
    assert told.tables[0].rows[1][1] == "1 (9 %), few"
    assert [r["race"] for r in told.figures["by_race"]] == ["Hum", "not recorded"]
    json.dumps(told.figures, allow_nan=False)


def test_the_rarest_causes_stand_in_one_row_of_the_table_only():
    told = account([row(n, f"killed by a beast{n}") for n in range(MOST + 3)])
    assert told.tables[-1].rows[-1][:2] == ["3 others", "3 (20 %), few"]
    assert len(told.figures["by_cause"]) == MOST + 3


def test_older_facts_have_the_role_in_their_character():
    old = row(1, character="val-dwa-law-fem")
    assert (role_of(old), race_of(old)) == ("Val", "Dwa")
    assert role_of(row(1)) == race_of(row(1)) == "not recorded"


def waited(game, seed):
    """The facts of a real game in which the player only searches until the limit."""
    env = game.make_env()
    env.reset(seed)
    while not env.step(key_actions()[ord("s")])[3]:
        pass
    return env.episode_facts()


def test_real_games_of_random_characters_tell_who_was_played():
    pytest.importorskip("nle")
    game = ic.game("nethack", character="@", max_steps=6)
    facts = [waited(game, seed) for seed in range(4)]
    assert len(grouped(facts, role_of)) > 1
    for each in facts:
        assert each["character"].startswith(f"{each['role']}-{each['race']}".lower())
    one = waited(ic.game("nethack", character="val-dwa-law-fem", max_steps=3), 0)
    assert (one["role"], one["race"]) == ("Val", "Dwa")
    assert account(facts).figures["ranking"]["games"] == 4


def test_the_report_ranks_the_studys_agents(finished_study: Path):
    facts = gather(Study.open(finished_study))
    assert "challenge" not in sections_of(facts)[0]
    spec = dataclasses.replace(facts.spec, game="nethack/NetHackChallenge-v0")
    agent, first = facts.agent, facts.points[0]
    assert agent is not None
    played = {
        (agent.run_id, agent.budget_flops): (row(5), row(7)),
        (first.run_id, first.budget_flops): (row(1, "ascended", role="Mon", race="Hum"),),
    }
    dressed = dataclasses.replace(facts, spec=spec, episodes=played)
    html = sections_of(dressed)[0]["challenge"].html
    assert html.index(f"N {first.params:,}") < html.index("(forecast agent)")
    assert "2 games: 0 ascensions, median score 6" in html
    assert "not recorded" in html  # of older facts, who was played
    assert "As the NetHack Challenge ranks" in render(dressed)


def test_facts_of_episodes_are_read_with_the_study(finished_study: Path, tmp_path: Path):
    mine = tmp_path / "study"
    shutil.copytree(finished_study, mine)
    study = Study.open(mine)
    point = study.points()[0]
    write_json(study.folder.run(point.run_id).episodes(point.budget_flops), [row(3)])
    assert gather(study).episodes == {(point.run_id, point.budget_flops): (row(3),)}
