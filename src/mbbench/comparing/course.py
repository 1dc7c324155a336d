"""A comparison under way: what was found so far, and how blocks are run until there are enough or the time is over.

Easy to get wrong: a benchmark that ends its child ends that block for all; it is lost, and the block runs again without it.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from mbbench.comparing.children import Block, Side, Visit, Zygote
from mbbench.comparing.trees import Trees
from mbbench.reporting.compared import Comparison

BLOCKS_A_ZYGOTE = 4
"""After which everything is imported anew: what one process has in its memory is luck too."""

Say = Callable[[str], None]


@dataclass
class Course:
    """What a comparison is about and how far it is.

    Attributes:
        found: what it has found.
        trees: what is compared.
        arguments: for pytest.
        until: when it has to end, by `time.monotonic`.
        say: told what happens.
        threads: of torch in each child.
        seed: of the order of sides and turns.
        block_s: seconds that a block takes of each benchmark, None before the first one.
    """

    found: Comparison
    trees: Trees
    arguments: Sequence[str]
    until: float
    say: Say
    threads: int = 1
    seed: int = 0
    block_s: float | None = None
    _longest_s: float = field(default=0.0, init=False)

    @property
    def sides(self) -> list[Side]:
        """Return base, head and control."""
        base, head = self.trees.base, self.trees.head
        return [Side("base", base, head), Side("head", head, base), Side("control", base, head)]

    def _zygote(self) -> Zygote:
        return Zygote(self.arguments, self.threads, self.trees.base.parent)  # which goes, whatever happens

    def collect(self) -> Block:
        """Return what both sides collect."""
        with self._zygote() as zygote:
            return zygote.collect(self.sides[:2])

    def blocks(
        self,
        count: int,
        tests: Sequence[str],
        asked: str,
        visit: Callable[[int], Visit],
        control: Sequence[str] = (),
        reserve_s: float = 0.0,
    ) -> list[Block]:
        """Run so many blocks in fresh zygotes, fewer where the time is over.

        Args:
            count: of blocks in which every benchmark that is alive was reached.
            tests: benchmarks of base and head.
            asked: what the children are asked for: see `parked`.
            visit: makes what is done in each benchmark, from a number that differs from block to block.
            control: benchmarks that a second child of the base runs too.
            reserve_s: seconds that are not to be touched.
        """
        made, into = 0, list[Block]()
        while made < count:
            with self._zygote() as zygote:
                for _ in range(min(BLOCKS_A_ZYGOTE, count - made)):
                    alive = [test for test in tests if test not in self.found.lost]
                    if not alive:
                        return into
                    if time.monotonic() + self._longest_s + reserve_s > self.until:
                        self.found.unfinished = "the time was over"
                        return into
                    keep = {"base": alive, "head": alive, "control": [test for test in control if test in alive]}
                    block = self._block(zygote, keep, asked, visit)
                    made += len(block.found) + len(block.lost) >= len(alive)  # a crash ends a block early
                    into.append(block)
        return into

    def _block(self, zygote: Zygote, keep: Mapping[str, Sequence[str]], asked: str, visit: Callable[[int], Visit]) -> Block:
        number = self.seed + self.found.blocks
        began = time.monotonic()
        sides = [side for side in self.sides if keep[side.name]]
        block = zygote.run(sides, keep, asked, visit(number), number)
        took_s = time.monotonic() - began
        self.found.lost |= block.lost
        self.found.own = self.found.own or block.own
        self.found.blocks += 1
        if asked == "time":
            self._longest_s = max(self._longest_s, took_s)
            self.block_s = took_s / len(keep["head"])
        self.say(f"block {self.found.blocks} ({asked}): {len(block.found)} benchmarks in {took_s:.1f} s")
        return block
