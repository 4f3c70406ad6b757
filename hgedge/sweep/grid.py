"""What a sweep measures: stacks x input sizes x precisions x placements."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

FACTORS = (2 / 3, 5 / 6, 1, 7 / 6)  # of the model's own input, height and width


@dataclass(frozen=True)
class Candidate:
    """One way to deploy a network.

    Attributes:
        num_stacks: That are kept.
        input_hw: Height and width of the input in pixels.
        precision: Of the engine.
        placement: Of INT8, "stream" or "conv"; None otherwise.
    """

    num_stacks: int
    input_hw: tuple[int, int]
    precision: str
    placement: str | None = None

    @property
    def name(self) -> str:
        """What logs, notes and pictures call it."""
        stacks = "1 stack" if self.num_stacks == 1 else f"{self.num_stacks} stacks"
        return " ".join(filter(None, (stacks, size_text(self.input_hw), self.precision, self.placement)))


def size_text(hw: tuple[int, int]) -> str:
    """HEIGHTxWIDTH."""
    return f"{hw[0]}x{hw[1]}"


def sizes_around(own_hw: tuple[int, int], multiple: int) -> tuple[tuple[int, int], ...]:
    """Input sizes about a model's own, ascending: `FACTORS` of it, to the nearest multiple that the network takes.

    Args:
        own_hw: Height and width that the model was trained for.
        multiple: That heights and widths must be of.
    """
    scaled = ([multiple * max(1, int(factor * side / multiple + 0.5)) for side in own_hw] for factor in FACTORS)
    return tuple(sorted({(height, width) for height, width in scaled} | {own_hw}))


def candidates(
    stacks: tuple[int, ...],
    sizes: tuple[tuple[int, int], ...],
    precisions: tuple[str, ...],
    placements: tuple[str, ...],
) -> list[Candidate]:
    """All of a grid; size by size, and there from the most stacks on, whose INT8 ranges serve fewer."""
    kinds = [(p, q) for p in precisions for q in (placements if p == "int8" else (None,))]
    ordered = itertools.product(dict.fromkeys(sizes), sorted(set(stacks), reverse=True), dict.fromkeys(kinds))
    return [Candidate(count, size, *kind) for size, count, kind in ordered]
