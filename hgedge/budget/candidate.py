"""What may be built: a precision, and for INT8 where it is put and which groups stay float."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hgedge.errors import HgedgeError
from hgedge.spec import Manifest

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class Candidate:
    """One way to build a network's engine; `placement` and `float_groups` mean something for "int8" alone."""

    precision: str = "int8"
    placement: str = "stream"
    float_groups: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What tables and notebooks call it."""
        if self.precision != "int8":
            return self.precision
        return f"int8 {self.placement}" + (f" without {', '.join(self.float_groups)}" if self.float_groups else "")


FP32 = Candidate("fp32", "")


@dataclass(frozen=True)
class Subject:
    """The network that engines are built of, and how.

    Attributes:
        graph: Its float graph.
        manifest: Of an FP32 engine of it: input, keypoints, decode and batch sizes.
        backend: What builds and runs engines.
        render: The graph of a candidate as the backend takes it.
        asked: What was asked for; its float groups stay float in every INT8 candidate.
        placements: That INT8 may have; the first is the one asked for.
        checkpoint: PyTorch weights, for the backend that runs them.
    """

    graph: onnx.ModelProto
    manifest: Manifest
    backend: str
    render: Callable[[Candidate], onnx.ModelProto]
    asked: Candidate = Candidate()
    placements: tuple[str, ...] = ("stream", "conv")
    checkpoint: Any = None

    def full(self, placement: str) -> Candidate:
        """All in INT8 that may be."""
        return Candidate("int8", placement, self.asked.float_groups)

    def groups(self) -> dict[str, tuple[str, ...]]:
        """The groups that may be INT8: name -> its convolutions, in the order of the graph."""
        from hgedge.quantization.groups import groups

        return {name: convs for name, convs in groups(self.graph).items() if name not in self.asked.float_groups}

    def keeping_float(self, placement: str, names: set[str]) -> Candidate:
        """INT8 but for these groups, and those that stay float in any case."""
        kept = tuple(name for name in self.groups() if name in names)
        return Candidate("int8", placement, self.asked.float_groups + kept)


class BudgetExceeded(HgedgeError):
    """No engine was shown to lose so little.

    Attributes:
        outcome: What was found, with all that was tried, as plain data.
    """

    exit_code = 1

    def __init__(self, message: str, outcome: dict[str, Any]) -> None:
        super().__init__(message)
        self.outcome = outcome
