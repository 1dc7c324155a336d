"""Numbers, cells and machines as people read them: units, multiples, names. Nothing is computed here."""

import math
from collections.abc import Iterable, Mapping

from mbbench.reporting.stats import Estimate

TROUBLES = {
    "oom": "out of memory",
    "diverged": "diverged",
    "budget_exhausted": "ended by its seconds",
    "timeout": "timed out",
    "killed": "killed",
    "crash": "crashed",
    "error": "failed with an error",
    "unavailable": "not available here",
    "not_applicable": "batch larger than the data",
}
"""Every status but "ok", in words."""


def seconds(value: float) -> str:
    """Return a time in the unit that leaves 1 to 999 before the point: "1.23 ms"."""
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
        if value * factor >= 1:
            return f"{_three(value * factor)} {unit}"
    return f"{_three(value * 1e9)} ns"


def rate(value: float) -> str:
    """Return samples per second, shortened: "6.65 million samples/s"."""
    for factor, name in ((1e9, " billion"), (1e6, " million")):
        if value >= factor:
            return f"{_three(value / factor)}{name} samples/s"
    return f"{_three(value)} samples/s"


def count(value: float) -> str:
    """Return a whole number with separators: "8,192"."""
    return f"{round(value):,}"


def size(value: float) -> str:
    """Return bytes in the binary unit that leaves 1 to 999 before the point, three digits at most: "312 MiB", "1.5 GiB"."""
    for power, unit in enumerate(("B", "KiB", "MiB", "GiB")):
        if abs(value) < 999.5 * 1024**power:
            return f"{_shortest(value / 1024**power)} {unit}"
    return f"{_shortest(value / 1024**4)} TiB"


def si(value: float, unit: str) -> str:
    """Return an amount with three digits and a decimal prefix: "58.3 Gflop"."""
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= 0.9995 * factor:
            return f"{_shortest(value / factor)} {prefix}{unit}"
    return f"{_shortest(value)} {unit}"


def power(value: float) -> str:
    """Return a small part with one digit and its power of ten: "2e-7"."""
    digit, _, exponent = f"{value:.0e}".partition("e")
    return f"{digit}e{int(exponent)}" if value else "0"


def multiple(value: float) -> str:
    """Return a factor with two digits below 100: "1.3", "38", "1,240"."""
    return f"{value:.2f}" if value < 1.095 else f"{value:.1f}" if value < 9.95 else f"{round(value):,}"


def times(ratio: Estimate, between: str = " ({})") -> str:
    """Return a ratio of times with its interval, put in as `between` says: "1.3 times as long (1.2 to 1.4)"."""
    ends = interval(ratio)
    return f"{multiple(ratio.value)} times as long" + (between.format(ends) if ends else "")


def interval(ratio: Estimate) -> str:
    """Return the interval of a ratio, "" where there is none or where it is narrower than the digits shown."""
    if ratio.low is None or ratio.high is None or multiple(ratio.low) == multiple(ratio.high):
        return ""
    return f"{multiple(ratio.low)} to {multiple(ratio.high)}"


def more_time(ratio: Estimate, other: str) -> str:
    """Return a ratio of times as what it adds: "12 % more time than with batch 64 (8 to 16 %)", for `other` "with batch 64".

    As a multiple where it or its interval reaches twice or half as long, "3.1 times as long as with batch 64 (3.0 to 3.2)".
    """
    if max(ratio.value, ratio.high or 0) >= 2 or min(ratio.value, ratio.low or ratio.value) <= 0.5:
        ends = interval(ratio)
        return f"{multiple(ratio.value)} times as long as {other}" + (f" ({ends})" if ends else "")
    said = f"{_added(ratio.value)} time than {other}" if _added(ratio.value) != _added(1.0) else f"as long as {other}"
    if ratio.low is None or ratio.high is None or _added(ratio.low) == _added(ratio.high):
        return said
    if ratio.low < 1 <= ratio.high:
        return f"{said} ({_added(ratio.low)} to {_added(ratio.high)})"
    near, far = sorted((abs(ratio.low - 1), abs(ratio.high - 1)))
    return f"{said} ({percent(near).removesuffix(' %')} to {percent(far)})"


def loss(value: float) -> str:
    """Return a loss with three digits."""
    return f"{value:.3g}" if 1e-3 <= abs(value) < 1e3 or value == 0 else f"{value:.2e}"


def percent(part: float) -> str:
    """Return a part as a percentage: two digits below 10 %."""
    return f"{part * 100:.2g} %" if part < 0.1 else f"{part * 100:.0f} %"


def listed(words: Iterable[str], last: str = "and") -> str:
    """Join words: "a", "a and b", "a, b and c"."""
    *others, final = list(words)
    return f"{', '.join(others)} {last} {final}" if others else final


def plural(number: int, word: str) -> str:
    """Return a number with its word: "1 seed", "3 seeds"."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def epochs(number: float) -> str:
    """Return a number of epochs with three digits or more: "1 epoch", "25.6 epochs", "2,000 epochs"."""
    word = f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
    return f"{word} epoch" if word == "1" else f"{word} epochs"


def batch(size: int | None, micro: int | None = None) -> str:
    """Return a batch size in words: "batch 32", "full batch", "full batch in micro-batches of 64"."""
    whole = "full batch" if size is None else f"batch {size:,}"
    return whole if micro is None else f"{whole} in micro-batches of {micro:,}"


def first_up(text: str) -> str:
    """Return the text with its first letter in upper case, the rest untouched."""
    return text[:1].upper() + text[1:]


def machine(identity: Mapping[str, str | int | None]) -> str:
    """Return processor, memory, accelerator and torch of an environment's identity, as far as they are known."""
    parts = [str(identity["processor"]) if identity.get("processor") else "unknown processor"]
    if identity.get("cores"):
        parts[0] += f" ({plural(int(identity['cores'] or 0), 'core')})"
    if identity.get("memory_gib"):
        parts.append(f"{identity['memory_gib']} GiB")
    if identity.get("accelerator"):
        parts.append(str(identity.get("accelerator_name") or identity["accelerator"]))
    if identity.get("torch"):
        parts.append(f"torch {identity['torch']}")
    return ", ".join(parts)


def _added(ratio: float) -> str:
    if abs(ratio - 1) < 0.0005:  # no clock tells 0.05 % apart
        return "0 % more"
    return f"{percent(abs(ratio - 1))} {'less' if ratio < 1 else 'more'}"


def _shortest(value: float) -> str:
    """Return three digits without zeros at the end of a fraction."""
    digits = _three(value) if value else "0"
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


def _three(value: float) -> str:
    """Return three digits, and no exponent."""
    if value >= 99.95:
        return f"{value:,.0f}"
    digits = 2 - max(0, math.floor(math.log10(value))) if value > 0 else 0
    return f"{value:.{digits}f}"
