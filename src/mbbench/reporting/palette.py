"""The colours of page and figures: drawn in the light colour, which the page replaces by a variable that has a dark one too.

Easy to get wrong: each light colour stands for one name, so none may appear twice; and a colour never tells apart what a
marker or a dash does not tell apart as well.
"""

from collections.abc import Sequence

INK = "#1b1f24"
MUTED = "#57606b"
GRID = "#dfe4ea"
GOOD = "#12703a"
BAD = "#b3261e"
PAPER = "#ffffff"
RAMP = ("#0d0887", "#4c02a1", "#7e03a8", "#a92395", "#cc4778", "#dc5f50", "#c9700f", "#8f7a00")
"""For batch sizes, from small to large."""
_RAMP_DARK = ("#8f9bff", "#a98bff", "#c77dff", "#e26fd0", "#f2749f", "#f88d7a", "#fba95a", "#f4d35e")
HUES = ("#0b63b5", "#b0400b", "#2c7a68", "#7a4fa3", "#8a6d00")
"""For loaders."""
_HUES_DARK = ("#64b1ff", "#ff9a62", "#5cc9b0", "#c9a3f0", "#e0c04a")

VARIABLES = {
    PAPER: ("bg", "#0d1117"),
    INK: ("fg", "#e6edf3"),
    MUTED: ("mut", "#9aa4b0"),
    GRID: ("grid", "#262d36"),
    GOOD: ("ok", "#4ac26b"),
    BAD: ("bad", "#ff7b72"),
    **{light: (f"b{i}", dark) for i, (light, dark) in enumerate(zip(RAMP, _RAMP_DARK, strict=True))},
    **{light: (f"h{i}", dark) for i, (light, dark) in enumerate(zip(HUES, _HUES_DARK, strict=True))},
}
"""Light colour: name of the CSS variable, dark colour."""

LOADER_ORDER = ("slice", "dataloader", "gather", "dataloader-batched", "stream")
MARKERS = ("o", "s", "^", "D", "v", "P", "h")
DASHES: tuple[tuple[float, ...] | str, ...] = ("", (4, 1.5), (1, 1.2), (5, 1.2, 1, 1.2), (5, 1.2, 1, 1.2, 1, 1.2))
FULL_DASH = (3, 1.3)
MICRO_MARKERS = ("p", "<", ">", "H")
"""For batches in micro-batches, from small to large: unlike those of batches in one piece."""
MICRO_DASH = (1, 2.4)


def ramp(number: int) -> list[str]:
    """Return a colour for each of `number` batch sizes in order; beyond eight, neighbours share one and differ in marker."""
    last = len(RAMP) - 1
    return [RAMP[round(i * last / (number - 1))] if number > 1 else RAMP[0] for i in range(number)]


def loader_index(loader: str, loaders: Sequence[str]) -> int:
    """Return the place of a loader's colour, marker and dash: fixed for the known ones, so that reports look alike."""
    if loader in LOADER_ORDER:
        return LOADER_ORDER.index(loader)
    return (len(LOADER_ORDER) + list(loaders).index(loader)) % len(HUES)


def css() -> str:
    """Return the variables as CSS: light, and dark where the reader prefers or has chosen it; paper is always light."""
    light = "".join(f"--{name}:{colour};" for colour, (name, _) in VARIABLES.items())
    dark = "".join(f"--{name}:{colour};" for name, colour in VARIABLES.values())
    preferred = f"@media screen and (prefers-color-scheme:dark){{:root:not([data-theme=light]){{{dark}}}}}"
    return f":root{{{light}}}{preferred}@media screen{{:root[data-theme=dark]{{{dark}}}}}"
