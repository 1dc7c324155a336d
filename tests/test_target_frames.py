"""The page shows which batch size reaches the target first, before all else, with sentences that hold for its numbers."""

import random
import re

import pytest
import synthetic as s
import targeted as t
from test_page import Reader

from mbbench.reporting import page, step_table, target_table, target_words
from mbbench.reporting.choosing import choices

FIRST = "Which batch size reaches the target first?"
SECOND = "How many updates and samples does it take?"
LOSSES = "How does the loss fall?"


def build(records, folder, figures=False):
    output = folder / "index.html"
    page.build(records, output, figures=figures)
    return output.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return build(t.everything(), tmp_path_factory.mktemp("target"), figures=True)


def frame(html, title):
    return html.split(f"<h3>{title}</h3>")[1].split("<h3>")[0].split("</section>")[0]


def rows(html):
    found = re.findall(r"<tr>(<td>.*?)</tr>", html, re.DOTALL)
    return [re.findall(r"<td>([^<]*)</td>", row) for row in found]


def caption(html, place=0):
    found = re.findall(r"<figcaption>(.*?)(?: <span class=\"files\">.*?)?</figcaption>", html, re.DOTALL)
    return found[place]


def test_the_first_frame_of_a_setting_says_which_batch_size_reaches_the_target_first(built):
    assert re.findall(r"<h3>([^<]*)</h3>", built)[:2] == [FIRST, SECOND]


def test_without_a_search_there_is_no_such_frame(tmp_path):
    html = build(t.times(), tmp_path)
    assert FIRST not in html
    assert SECOND not in html


def test_the_frames_have_their_tables_behind_them(built):
    table = rows(frame(built, FIRST))
    assert len(table) == 14
    assert table[0][:2] == ["1", "slice"]
    assert [row[2] for row in table[:4]] == ["diverged", "not reached (3 of 5)", "reached", "recommended"]
    assert len(rows(frame(built, SECOND))) == 7


def test_nothing_in_the_page_asks_a_network_and_nothing_carries_a_handler_or_a_style(built):
    reader = Reader(built)
    assert reader.open == []
    assert not {"link", "img", "iframe", "object"} & set(reader.tags)
    assert "://" not in built
    assert not [tag for tag, name, _ in reader.attributes if name == "style" or name.startswith("on")]
    ids = [value for _, name, value in reader.attributes if name == "id"]
    assert len(ids) == len(set(ids))


def test_the_caption_names_the_recommended_sizes_their_times_and_what_the_ends_would_cost(built):
    said = caption(frame(built, FIRST))
    assert re.match(r"Batch 8 with slice reaches loss 0\.1 in 16\.0 ms \(\d\d\.\d ms to \d\d\.\d ms\)\.", said)
    assert re.search(r"Full batch takes 1\.8 times as long \(\d\.\d to \d\.\d\)\.", said)
    assert "Batch 1 takes" not in said  # it never got there
    # sqrt(200 * 8 / 50) = 5.7 rows, between two that were tried.
    assert re.search(r"With dataloader it is batch 6, in 117 ms \(\d+ ms to \d+ ms\); as good: 4 and 8\.", said)
    assert "Without steps to it: batch 1 (diverged) and batch 2 (not reached)." in said


def test_the_captions_of_steps_and_samples_say_the_planted_truth(built):
    said = caption(frame(built, SECOND))
    assert said.startswith(
        "300 updates (240 to 375 over the seeds) with batch 4, 96 updates (77 to 120 over the seeds) with"
    )
    assert "3.1 times fewer, of 16 times the samples each." in said
    assert re.search(r"At about 8 samples \(Bc, 95 % interval \d to \d+\) the fit has twice the least", said)
    assert "only a prior, is 6 to 20 samples along a run." in said
    said = caption(frame(built, SECOND), 1)
    assert said.startswith(
        "Full batch takes the fewest updates; batch 4 takes the fewest samples, with 3.1 times the updates"
    )
    assert "1/5.1 of the samples" in said


def test_the_method_says_what_chose_and_what_the_markers_are(built):
    method = frame(built, FIRST).split('<p class="method">')[1].split("</p>")[0]
    assert "typical of 5 seeds at each batch size&#39;s best learning rate" in method
    assert "fitted curves choose" in method
    assert "no curve holds" not in method
    assert "Open markers: single races, really trained against the clock" in method
    assert "not tuned" not in method


def test_a_table_that_chooses_is_said_so():
    two = choices([*t.searches(), *t.times(("slice",), (4, 8))])
    method = target_words.time_method(two, target_table.sizes(two), target_table.picks(two))
    assert "no curve holds: the least measured is chosen" in method
    assert "fitted curves choose" not in method
    assert "Open markers" not in method


def test_one_seed_has_no_interval_and_the_method_says_so():
    one = choices([s.target_record(t.cell(size), [200.0]) for size in (4, 8)] + t.times(("slice",), (4, 8)))
    sizes = target_table.sizes(one)
    assert "too few seeds for an interval" in target_words.time_method(one, sizes, target_table.picks(one))
    assert target_words.first(one, sizes).startswith("batch 4 reaches loss 0.1 in 12.0 ms")


def test_where_nothing_got_there_the_caption_says_so():
    lost = [s.target_record(t.cell(size), [None] * 5, ended="diverged") for size in (4, 8)]
    found = choices([*lost, *t.times(("slice",), (4, 8))])
    said = target_words.first(found, target_table.sizes(found))
    assert said == "no time to loss 0.1 is known. Without steps to it: batch 4 (diverged) and batch 8 (diverged)."


def test_rates_that_were_not_tuned_are_no_ranking(tmp_path):
    fixed = (("lr_policy", "fixed"),)
    searches = [s.target_record(t.cell(size, options=fixed), [t.STEPS[size]] * 5) for size in t.SIZES]
    found = choices([*searches, *t.times(("slice",), t.SIZES)])
    method = target_words.time_method(found, target_table.sizes(found), target_table.picks(found))
    assert "One learning rate for all batch sizes, not tuned: not a ranking." in method
    assert "best learning rate" not in method
    assert "not tuned: not a ranking" in target_words.step_method(found, step_table.step_curves(found))


def test_one_size_that_is_best_in_both_is_said_so():
    found = choices([s.target_record(t.cell(8), [200.0] * 5), *t.times(("slice",), (8,))])
    steps = step_table.steps(found)
    assert target_words.trade(steps) == "batch 8 takes the fewest updates and the fewest samples of those tried."
    assert target_words.fewer_steps(steps, {}, None).startswith("200 updates with batch 8. The steps do not tell")


def test_more_steps_for_a_larger_batch_are_said_so():
    found = choices([s.target_record(t.cell(size), [steps] * 5) for size, steps in ((4, 100.0), (8, 200.0))])
    assert "2.0 times more, of 2.0 times the samples each" in target_words.fewer_steps(step_table.steps(found), {}, None)


def test_searches_without_times_are_shown_too(tmp_path):
    html = build(t.searches(), tmp_path)
    assert "No time to loss 0.1 is known." in caption(frame(html, FIRST))
    assert caption(frame(html, SECOND)).startswith("300 updates")


def test_the_order_of_the_records_changes_nothing_in_the_frames(built, tmp_path):
    records = t.everything()
    mixed = build(random.Random(1).sample(records, len(records)), tmp_path, figures=True)
    for title in (FIRST, SECOND, LOSSES):
        assert frame(mixed, title) == frame(built, title)


def test_a_whole_target_page_has_a_figure_for_each_question(built):
    names = re.findall(r'href="figures/s1-([\w-]+)\.svg"', built)
    assert names[:3] == ["target", "steps", "pareto"]
    assert names[3:8] == ["loss-equal", "loss-epoch", "loss-step", "loss-samples", "loss-train_s"]
