"""Whether what a Jetson installs can be had for it: asked of a resolver and the package index, on any machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

JETPACKS = {"6": ("3.10", "aarch64-manylinux_2_35"), "7": ("3.12", "aarch64-manylinux_2_39")}  # Ubuntu 22.04 and 24.04
ON_JETPACK = ("build", "tensorrt")  # beside JetPack's own OpenCV and TensorRT
ON_ARM = (*ON_JETPACK, "onnxruntime", "openvino", "video")  # of which every part can be had, if all together can
SOURCES_ALONE = "pycuda"  # no wheels anywhere: built with JetPack's CUDA
UNREACHABLE = re.compile("Failed to fetch|error sending request|dns error|Connection|timed out|offline")
TIMEOUT_S = 120


def requirements(root: Path, *extras: str) -> list[str]:
    """What hgedge and some of its extras ask for, extras of hgedge's own unfolded."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    own = [match[1].split(",") for line in asked if (match := re.fullmatch(r"hgedge\[(.+)\]", line))]
    others = [line for line in asked if not line.startswith("hgedge[")]
    return others + [line for extras in own for line in requirements(root, *extras) if line not in others]


@pytest.mark.parametrize("extras", [(), *[(extra,) for extra in ON_JETPACK]])
def test_what_a_jetson_installs_leaves_jetpacks_opencv_alone(root: Path, extras: tuple[str, ...]) -> None:
    assert not [line for line in requirements(root, *extras) if "opencv" in line]
    assert [line for line in requirements(root, "openvino") if "opencv" in line]  # unfolded


def test_the_page_names_these_sets(root: Path) -> None:
    page = (root / "engines" / "JETSON.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `hgedge\[(\w+)\]`", page, re.MULTILINE)) == set(ON_ARM)
    assert f"pip install 'hgedge[{','.join(ON_JETPACK)}]'" in page


@pytest.fixture(scope="module")
def resolved(root: Path) -> dict[str, str]:
    """JetPack -> what all sets together resolve to; a line a package, "# via" those that ask for it, but for hgedge."""
    uv = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    if uv is None:
        pytest.skip("needs uv: pip install uv")

    def resolve(python: str, platform: str) -> str:
        command = [
            uv,
            "pip",
            "compile",
            "-",
            "--no-config",
            "--no-python-downloads",
            "--no-header",
            "--annotation-style",
            "line",
        ]
        target = ["--python-version", python, "--python-platform", platform]
        wheels = ["--only-binary", ":all:", "--no-binary", SOURCES_ALONE]
        done = subprocess.run(
            [*command, *target, *wheels], input="\n".join(requirements(root, *ON_ARM)), capture_output=True, text=True,
            timeout=TIMEOUT_S, env={**os.environ, "UV_HTTP_TIMEOUT": "10", "UV_HTTP_RETRIES": "1"},
        )  # fmt: skip
        if done.returncode and UNREACHABLE.search(done.stderr):
            pytest.skip("no package index can be reached")
        assert done.returncode == 0, done.stderr
        return done.stdout

    with ThreadPoolExecutor() as pool:
        return dict(zip(JETPACKS, pool.map(lambda target: resolve(*target), JETPACKS.values())))


@pytest.mark.slow
@pytest.mark.parametrize("jetpack", JETPACKS)
def test_the_sets_resolve_for_aarch64(resolved: dict[str, str], jetpack: str) -> None:
    found = {match[1]: match[0] for match in re.finditer(r"(?m)^([\w-]+)==.*$", resolved[jetpack])}
    assert {"numpy", "onnx", "onnxruntime", "opencv-python", "openvino", "pycuda"} <= set(found)
    assert " via " not in found["opencv-python"], "nothing but [video] may bring an OpenCV"
    assert found["numpy"].startswith("numpy==1."), "JetPack's OpenCV is built for NumPy 1"
    assert not {"tensorrt", "torch"} & set(found), "JetPack brings TensorRT; nothing that runs there needs torch"
