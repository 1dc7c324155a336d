"""A comparison under way: what was found so far, and how blocks are run until there are enough or the time is over.

Easy to get wrong: a benchmark that ends its child ends that block for all; it is lost, and the block runs again without it.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

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
        arguments: for pytest, the folder of the benchmarks first.
        until: when it has to end, by `time.monotonic`.
        say: told what happens.
        threads: of torch in each child.
        seed: of the order of sides and turns.
        block_s: seconds that a block of timing takes of each benchmark, 0 before the first one.
    """

    found: Comparison
    trees: Trees
    arguments: Sequence[str]
    until: float
    say: Say
    threads: int = 1
    seed: int = 0
    block_s: float = 0.0

    @property
    def sides(self) -> list[Side]:
        """Return base, head and control."""
        base, head = self.trees.base, self.trees.head
        return [Side("base", base, head), Side("head", head, base), Side("control", base, head)]

    def collect(self) -> Block:
        """Return what both sides collect."""
        with self._zygote() as zygote:
            return zygote.collect(self.sides[:2])

    def blocks(
        self,
        into: list[Block],
        count: int,
        tests: Sequence[str],
        asked: str,
        visit: Callable[[int], Visit],
        controlled: int | None = None,
        reserve_s: float = 0.0,
    ) -> None:
        """Run so many blocks in fresh zygotes, fewer where the time is over.

        Args:
            into: where each is put as it ends, so that nothing is lost when this is interrupted.
            count: of blocks in which every benchmark that is alive was reached.
            tests: benchmarks of base and head.
            asked: what the children are asked for: see `parked`.
            visit: makes what is done in each benchmark, from a number that differs from block to block.
            controlled: how many of those alive, from the first, a second child of the base runs too; None: all.
            reserve_s: seconds that are not to be touched.
        """
        made = 0
        while made < count:
            with self._zygote() as zygote:
                for _ in range(min(BLOCKS_A_ZYGOTE, count - made)):
                    alive = [test for test in tests if test not in self.found.lost]
                    if not alive:
                        return
                    expected_s = self.block_s * len(alive) if asked == "time" else 0.0
                    if time.monotonic() + expected_s + reserve_s > self.until:
                        self.found.unfinished = "the time was over"
                        return
                    block = self._block(zygote, alive, alive[:controlled], asked, visit)
                    made += block.ended
                    into.append(block)

    def _zygote(self) -> Zygote:
        return Zygote(self.arguments, self.threads, self.trees.base.parent)  # which goes, whatever happens

    def _block(
        self, zygote: Zygote, tests: Sequence[str], control: Sequence[str], asked: str, visit: Callable[[int], Visit]
    ) -> Block:
        number, found = self.seed + self.found.blocks, self.found
        began = time.monotonic()
        keep = {"base": tests, "head": tests, "control": control}
        block = zygote.run([side for side in self.sides if keep[side.name]], keep, asked, visit(number), number)
        took_s = time.monotonic() - began
        found.lost |= block.lost
        if block.ended:
            gone = [test for test in tests if test not in block.found and test not in block.lost]
            found.lost |= dict.fromkeys(gone, "it was not collected again: is its name another one in each run?")
        for test, why in block.failed.items():
            notice = f"{test} failed on both sides once its calls were over ({why})"
            found.notices += [] if notice in found.notices else [notice]
        found.own = found.own or block.own
        found.blocks += 1
        if asked == "time":
            self.block_s = max(self.block_s, took_s / len(tests))
        self.say(f"block {found.blocks} ({asked}): {len(block.found)} benchmarks in {took_s:.1f} s")
        return block
