"""`hgedge export`."""

from __future__ import annotations

from hgedge import records
from hgedge.cli import options
from hgedge.cli.terminal import Terminal


def export(
    terminal: Terminal,
    output: options.OnnxFile,
    model: options.Checkpoint = None,
    num_stacks: options.NumStacks = None,
) -> None:
    """Write a model's FP32 graph as ONNX.

    Input `image` (N, C, H, W) float32, normalised; output `heatmaps` (N, K, h, w) float32 of the last stack.
    """
    from hgedge import checkpoints
    from hgedge import export as exporting

    checkpoint = checkpoints.resolve(model)
    stacks = num_stacks or checkpoint.net.config.num_stacks
    graph = exporting.onnx_from_network(checkpoint.net, checkpoint.input, stacks)
    exporting.write_onnx(graph, output)
    size = output.stat().st_size
    document = {
        "onnx": str(output),
        "model": checkpoint.name,
        "num_stacks": stacks,
        "input": records.to_mapping(checkpoint.input),
        "bytes": size,
    }
    line = f"{output}: {checkpoint.name}, stacks: {stacks}, {size / 1e6:.1f} MB"
    terminal.result(document, lambda console: console.print(line, soft_wrap=True, markup=False))
