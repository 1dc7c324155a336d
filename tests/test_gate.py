"""The gate's statistics: exact by hand, honest in simulation, no verdict from too little."""

import itertools
import math

import numpy as np
import pytest

from mbbench.reporting import gate, sign_flip
from mbbench.reporting.gate import Flag


@pytest.mark.parametrize(
    ("effects", "share"),
    [
        ([1.0], 1 / 2),
        ([1.0, 1.0], 1 / 4),
        ([1.0, 2.0, -0.5], 2 / 8),  # 3.5 and 2.5 are at least 2.5
        ([0.01] * 7, 1 / 128),
        ([0.01] * 10, 1 / 1024),
        ([0.0, 0.0, 0.0], 1.0),  # every pattern has the same sum
        ([0.1, 0.2, 0.3], 1 / 8),
        ([0.1, 0.2, -0.3], 5 / 8),  # 0.6, 0.4, 0.2, 0 and 0 (its own) are at least 0
        ([-1.0], 1.0),
    ],
)
def test_the_share_of_sign_patterns_is_exact(effects, share):
    assert sign_flip.p_larger(effects) == share
    assert sign_flip.p_smaller([-effect for effect in effects]) == share


def test_both_halves_together_are_the_whole_enumeration():
    generator = np.random.default_rng(0)
    for n in range(1, 12):
        values = generator.normal(0.3, 1, n).round(2)
        sums = [sum(s * v for s, v in zip(signs, values, strict=True)) for signs in itertools.product((1, -1), repeat=n)]
        expected = sum(total >= values.sum() - 1e-9 for total in sums) / 2**n
        assert sign_flip.p_larger(list(values)) == pytest.approx(expected, abs=0)


@pytest.mark.parametrize("bad", [[], [math.nan], [math.inf, 1.0], [0.0] * (sign_flip.MOST_BLOCKS + 1)])
def test_what_is_no_list_of_effects_is_refused(bad):
    with pytest.raises(ValueError, match=r"effects"):
        sign_flip.p_larger(bad)


def test_the_interval_is_where_the_test_turns():
    effects = [0.010, 0.012, 0.015, 0.009, 0.011, 0.013, 0.014, 0.010]
    low, high = sign_flip.interval(effects)
    for end, test in ((low, sign_flip.p_larger), (high, sign_flip.p_smaller)):
        inside, outside = (end + 1e-7, end - 1e-7) if test is sign_flip.p_larger else (end - 1e-7, end + 1e-7)
        assert test([effect - inside for effect in effects]) > 0.025
        assert test([effect - outside for effect in effects]) <= 0.025
    assert low < np.mean(effects) < high


def test_an_interval_moves_with_its_effects_and_turns_with_their_signs():
    effects = [0.01, -0.02, 0.03, 0.0, 0.015, 0.02, -0.01, 0.04, 0.01]
    low, high = sign_flip.interval(effects)
    moved = sign_flip.interval([effect + 1 for effect in effects])
    turned = sign_flip.interval([-effect for effect in effects])
    assert moved == (pytest.approx(low + 1, abs=1e-8), pytest.approx(high + 1, abs=1e-8))
    assert turned == (pytest.approx(-high, abs=1e-8), pytest.approx(-low, abs=1e-8))


def test_six_blocks_give_neither_interval_nor_flag_nor_verdict():
    few = [0.1] * 6
    assert sign_flip.interval(few) is None
    assert gate.screen({"wall": few, "cpu": few}) is None
    assert not gate.confirm({"wall": few}, Flag("slower", "wall"))
    found = gate.change({"wall": few, "cpu": few}, None, None)
    assert (found.verdict, found.ratio.low, found.smallest_detectable) == ("undecided", None, None)


@pytest.mark.parametrize(
    "noise", ["normal", pytest.param("heavy", marks=pytest.mark.long), pytest.param("skewed", marks=pytest.mark.long)]
)
def test_the_interval_covers_the_truth(noise):
    """Of 2000 draws of 10 blocks at 95 %: within three standard errors (1.5 %), a sum of two skewed ones included."""
    generator = np.random.default_rng(1)
    draws = {
        "normal": lambda: generator.normal(0, 0.01, 10),
        "heavy": lambda: 0.01 * generator.standard_t(2, 10),
        "skewed": lambda: 0.01 * (generator.exponential(1, 10) - generator.exponential(1, 10)),
    }[noise]
    covered = 0
    for _ in range(2000):
        low, high = sign_flip.interval(list(0.02 + draws()))
        covered += low <= 0.02 <= high
    assert 0.935 <= covered / 2000 <= 0.985


def test_identical_code_is_flagged_by_screening_in_at_most_one_percent_and_hardly_ever_confirmed():
    """2000 comparisons, three looks at two clocks that agree in part; 1 % in each direction is 2 % in all at most."""
    generator = np.random.default_rng(2)
    flagged = confirmed = 0
    for _ in range(2000):
        wall = generator.normal(0, 0.01, 24)
        cpu = 0.7 * wall + generator.normal(0, 0.007, 24)
        looks = [gate.screen({"wall": list(wall[:n]), "cpu": list(cpu[:n])}) for n in gate.LOOKS]
        flag = next((flag for flag in looks if flag), None)
        if flag is not None:
            flagged += 1
            confirmed += gate.confirm({flag.clock: list(generator.normal(0, 0.01, 16))}, flag)
    assert flagged <= 0.02 * 2000 + 3 * math.sqrt(2000 * 0.02 * 0.98)
    assert confirmed <= 2


def test_a_real_change_is_confirmed_with_its_size():
    generator = np.random.default_rng(3)
    made = lambda n: list(generator.normal(math.log(1.10), 0.01, n))  # noqa: E731
    screened = {"wall": made(10), "cpu": made(10)}
    flag = gate.screen(screened)
    assert flag is not None
    assert flag.direction == "slower"
    found = gate.change(screened, flag, {"wall": made(10), "cpu": made(10)})
    assert found.verdict == "slower"
    assert found.ratio.low < 1.10 < found.ratio.high
    assert found.ratio.n == 10
    assert found.smallest_detectable < 0.03


def turned(effects):
    return {clock: [-effect for effect in values] for clock, values in effects.items()}


@pytest.mark.parametrize(
    ("screened", "confirming", "verdict"),
    [
        ([0.1] * 10, [0.1] * 10, "slower"),
        ([0.1] * 10, [0.001, -0.001] * 5, "same"),  # not seen again, and shown to be small
        ([0.1] * 10, [0.2, -0.2] * 5, "undecided"),
        ([0.1] * 10, [-0.1] * 10, "undecided"),  # the other way round: no confirmation, and no verdict against it
        ([0.02] * 10, [0.02] * 10, "same"),  # real, and less than matters
        ([0.001, -0.001] * 5, None, "same"),
        ([0.1, -0.1] * 5, None, "undecided"),
        ([0.1] * 10, None, "undecided"),  # flagged, and no time to confirm
    ],
)
def test_verdicts_and_their_mirror_images(screened, confirming, verdict):
    both = {"wall": screened, "cpu": screened}
    again = None if confirming is None else {"wall": confirming, "cpu": confirming}
    found = gate.change(both, gate.screen(both), again)
    assert found.verdict == verdict
    mirrored = gate.change(turned(both), gate.screen(turned(both)), None if again is None else turned(again))
    assert mirrored.verdict == {"slower": "faster", "faster": "slower"}.get(verdict, verdict)
    assert mirrored.ratio.value == pytest.approx(1 / found.ratio.value)


def test_a_flagged_change_is_as_large_as_the_confirming_blocks_say():
    screened = {"wall": [0.3] * 10, "cpu": [0.3] * 10}
    found = gate.change(screened, gate.screen(screened), {"wall": [0.1] * 10, "cpu": [0.1] * 10})
    assert found.ratio.value == pytest.approx(math.exp(0.1))


def test_what_is_confirmed_and_small_is_not_suspected():
    small = {"wall": [0.02, 0.021, 0.019, 0.022, 0.018] * 2, "cpu": [0.02] * 10}
    found = gate.change(small, gate.screen(small), small)
    assert (found.verdict, found.suspected) == ("same", None)
    noisy = {"wall": [0.1, -0.09] * 5, "cpu": [0.1, -0.09] * 5}
    assert gate.change(small, gate.screen(small), noisy).suspected == "slower"


def test_screening_goes_on_with_what_is_open_and_yields_flags_as_they_come():
    asked = []
    generator = np.random.default_rng(4)
    truth = {"same": (0.0, 0.001), "slower": (0.1, 0.001), "open": (0.0, 0.2)}
    drawn = {test: list(generator.normal(mean, sd, gate.LOOKS[-1])) for test, (mean, sd) in truth.items()}

    def blocks(tests, count):
        asked.append((tuple(tests), count))
        return {test: {"wall": drawn[test][:count], "cpu": drawn[test][:count]} for test in tests}

    flags = list(gate.screening(truth, blocks))
    assert asked == [(("same", "slower", "open"), 10), (("open",), 16), (("open",), 24)]
    assert [list(each) for each in flags] == [["slower"], [], []]


def test_a_change_on_one_clock_is_confirmed_on_that_clock():
    screened = {"wall": [0.1, -0.1] * 5, "cpu": [0.1] * 10}
    flag = gate.screen(screened)
    assert flag == Flag("slower", "cpu")
    assert not gate.confirm({"wall": [0.1] * 10, "cpu": [0.1, -0.1] * 5}, flag)
    assert gate.confirm({"wall": [0.1, -0.1] * 5, "cpu": [0.1] * 10}, flag)


def test_one_disturbed_chunk_does_not_move_a_block():
    assert sign_flip.typical([0.01, 0.012, 0.011, 3.0, 0.009]) == 0.011
    assert math.isnan(sign_flip.typical([]))
