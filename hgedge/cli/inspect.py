"""`hgedge inspect`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hgedge import backends, records
from hgedge import bundle as bundles
from hgedge.cli import inspect_profile, options
from hgedge.cli.inspect_head import head_rows, listed
from hgedge.cli.terminal import Terminal
from hgedge.errors import HgedgeError

GRAPH, SOURCE = "model.onnx", "source.onnx"
CONTENTS = {
    GRAPH: "graph that the engine is built from",
    SOURCE: "graph in FP32",
    "calibration.json": "activation ranges",
    "golden.npz": "a few inputs, and heatmaps of them",
}
ENGINE_INT8 = ("i8", "u8")
NOT_TOLD = "?"  # a type that the engine does not tell
ENGINE_SUFFIX = "/WithoutBiases"  # of a convolution that OpenVINO parts from its bias
NAMED = 3  # a type that so few convolutions run in is worth their names
SHORT = {"BatchNormalization": "BatchNorm", "InstanceNormalization": "InstanceNorm"}
GAP = (0, 2, 0, 0)
PROFILE_HEAD = ("bundle", "model", "precision", "backend")  # what a profile is shown below

Layers = Annotated[
    bool,
    typer.Option(
        "--layers",
        help="Show every layer of the graph too, and the groups of them that INT8 can leave float; with --profile all "
        "of that.",
    ),
]
Profile = Annotated[
    bool, typer.Option("--profile", help="Time each layer as the engine runs it: slowest first, by stack.")
]
Runs = Annotated[int, typer.Option("--runs", metavar="N", min=30, help="Of --profile: samples of each layer.")]


def inspect(
    terminal: Terminal, bundle: options.Bundle, layers: Layers = False, profile: Profile = False, runs: Runs = 50
) -> None:
    """Say what a bundle is, after checking that it is whole: network, precision, files, graph and engine."""
    document = bundles.inspect(bundle)
    timed = inspect_profile.profile_document(terminal, bundle, runs) if profile else {}
    document |= graph_document(bundle)
    operators = {layer["name"]: layer["op"] for layer in document["layers"] or ()}
    document |= engine_document(bundle, operators) | timed
    terminal.result(document, lambda console: show(console, document, layers))


def graph_document(folder: Path) -> dict[str, Any]:
    """What the graph of a bundle is made of: `graph`, `layers`, `groups`; all null, and `graph_reason`, without onnx.

    Raises:
        ExportError: It is no ONNX file.
    """
    try:
        from hgedge.export.statistics import read_summary
        from hgedge.quantization.groups import read_groups
    except ModuleNotFoundError as error:
        reason = f"this needs {error.name}, which is not installed; install it with: pip install 'hgedge[build]'"
        return {"graph": None, "layers": None, "groups": None, "graph_reason": reason}
    graph, layers = read_summary(folder / GRAPH)
    return {
        "graph": records.to_mapping(graph),
        "layers": [records.to_mapping(layer) for layer in layers],
        "groups": read_groups(folder / SOURCE),
        "graph_reason": None,
    }


def engine_document(folder: Path, operators: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What the engine of a bundle executes: `engine`; null, and `engine_reason`, where it cannot tell or be loaded.

    Args:
        folder: The bundle.
        operators: ONNX node -> operator of its graph; None: not known.
    """
    from hgedge.runtime.pipeline import check_fits_here

    try:
        manifest = bundles.read_manifest(folder)
        backend = check_fits_here(folder, manifest)
        session = backends.sessions(backend).load(folder, manifest)
        try:
            engine = _executed(session, operators or {})
        finally:
            session.close()
    except HgedgeError as error:
        return {"engine": None, "engine_reason": str(error)}
    reason = None if engine else f"{backend} does not tell what type a layer runs in"
    return {"engine": engine, "engine_reason": reason}


def _executed(session: Any, operators: Mapping[str, str]) -> dict[str, Any] | None:
    """What a session says of its engine, of NVIDIA's the kernels too; None where it says nothing."""
    if hasattr(session, "kernels"):
        from hgedge.backends.tensorrt.inspector import summary

        return summary(session.kernels(), operators)
    if not hasattr(session, "layer_precisions"):
        return None
    found = {name.removesuffix(ENGINE_SUFFIX): kind for name, kind in session.layer_precisions().items()}
    return {"convolutions": dict(Counter(found.values()).most_common()), "layers": found}


def show(console: Console, document: Mapping[str, Any], layers: bool = False) -> None:
    """Print a bundle for people: what it is, its files, graph and engine, if asked for its layers; or its profile."""
    profile = document.get("profile")
    head = Table(show_header=False, box=None, padding=GAP)
    head.add_column()
    head.add_column(overflow="fold")
    for name, text in head_rows(document):
        if profile is None or name in PROFILE_HEAD:
            head.add_row(f"[bold]{name}[/bold]", escape(text))
    if profile is not None:
        console.print(head, "", sep="\n")
        return inspect_profile.show(console, profile, layers)
    console.print(head, "", _files(document["bytes"]), "", sep="\n")
    if document["graph"] is None:
        _say(console, "graph", f"not read: {document['graph_reason']}")
    else:
        operators = ", ".join(f"{name} {count}" for name, count in document["graph"]["operators"].items())
        _say(console, "graph", f"opset {document['graph']['opset']}: {operators}")
        console.print(_shares(document["graph"]["precisions"]))
    console.print()
    _say(console, "engine", engine_text(document))
    kernels = (document["engine"] or {}).get("kernels")
    if kernels is not None:
        _say(console, "kernels", kernels_text(document["engine"]))
    if layers and kernels is not None:
        console.print("", _kernels(kernels), sep="\n")
    if layers and document["layers"] is not None:
        console.print("", _layers(document["layers"]), "", _groups(document), sep="\n")


def engine_text(document: Mapping[str, Any]) -> str:
    """What the engine executes, and where that is not what the graph asks for."""
    if document["engine"] is None:
        return f"not asked: {document['engine_reason']}"
    found: Mapping[str, str] = document["engine"]["layers"]
    counts = []
    for kind, count in document["engine"]["convolutions"].items():
        names = listed(name for name, its in found.items() if its == kind)
        counts.append(f"{count} in {kind}" + (f" ({names})" if count <= NAMED else ""))
    asked = [layer["name"] for layer in document["layers"] or () if layer["precision"] == "int8"]
    refused = [name for name in asked if found.get(name, NOT_TOLD) not in (*ENGINE_INT8, NOT_TOLD)]
    otherwise = f"; the graph asks for INT8, but it does not in: {listed(refused)}" if refused else ""
    return f"of its convolutions it runs {listed(counts)}{otherwise}"


def kernels_text(engine: Mapping[str, Any]) -> str:
    """How many kernels an engine of NVIDIA's executes, and what was fused into them."""
    text = f"{len(engine['kernels'])} a batch, {engine['reformats']} of them reformats"
    if engine["additions"] is None:
        return text
    return f"{text}; {engine['fused_additions']} of {engine['additions']} additions are done by a convolution's kernel"


def _files(sizes: Mapping[str, int]) -> Table:
    table = _table("file", ">KiB", "")
    for name, size in sorted(sizes.items(), key=lambda item: -item[1]):
        table.add_row(escape(name), f"{size / 1024:.1f}", CONTENTS.get(name, "engine"))
    table.add_row("all", f"{sum(sizes.values()) / 1024:.1f}", "")
    return table


def _shares(precisions: Mapping[str, Any]) -> Table:
    table = _table("computes in", ">convolutions", ">GMAC", ">%", ">parameters", ">KiB", "activations")
    total = sum(share["gmacs"] for share in precisions.values()) or 1.0
    for precision, share in precisions.items():
        if share["convolutions"] or share["parameters"]:
            table.add_row(
                precision.upper(),
                str(share["convolutions"]),
                f"{share['gmacs']:.4f}",
                f"{100 * share['gmacs'] / total:.1f}",
                str(share["parameters"]),
                f"{share['weight_bytes'] / 1024:.1f}",
                listed(f"{count} {kind}" for kind, count in share["activations"].items()),
            )
    return table


def _layers(layers: Iterable[Mapping[str, Any]]) -> Table:
    table = _table("layer", "op", "output", "type", ">MMAC", ">KiB", "scale")
    for layer in layers:
        table.add_row(
            escape(layer["name"]),
            SHORT.get(layer["op"], layer["op"]),
            "x".join(map(str, layer["shape"])),
            " ".join(filter(None, (layer["precision"].upper(), layer["activation"]))),
            f"{layer['macs'] / 1e6:.2f}" if layer["macs"] else "",
            f"{layer['weight_bytes'] / 1024:.1f}" if layer["weight_bytes"] else "",
            " ".join(f"{scale:.3g}" for scale in layer["scales"]),
        )
    return table


def _kernels(kernels: Iterable[Mapping[str, Any]]) -> Table:
    table = _table("kernel", "type", "reads", "writes", "does")
    for kernel in kernels:
        types = (" ".join(kernel[side]) for side in ("reads", "writes"))
        table.add_row(escape(kernel["kind"]), kernel["precision"], *types, escape(listed(kernel["nodes"])))
    return table


def _groups(document: Mapping[str, Any]) -> Table:
    table = _table("group", "type", "convolutions")
    precisions = {layer["name"]: layer["precision"].upper() for layer in document["layers"]}
    for group, members in document["groups"].items():
        kinds = dict.fromkeys(precisions.get(name, "?") for name in members)
        table.add_row(escape(group), listed(kinds), escape(listed(name.removeprefix(f"{group}.") for name in members)))
    return table


def _table(*columns: str) -> Table:
    """A table without lines; ">" marks a column of numbers."""
    table = Table(box=None, padding=GAP)
    for column in columns:
        is_number = column.startswith(">")
        table.add_column(
            column.removeprefix(">"), justify="right" if is_number else "left", no_wrap=is_number, overflow="fold"
        )
    return table


def _say(console: Console, subject: str, text: str) -> None:
    console.print(f"[bold]{subject}[/bold]: {escape(text)}")
