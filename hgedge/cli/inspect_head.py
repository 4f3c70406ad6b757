"""What a bundle's manifest says, for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def head_rows(document: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """What the manifest says: subject and text."""
    model, spec, decode, keypoints = (document[name] for name in ("model", "input", "decode", "keypoints"))
    yield "bundle", document["bundle"]
    yield "model", f"{model['name']}: {_sized(model)}"
    yield "precision", f"{document['precision']}: {_in_int8(document)}"
    yield "backend", _backend(document)
    yield (
        "input",
        f"{'x'.join(map(str, spec['hw']))} {spec['color']} {spec['layout']}, batch {listed(document['batch'])}",
    )
    yield "", f"mean {listed(spec['mean'])}; std {listed(spec['std'])}"
    yield "keypoints", f"{keypoints['name']}: {listed(f'{i}:{name}' for i, name in enumerate(keypoints['names']))}"
    yield "skeleton", listed("-".join(map(str, edge)) for edge in keypoints["skeleton"]) or "none"
    step = "DARK" if decode["refinement"] == "dark" else f"shift {decode['shift']:g} of a cell"
    yield "decode", f"stride {decode['stride']:g}, {step}, {decode['convention']}"
    yield "calibration", _calibration(document["calibration"])
    yield "measured", _measured(document)
    yield "accuracy", _accuracy(document)
    yield "made by", f"hgedge {document['hgedge_version']}, digest {document['digest'][:12]}"


def _sized(model: Mapping[str, Any]) -> str:
    stacks = f"{model['num_stacks']} stack{'s' if model['num_stacks'] > 1 else ''}, " if model["num_stacks"] else ""
    return f"{stacks}{model['parameters'] / 1e6:.2f} M parameters, {model['gmacs']:.2f} GMAC a crop"


def _in_int8(document: Mapping[str, Any]) -> str:
    return f"{document['num_convs_int8']} of {document['num_convs']} convolutions in INT8"


def _backend(document: Mapping[str, Any]) -> str:
    backend, device = document["backend"], document["device"]
    if backend is None:
        return f"none: the portable half; make an engine with: hgedge build {document['bundle']}"
    features = f" with {listed(device['features'])}" if device["features"] else ""
    return f"{backend['name']} {backend['version']}, for {device['name']} ({device['architecture']}){features}"


def _calibration(info: Mapping[str, Any] | None) -> str:
    if info is None:
        return "none"
    float_groups = f", float: {listed(info['float_groups'])}" if info["float_groups"] else ""
    return f"{info['method']} of {info['images']} pictures, placement {info['placement']}{float_groups}"


def _measured(document: Mapping[str, Any]) -> str:
    found = document["agreement"]
    if document["measured"] and found is not None:
        return (
            f"keypoints on the golden inputs lie {found['mean_px']:.2f} px (mean), {found['p99_px']:.2f} px (p99) from "
            "FP32's: agreement with FP32, not accuracy"
        )
    if document["backend"] is None:
        return "no: there is no engine"
    return "no: the machine that built it cannot run it; the first load on one that can measures before it serves"


def _accuracy(document: Mapping[str, Any]) -> str:
    if not document["accuracy"]:
        return f"not known; measure it with: hgedge evaluate {document['bundle']} --data DIR"
    drop = document["drop"] or {}
    lost = {name: f" ({drop[name]:.1f} points below FP32)" for name in drop}
    return listed(f"{name} {value:.1f} %{lost.get(name, '')}" for name, value in document["accuracy"].items())


def listed(items: Iterable[Any]) -> str:
    """Items with commas between."""
    return ", ".join(map(str, items))
