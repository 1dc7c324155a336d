"""What is said and drawn follows from the records: times that are halved, and a winner and a loser that are swapped."""

import re

import pytest
import synthetic as s
import targeted as t
from test_page import Reader

from mbbench.reporting import page

UNITS = {"ns": 1e-9, "µs": 1e-6, "us": 1e-6, "ms": 1e-3, "s": 1.0}
TIME = re.compile(r"(\d[\d,.]*) (ns|µs|us|ms|s)\b")
RATE = re.compile(r"(\d[\d,.]*)( million)?(?= samples/s)")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Return a function that builds records and returns (sentences, pictures by name)."""
    folder = tmp_path_factory.mktemp("changes")

    def build(records):
        page.build(records, folder / "index.html", figures=False)
        html = (folder / "index.html").read_text(encoding="utf-8")
        figures = re.findall(r"(<svg.*?</svg>)", html, re.DOTALL)
        pictures = {re.search(r'aria-describedby="s\d+-(.*?)-desc"', svg)[1]: drawing(svg) for svg in figures}
        body = re.sub(r"<(svg|script|style)\b.*?</\1>", "", html, flags=re.DOTALL)
        body = re.sub(r'<dl class="facts">.*?</dl>', "", body, flags=re.DOTALL)
        return [text.strip() for text in Reader(body).texts if text.strip()], pictures

    return build


def drawing(svg):
    """Return what is drawn: without the words for who cannot see it, which are told apart, and without numbered classes."""
    return re.sub(r"<desc.*?</desc>", "", svg, flags=re.DOTALL)


def seconds(found):
    return float(found[0].replace(",", "")) * UNITS[found[1]]


def rate(found):
    return float(found[0].replace(",", "")) * (1e6 if found[1] else 1.0)


def test_halved_times_change_the_times_and_rates_and_nothing_else(built):
    records = [*t.everything(), *s.suite()]
    whole, whole_pictures = built(records)
    half, half_pictures = built([s.with_times(record, 0.5) for record in records])
    masked = [[RATE.sub("rate", TIME.sub("time", text)) for text in said] for said in (whole, half)]
    unlike = [(one, other) for one, other in zip(*masked, strict=True) if one != other]
    assert unlike  # the tables' samples/s, numbers without a unit
    for one, other in unlike:
        assert float(other.replace(",", "")) == pytest.approx(2 * float(one.replace(",", "")), rel=0.01)
    before, after = (TIME.findall(" | ".join(said)) for said in (whole, half))
    assert len(before) > 100
    fixed = [one for one, other in zip(before, after, strict=True) if one == other]
    # Budgets in commands, the warm-up and the least of a round: no measurement.
    assert {seconds(one) for one in fixed} <= {60.0, 1.0, 5.0, 0.1, 0.01}
    for one, other in zip(before, after, strict=True):
        assert one == other or seconds(other) == pytest.approx(seconds(one) / 2, rel=0.03), (one, other)
    rates, faster = (RATE.findall(" | ".join(said)) for said in (whole, half))
    assert rates
    for one, other in zip(rates, faster, strict=True):
        assert rate(other) == pytest.approx(2 * rate(one), rel=0.01)
    changed = {name for name in whole_pictures if whole_pictures[name] != half_pictures[name]}
    timed = {"target", "throughput", "epoch", "loss-train_s", "loss-equal"}
    assert changed == timed & set(whole_pictures)
    assert set(whole_pictures) - changed >= {"steps", "pareto", "loss-epoch", "loss-step", "loss-samples"}


def test_a_winner_and_a_loser_that_are_swapped_change_places_in_words_and_pictures(built):
    """Through slice, batch 8 wins; with the times of a step of batch 8 and of the full batch swapped, full batch does."""
    others = [r for r in t.everything() if r.kind == "target" or (r.kind == "time" and r.case.batch_size not in (8, None))]
    swapped = [
        s.time_record(t.cell(size, loader), t.STEP_S[loader][other] * t.cell(size, loader).steps_per_epoch, repeat=repeat)
        for loader in t.STEP_S
        for size, other in ((8, None), (None, 8))
        for repeat in range(3)
    ]
    plain, pictures = built([*others, *(r for r in t.times() if r.case.batch_size in (8, None))])
    said, changed = built([*others, *swapped])
    big = [next(text for text in texts if "reaches loss" in text) for texts in (plain, said)]
    assert "batch 8 reaches loss 0.1 first" in big[0]
    assert "full batch is best" in big[1]
    assert {name for name in pictures if pictures[name] != changed[name]} == {
        "target",
        "pareto",  # the recommended size is ringed
        "throughput",
        "epoch",
        "loss-train_s",
        "loss-equal",
    }
    kept = [text for text in plain if "updates" in text and TIME.search(text) is None and "Batch" not in text]
    assert all(text in said for text in kept if "full batch" not in text.lower())
