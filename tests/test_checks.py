"""What speaks for the clocks of a report: its own repeats in two halves, what was dropped, what waited."""

import msgspec
import pytest
import synthetic as s

from mbbench.reporting import page, provenance
from mbbench.reporting.checks import checks, halves


def said(records):
    return {finding.label: finding.text for finding in checks(records)}


def repeats(cell, *epochs_s, **fields):
    return [s.time_record(cell, seconds, repeat=number, **fields) for number, seconds in enumerate(epochs_s)]


def test_every_second_repeat_is_set_against_the_others():
    ((factor, number),) = halves(repeats(s.case(32), 0.1, 0.2, 0.4, 0.2))
    assert factor == pytest.approx(1.0)  # sqrt(0.1 * 0.4) against 0.2
    assert number == 4
    ((factor, _),) = halves(repeats(s.case(32), 0.1, 0.2, 0.1))
    assert factor == pytest.approx(0.5)


def test_the_order_of_the_records_does_not_matter():
    records = repeats(s.case(32), 0.1, 0.2, 0.4, 0.3)
    assert halves(records) == halves(records[::-1])


def test_halves_are_those_of_the_run_with_the_most_repeats():
    other = repeats(s.case(32), 9.0, 1.0, run_id="run2")
    assert halves([*repeats(s.case(32), 0.1, 0.1, 0.1), *other]) == [(pytest.approx(1.0), 3)]


def test_the_line_says_by_how_much_halves_differ_and_how_many_cells_that_are():
    cells = [repeats(s.case(size), 0.1, 0.1 * by) for size, by in ((8, 1.01), (32, 0.96), (128, 1.2))]
    assert said([record for several in cells for record in several])["A/A"] == (
        "two halves of this run's own repeats against each other: the time of an epoch differs by 4.2 % in the median, 20 % "
        "at most, n = 3 cells of 2 repeats. A comparison of identical code would see as much."
    )


def test_one_cell_has_no_median_and_no_most():
    assert "differs by 10 % in the only cell, n = 1 cell of 2 repeats" in said(repeats(s.case(8), 0.1, 0.11))["A/A"]


def test_single_repeats_say_what_it_takes():
    assert said([s.time_record(s.case(8))])["A/A"].startswith("not known: every cell was timed once")


def test_the_warm_up_that_was_dropped_is_said():
    records = repeats(s.case(8), 0.1, 0.1)
    longer = msgspec.structs.replace(records[1].measurement, warmup_s=0.4, warmup_steps=1500)
    records[1] = msgspec.structs.replace(records[1], measurement=longer)
    text = said(records)["Warm-up"]
    assert text == "dropped before the first clock of every time record: 100 ms to 400 ms, 10 to 1,500 updates."


def test_contention_is_counted_where_it_can_be_told():
    records = [*repeats(s.case(8), 0.1, 0.1), *repeats(s.case(32), 0.1, busy=1.2), *repeats(s.case(64, threads=2), 0.1)]
    assert said(records)["Contention"] == (
        "1 of 3 time records waited more than 5 % of their time for the processor. Of 1 other, not on one thread of the "
        "CPU, it cannot be told."
    )
    assert said(repeats(s.case(64, threads=2), 0.1))["Contention"].startswith("cannot be told")


def test_without_a_time_there_is_nothing_to_check():
    assert checks([s.failure(s.case(8), "oom"), *s.curve_records(s.case(8))]) == []


def test_the_page_has_the_checks_in_its_provenance(tmp_path):
    records = [*repeats(s.case(8), 0.1, 0.11), *repeats(s.case(32), 0.1, 0.1)]
    page.build(records, tmp_path / "index.html", figures=False)
    html = (tmp_path / "index.html").read_text(encoding="utf-8").split('<section id="provenance">')[1]
    for text in said(records).values():
        assert text in html.replace("&#39;", "'")


def test_every_word_stands_in_english_and_korean_once_with_its_meaning():
    assert len({english for english, _, _ in provenance.WORDS}) == len(provenance.WORDS)
    for english, korean, meaning in provenance.WORDS:
        assert english.isascii()
        assert any("가" <= letter <= "힣" for letter in korean), english
        assert meaning
    korean = " ".join(korean for _, korean, _ in provenance.WORDS)
    for word in ("배치", "미니배치", "이터레이션", "스텝", "에폭", "학습률", "처리량", "목표 손실", "시드", "신뢰구간"):
        assert word in korean
