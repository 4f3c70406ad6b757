"""Recipes and training configurations that lie."""

from __future__ import annotations

import pytest

BINARY = b"\x00\x01\xff\xfe"
RECIPES = {  # engines/*.toml
    'modl = "default"': "r.toml: unknown key 'modl'; did you mean 'model'?",
    '[build]\nprecision = "int8"': "r.toml: unknown key 'build'; known: backend, batch,",
    "precision = 8": "r.toml: 'precision' must be str, but is 8",
    'precision = "int4"': "r.toml: precision must be one of fp32, fp16, bf16, int8, but got 'int4'",
    'placement = "foo"': "r.toml: placement must be one of stream, conv",
    'backend = "opnvino"': "backend must be auto or one of openvino,",
    'model = "default"\nprecision = = "int8"': "r.toml cannot be read as TOML: Invalid value (at line 2, column 13)",
    'precision = "fp32"\nprecision = "int8"': "r.toml cannot be read as TOML: Cannot overwrite a value",
    'model = "r.toml"': "r.toml names another recipe as its model: r.toml",
    'model = "nowhere.pth"': "no such file: 'nowhere.pth'",
    'batch = "1"': "r.toml: 'batch' must be tuple[int, ...], but is '1'",
    "batch = [0]": "r.toml: batch must be positive sizes",
    "batch = [1.5]": "r.toml: 'batch' must be tuple[int, ...], but is",
    "input_hw = [0, 0]": "r.toml: input must be HEIGHTxWIDTH",
    "input_hw = [64]": "r.toml: 'input_hw' must be tuple[int, int]",
    "num_stacks = 0": "r.toml: num_stacks must be at least 1",
    "num_stacks = true": "r.toml: 'num_stacks' must be int",
    'force = "yes"': "r.toml: 'force' must be bool, but is 'yes'",
    "output = 3": "r.toml: 'output' must be Path, but is 3",
    "": "r.toml is empty; known: backend, batch,",
    "# a comment alone\n": "r.toml is empty",
    BINARY: "r.toml cannot be read as TOML: 'utf-8' codec can't decode",
}
CALIBRATIONS = {  # calibration/*.toml
    'datset = "lspet"': "r.toml: unknown key 'datset'; did you mean 'dataset'?",
    "images = 64": "r.toml: 'dataset' is missing",
    "dataset = 3": "r.toml: 'dataset' must be str, but is 3",
    'dataset = "lspet"\nimages = "many"': "r.toml: 'images' must be int, but is 'many'",
    'dataset = "lspet"\nimages = true': "r.toml: 'images' must be int, but is True",
    'dataset = "lspet': "r.toml cannot be read as TOML",
    'dataset = "lspet"': "r.toml takes pictures of the data set 'lspet'; say where it is: --data DIR",
    "": "r.toml is empty; known: dataset, images,",
    BINARY: "r.toml cannot be read as TOML",
}
HEAD = 'data = "nowhere"\noutput = "out"\n'
TRAININGS = {
    "": "r.toml is empty; known: accumulate, augmentation,",
    BINARY: "r.toml cannot be read as TOML",
    'output = "out"': "r.toml: 'data' is missing",
    HEAD + "epoch = 3": "r.toml: unknown key 'epoch'; did you mean 'epochs'?",
    HEAD + "[model]\nnum_stack = 3": "r.toml: unknown key 'num_stack'; did you mean 'num_stacks'?",
    HEAD + "[augmentation]\nrotation = 3.0": "r.toml: unknown key 'rotation'; did you mean 'rotation_deg'?",
    HEAD + 'epochs = "3"': "r.toml: 'epochs' must be int, but is '3'",
    HEAD + 'learning_rate = "x"': "r.toml: 'learning_rate' must be float, but is 'x'",
    HEAD + "mean = [0.5]": "r.toml: rgb needs 3 values of mean and std, got (0.5,)",
    HEAD + "epochs = 0": "r.toml: epochs must be positive, but got 0",
    HEAD + "learning_rate = nan": "r.toml: learning_rate must be positive, but got nan",
    HEAD + "learning_rate = inf": "r.toml: learning_rate must be positive, but got inf",
    HEAD + "ema_decay = 2": "r.toml: ema_decay must lie in 0 to 1, but got 2.0",
    HEAD + "warmup = -1": "r.toml: warmup must lie in 0 to 1, but got -1.0",
    HEAD + "weight_decay = -1": "r.toml: weight_decay must lie in 0 to 1",
    HEAD + "seed = -1": "r.toml: seed must not be negative, but got -1",
    HEAD + "std = [0, 1, 1]": "r.toml: mean must be finite and std positive",
    HEAD + "mean = [nan, 0, 0]": "r.toml: mean must be finite and std positive",
    HEAD + 'precision = "int8"': "r.toml: precision must be bf16 or fp32, but got 'int8'",
    HEAD + "phases = []": "r.toml: the starts of phases must rise from 0, but are []",
    HEAD + "[[phases]]\nstart = 0.5": "r.toml: the starts of phases must rise from 0, but are [0.5]",
    HEAD + "[[phases]]\ninput_size = 100": "r.toml: input sizes must be multiples of 64, but got 100",
    HEAD + "[[phases]]\npeak_weight = nan": "r.toml: weights of a phase must not be negative",
    HEAD + "[augmentation]\nscale = [2, 1]": "r.toml: scale must be two factors above 0, the smaller first",
    HEAD + "[model]\nnum_stacks = 0": "r.toml: num_stacks must be a positive integer, but got 0",
}
ROWS = [
    *((("build", "r.toml"), content, message) for content, message in RECIPES.items()),
    *((("build", "TINY", "--calibration", "r.toml"), content, message) for content, message in CALIBRATIONS.items()),
    *((("train", "r.toml"), content, message) for content, message in TRAININGS.items()),
]


@pytest.mark.parametrize(("command", "content", "message"), ROWS, ids=[f"{row[0][0]}-{row[1]!r}" for row in ROWS])
def test_refused(refused, tmp_path, command, content, message):
    (tmp_path / "r.toml").write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(command, 2, message)


@pytest.mark.parametrize("command", [("build",), ("train",), ("build", "TINY", "--calibration")])
@pytest.mark.parametrize("name", ["nowhere.toml", "folder.toml"])
def test_no_file(refused, tmp_path, command, name):
    (tmp_path / "folder.toml").mkdir()
    refused((*command, name), 2, f"{name} cannot be read as TOML: ")
