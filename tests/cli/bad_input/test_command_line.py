"""Commands that cannot be meant."""

from __future__ import annotations

import pytest

BUILD = ("build", "TINY", "--precision", "fp32")
RUN = ("run", "--no-window", "--engine", "BUNDLE")
SIZES = "--batch must be sizes with commas between, such as 1,2,4, but got "
ROWS = [
    ((*BUILD, "--precison", "int8"), 2, "No such option: --precison (Possible options: --json, --precision)"),
    (("rnu",), 2, "No such command 'rnu'. Did you mean 'run'?; see: hgedge --help"),
    (("build", "a", "b"), 2, "Got unexpected extra argument"),
    ((*BUILD, "--batch", "0"), 2, "batch must be positive sizes such as 1,2,4, at most 1024, but got (0,)"),
    ((*BUILD, "--batch", "a"), 2, f"{SIZES}'a'"),
    ((*BUILD, "--batch", "1,,2"), 2, f"{SIZES}'1,,2'"),
    ((*BUILD, "--batch", ""), 2, f"{SIZES}''"),
    ((*BUILD, "--batch", "1.5"), 2, f"{SIZES}'1.5'"),
    ((*BUILD, "--input", "100x100"), 2, "--input must be multiples of 64, but got (100, 100)"),
    ((*BUILD, "--input", "0x0"), 2, "input must be HEIGHTxWIDTH in pixels, but got (0, 0)"),
    ((*BUILD, "--input", "64"), 2, "--input must be HEIGHTxWIDTH in pixels, such as 256x192, but got '64'"),
    ((*BUILD, "--input", "64x64x64"), 2, "--input must be HEIGHTxWIDTH"),
    ((*BUILD, "--input", "axb"), 2, "--input must be HEIGHTxWIDTH"),
    ((*BUILD, "--num-stacks", "99"), 2, "tiny has 2 stacks, but --num-stacks asks for 99"),
    ((*BUILD, "--num-stacks", "0"), 2, "Invalid value for '--num-stacks'"),
    ((*BUILD, "--num-stacks", "x"), 2, "Invalid value for '--num-stacks'"),
    ((*BUILD, "--calibration-images", "0"), 2, "Invalid value for '--calibration-images'"),
    ((*BUILD, "--placement", "x"), 2, "placement must be one of stream, conv, but got 'x'"),
    ((*BUILD, "--refinement", "darker"), 2, "refinement must be one of quarter, dark, but got 'darker'"),
    ((*BUILD, "--output", "/dev/null/x"), 2, "cannot write to /dev/null/x: Not a directory; choose another --output"),
    (("build", "TINY", "--precision", "int7"), 2, "precision must be one of fp32, fp16, bf16, int8"),
    (("build", "TINY", "--backend", "openvion"), 2, "backend must be auto or one of"),
    (("export", "TINY", "-o", "no/folder.onnx"), 2, "cannot write no/folder.onnx"),
    (("export", "TINY", "-o", "a.onnx", "--num-stacks", "99"), 2, "num_stacks must be from 1 to 2"),
    (RUN, 2, "give one of --camera N and --source PATH_OR_URL"),
    ((*RUN, "--source", "a", "--camera", "0"), 2, "give one of --camera N and --source PATH_OR_URL"),
    ((*RUN, "--source", "a", "--soruce", "b"), 2, "No such option: --soruce (Possible options: --source)"),
    ((*RUN, "--source", "a", "--limit-frames", "0"), 2, "Invalid value for '--limit-frames'"),
    ((*RUN, "--camera", "x"), 2, "a camera is named by a number from 0, but got x"),
    ((*RUN, "--camera", "-1"), 2, "a camera is named by a number from 0, but got -1"),
    ((*RUN, "--camera", "7"), 3, "camera 7"),
    ((*RUN, "--camera", "csi:0", "--camera-size", "641x480"), 2, "must have even sizes, but got 641x480"),
    ((*RUN, "--camera", "0", "--camera-size", "0x480"), 2, "--camera-size must be WIDTHxHEIGHT"),
    ((*RUN, "--camera", "0", "--camera-size", "640"), 2, "--camera-size must be WIDTHxHEIGHT"),
    ((*RUN, "--camera", "0", "--camera-turn", "45"), 2, "a camera can be turned by 0, 90, 180, 270 degrees"),
    ((*RUN, "--source", "a", "--camera-fps", "30"), 2, "--camera-fps is for --camera"),
    (
        (*RUN, "--source", "ASTRONAUT", "--people", "hgo"),
        2,
        "people are found by whole, hog, onnx:PATH or boxes:FILE, but got 'hgo'",
    ),
    (("evaluate", "BUNDLE", "--data", "nowhere"), 2, "no such data folder: nowhere"),
    (("evaluate", "BUNDLE", "--data", "."), 2, ". holds no data set that hgedge knows"),
    (("evaluate", "BUNDLE", "--data", ".", "--limit", "0"), 2, "Invalid value for '--limit'"),
]


@pytest.mark.parametrize(("words", "code", "message"), ROWS, ids=[" ".join(row[0]) for row in ROWS])
def test_refused(refused, words, code, message):
    refused(words, code, message)


@pytest.mark.parametrize("row", [0, 9, -5])
def test_a_process_of_its_own_ends_the_same(refused, process, row):
    words, code, message = ROWS[row]
    refused(words, code, message, run=process)
