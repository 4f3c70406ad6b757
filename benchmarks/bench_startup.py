"""How long users wait: the build of hg2, the import, the first keypoints from the shell."""

import subprocess
import sys
import time

import numpy as np


def seconds(*command):
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def test_build_of_hg2_with_128_pictures(hg2_int8, save):
    save("hg2-int8-build", {"seconds": hg2_int8.seconds})
    assert hg2_int8.seconds["total"] <= 60


def test_import(save):
    pairs = [(seconds(sys.executable, "-c", "import hgedge"), seconds(sys.executable, "-c", "pass")) for _ in range(9)]
    added = float(np.median([imported - bare for imported, bare in pairs]))
    save("import", {"seconds_over_bare_interpreter": round(added, 4)})
    assert added <= 0.15


def test_first_keypoints_from_the_shell(hg2_int8, lspet, tmp_path, save):
    photo = lspet / "images" / "im00003.jpg"
    command = ("run", "--source", str(photo), "--engine", str(hg2_int8.bundle), "--jsonl", str(tmp_path / "out.jsonl"))
    taken = [seconds(sys.executable, "-m", "hgedge", *command, "--no-window") for _ in range(5)]
    save("first-keypoints", {"seconds": [round(value, 3) for value in taken]})
    assert np.median(taken) <= 2.5
