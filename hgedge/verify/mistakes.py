"""The mistakes that can be named, what they mean and what to do about them."""

from __future__ import annotations

from hgedge.verify.report import Mistake

AGAIN = "build it again from its model: hgedge build MODEL --force"
INPUT = f"make --color, --mean and --std those that the network was trained with, and {AGAIN}"
RUNTIME = "the fault lies in this machine's cropping or decoding, not in the bundle: reinstall hgedge and OpenCV"
MISTAKES = {
    "color-swapped": ("red and blue are exchanged: one side takes RGB, the other BGR", INPUT),
    "mean-missing": ("one side subtracts a mean, the other does not", INPUT),
    "std-missing": ("one side divides by a standard deviation, the other does not", INPUT),
    "scale-missing": ("one side divides pixels by 255, the other does not", INPUT),
    "normalised-twice": ("one side normalises what is normalised already: the graph and the engine both do", INPUT),
    "other-normalisation": ("the two sides normalise with another mean or standard deviation", INPUT),
    "half-pixel": ("the two sides lie half a pixel or half a cell apart: pixel centres are at integers", AGAIN),
    "padding": (
        "they differ outside of the frame alone, which is black: zeros, not repeated or mirrored pixels",
        AGAIN,
    ),
    "flip-order": ("left and right keypoints are exchanged", f"put names, flip_indices and heatmaps in order; {AGAIN}"),
    "wrong-stack": ("the heatmaps are an earlier stack's, not the last one's", AGAIN),
    "saturated-int8": (
        "INT8 ranges are too small: too many values lie at their limits",
        "calibrate with pictures like those that it will see: hgedge build MODEL --calibration FOLDER --force",
    ),
    "quarter-shift": ("the shift towards the higher neighbour is not the manifest's", AGAIN),
    "wrong-refinement": ("the step from a peak's cell is not the manifest's: quarter and dark are mixed up", AGAIN),
    "not-as-measured": (
        "the engine that was measured is not the one that runs: its heatmaps are not those in golden.npz",
        f"do not trust the measured figures; {AGAIN}",
    ),
    "not-finite": ("the engine gives heatmaps that are not finite", "build it with --precision fp32 or bf16"),
    "unknown": ("they part, and no known mistake explains it: it may be another network or another graph", AGAIN),
}


def mistake(name: str, where: str, before: float, after: float | None = None, more: str = "") -> Mistake:
    """A mistake with its words; `more` is added to what is wrong."""
    text, advice = MISTAKES[name]
    return Mistake(name, where, f"{text}{more}", RUNTIME if where.startswith("this machine") else advice, before, after)
