"""Rewrites of the float graph: the same function in fewer, simpler nodes. Exact but for rounding.

A rule is a module with three verbs:

    pattern(graph) -> matches           where it might apply; matches of one rule do not overlap
    check(graph, match) -> str | None   why it must not apply there, or None
    rewrite(graph, match) -> None       apply it, in place; what falls dead is removed afterwards

A new rule is one file and one line in `RULES`. (`keep_stacks` is no rule: it chooses what the network computes.)
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import onnx

from hgedge.export.rewrites import collapse_reinjection, fold_batchnorm, lift_constants, name_tensors
from hgedge.export.rewrites.graph import Graph

log = logging.getLogger(__name__)


class Rule(Protocol):
    """What a module must offer to be a rule."""

    __name__: str

    def pattern(self, graph: Graph) -> Iterable[Any]:
        """Where the rule might apply."""
        ...

    def check(self, graph: Graph, match: Any) -> str | None:
        """Why the rule must not apply to a match, naming its node; None where it may."""
        ...

    def rewrite(self, graph: Graph, match: Any) -> None:
        """Apply the rule to a match that passed the check."""
        ...


RULES: tuple[Rule, ...] = (lift_constants, collapse_reinjection, fold_batchnorm, name_tensors)


@dataclass(frozen=True)
class Outcome:
    """What one rule did: how often it applied, and why it skipped the other matches."""

    rule: str
    count: int
    skipped: tuple[str, ...]


def rewrite(model: onnx.ModelProto, rules: Sequence[Rule] = RULES) -> tuple[Outcome, ...]:
    """Apply rules in order, in place; log what each one did and skipped.

    Args:
        model: A float graph without nested graphs.
        rules: Modules with the three verbs.

    Returns:
        One outcome a rule.

    Raises:
        ExportError: The graph holds nested graphs.
    """
    return tuple(_apply(rule, Graph(model)) for rule in rules)


def _apply(rule: Rule, graph: Graph) -> Outcome:
    name = rule.__name__.rpartition(".")[2]
    count, skipped = 0, []
    for match in list(rule.pattern(graph)):
        reason = rule.check(graph, match)
        if reason is None:
            rule.rewrite(graph, match)
            count += 1
        else:
            skipped.append(reason)
            log.debug("%s skipped %s", name, reason)
    graph.remove_dead()
    log.debug("%s: applied %d times, skipped %d", name, count, len(skipped))
    return Outcome(name, count, tuple(skipped))
