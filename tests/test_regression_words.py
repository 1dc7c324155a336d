"""The page's words on a comparison are true in every state: nothing, all the same, one regression, a bad control."""

import comparisons as c
import pytest

from mbbench.reporting.compared import INTERRUPTED, Comparison
from mbbench.reporting.compared_words import headline
from mbbench.reporting.regression_words import HEADS, finding, left_out, method, table, tile
from mbbench.reporting.tiles import NOT_COMPARED, Tile

SAME, SLOWER, FASTER = c.time("s", "same", 1.001), c.time("w", "slower", 1.2), c.time("b", "faster", 0.8)
OPEN = c.time("u", "undecided", 1.02, 0.04)
NOTHING = Comparison("a", "b", lost={"t": "head crashed"})
MEMORY = c.compared(c.memory("m", 10**8, 2 * 10**8), control=None)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (NOTHING, "Nothing could be compared."),
        (c.compared(SAME), "No change was confirmed: 1 same."),
        (c.compared(SAME, OPEN), "No change was confirmed: 1 same and 1 undecided."),
        (c.compared(OPEN), "No change was confirmed: 1 undecided."),
        (c.compared(SLOWER, SAME), "Slower: w (+20.0 %). The others: 1 same."),
        (c.compared(SLOWER), "Slower: w (+20.0 %)."),
        (c.compared(FASTER, SAME), "Faster: b (-20.0 %). The others: 1 same."),
        (MEMORY, "Hungrier: m (+100.0 %)."),
        (
            c.compared(SLOWER, SAME, control=1.07),
            "The control, the base against itself, was called slower (+7.0 %): what the times show is not believed.",
        ),
        (
            c.compared(SLOWER, c.memory("m", 10**8, 2 * 10**8), control=1.07),
            "The control, the base against itself, was called slower (+7.0 %): what the times show is not believed. "
            "Hungrier: m (+100.0 %).",
        ),
        (
            c.compared(*(c.time(f"t{n}", "slower", 1.1 + n / 100) for n in range(5))),
            "Slower: t4 (+14.0 %), t3 (+13.0 %), t2 (+12.0 %) and 2 more.",
        ),
    ],
)
def test_the_finding_says_what_changed_and_how_many_did_not(made, said):
    assert finding(made) == said


def test_the_best_is_named_first_among_the_better():
    assert finding(c.compared(FASTER, c.time("a", "faster", 0.9))) == "Faster: b (-20.0 %) and a (-10.0 %)."


@pytest.mark.parametrize(
    ("made", "value", "detail"),
    [
        (NOTHING, "nothing compared", "1 benchmark could not be compared"),
        (Comparison("a", "b"), "nothing compared", "no benchmark is in both"),
        (Comparison("a", "b", unfinished="the time was over"), "nothing compared", "ended early: the time was over"),
        (c.compared(SAME), "none", "Time: 1 same"),
        (c.compared(FASTER), "none", "Time: 1 faster"),
        (c.compared(SAME, OPEN), "none shown", "Time: 1 undecided, 1 same"),
        (c.compared(SLOWER, SAME), "1", "worst: w, +20.0 % wall time (95 % +19.0 % to +21.0 %)"),
        (MEMORY, "1", "worst: m, +100.0 % tensor memory"),
        (
            c.compared(SLOWER, control=1.07),
            "not reliable",
            "the base against itself was called slower (+7.0 %). Time: 1 slower",
        ),
        (c.compared(SAME, unfinished=INTERRUPTED), "none so far", "Time: 1 same; ended early: interrupted"),
        (c.compared(SLOWER, unfinished="the time was over"), "1", None),
    ],
)
def test_the_tile_says_it_in_a_figure(made, value, detail):
    found = tile(made)
    assert (found.label, found.value) == ("regressions", value)
    assert found.detail == detail if detail else found.detail.endswith("; ended early: the time was over")


def test_without_a_comparison_the_tile_says_the_command():
    assert tile(None) == NOT_COMPARED == Tile("regressions", "not compared", "`mbbench compare BASE`")


WORDS = {
    "turns": ("take turns", c.compared(SAME)),
    "seeds": ("same seeds", c.compared(c.seeds("c", "same", 1.0), control=None)),
    "memory": ("no interval", MEMORY),
    "control": ("The control", c.compared(SAME)),
}


@pytest.mark.parametrize("which", WORDS)
def test_the_method_is_that_of_what_was_compared(which):
    words, with_it = WORDS[which]
    assert words in method(with_it)
    without = MEMORY if which != "memory" else c.compared(SAME)
    assert words not in method(without)


def test_the_method_names_stages_units_and_what_matters():
    said = method(c.compared(SAME, c.seeds("c", "same", 1.0)))
    assert "over the blocks and seeds" in said
    assert "10, 16 or 24" in said
    assert "what does is 3 % of a time or more and 5 % of updates or of a held-out loss or more." in said
    assert "sign-flip" not in method(MEMORY)
    assert "what does is more than 2 % and 4 MiB of memory." in method(MEMORY)
    assert "8 % of a time" in method(c.compared(SAME, tolerance=0.08))
    assert method(NOTHING) == ""


def rows(found):
    heads, shown = table(found)
    return [dict(zip(heads, row, strict=True)) for row in shown]


def test_the_table_has_every_row_the_control_and_what_was_not_compared():
    found = c.everything()
    shown = rows(found)
    assert len(shown) == len(found.rows) + 1 + 3
    assert table(found)[0] == [*HEADS]
    assert [row["verdict"] for row in shown[-4:]] == ["control: same", "not compared", "only in head", "only in base"]
    assert shown[-3]["note"] == "head crashed"
    [slow] = [row for row in shown if row["change"] == "+13.4 %" and row["of"] == "wall time"]
    assert (slow["verdict"], slow["base"], slow["head"], slow["interval"], slow["n"]) == (
        *("▲ slower", "1.00 ms", "1.13 ms", "+12.4 % to +14.4 %", "12"),
    )
    [hungry] = [row for row in shown if row["verdict"] == "▲ hungrier"]
    assert (hungry["base"], hungry["head"]) == ("954 MiB", "1.86 GiB")
    assert hungry["interval"] == ""
    assert hungry["note"] == "no interval: one exact reading"
    [few] = [row for row in shown if row["n"] == "6"]
    assert few["note"] == "6 blocks are too few to tell"
    [later] = [row for row in shown if row["of"] == "time to a loss of 0.25"]
    assert later["note"] == "interval at 90 %"


def test_columns_without_a_value_are_left_out():
    assert table(MEMORY)[0] == ["benchmark", "verdict", "of", "base", "head", "change", "n", "note"]
    assert table(c.compared(SAME))[0] == ["benchmark", "verdict", "of", "base", "head", "change", "interval", "n"]


def test_a_change_of_cpu_time_says_nothing_of_the_wall_clock():
    [row, _] = rows(c.compared(c.time("t", "slower", 1.2, clock="cpu")))
    assert (row["of"], row["base"], row.get("head", "")) == ("CPU time", "1.00 ms", "")


def test_what_is_not_believed_is_said_in_its_row():
    shown = rows(c.compared(SLOWER, OPEN, control=1.07))
    assert [row["verdict"] for row in shown] == ["? undecided", "▲ slower, not believed", "control: slower"]


def test_what_looked_changed_and_was_not_confirmed_is_noted():
    [row, _] = rows(c.compared(c.time("t", "undecided", 1.05, suspected="slower")))
    assert (row["note"], row["seen every other time"]) == ("looked slower, not confirmed", "2 %")


def test_what_has_no_verdict_is_counted():
    assert left_out(c.compared(SAME)) == ""
    assert (
        left_out(c.everything())
        == "1 benchmark could not be compared, 1 benchmark only in head and 1 benchmark only in base."
    )


def swapped(text):
    pairs = {"slower": "faster", "hungrier": "leaner", "Slower": "Faster", "Hungrier": "Leaner", "worse": "better"}
    return {**pairs, **{value: key for key, value in pairs.items()}}.get(text, text)


def test_a_mirrored_comparison_turns_every_word_that_should_turn_and_no_other():
    found, turned = c.everything(), c.mirrored(c.everything())
    assert method(found) == method(turned)
    assert left_out(found) == left_out(turned)
    assert finding(found) != finding(turned)
    assert "Slower: epoch_time[mlp-b32] (+13.4 %) and epoch_time[mlp-b64] (+8.0 %)." in finding(found)
    assert "Faster: epoch_time[mlp-b32] (-11.8 %) and epoch_time[mlp-b64] (-7.4 %)." in finding(turned)
    assert "Faster: epoch_time[linear-b512] (-9.0 %)." in finding(found)
    assert "Slower: epoch_time[linear-b512] (+9.9 %)." in finding(turned)
    assert finding(found).split(". ")[-1] == finding(turned).split(". ")[-1] == "The others: 3 same and 3 undecided."
    assert headline(found).startswith("Hungrier than")
    assert "worse held-out" not in headline(found)
    assert headline(turned).startswith("Generalises worse than")
    before = {(row["benchmark"], row["of"]): row for row in rows(found)}
    after = {(row["benchmark"], row["of"]): row for row in rows(turned)}
    assert before.keys() == after.keys()
    for key, row in before.items():
        words, others = row["verdict"].split()[1:2], after[key]["verdict"].split()[1:2]
        assert [swapped(word) for word in words] == others or key[1].startswith("time to")
        assert (row["base"], row["n"], row["note"]) == (after[key]["base"], after[key]["n"], after[key]["note"])
