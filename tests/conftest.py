"""What many tests need: the repository, shared data where there is any, a tiny network, the program."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"
SHIM = ROOT / "tests" / "runtime" / "cuda" / "shim"
SHIM_FLAGS = ("-std=c++17", "-O2", "-ffp-contract=off", "-fPIC")
CHROMIUM_FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
CHROMIUM_FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"]

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # FFmpeg reads it once, at a process's first video
signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts with & ignores it, and so would children

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Photographs and labels that may not be copied into the repository."""
    if not SHARED_DATA.is_dir():
        pytest.skip("no ../shared/data beside the repository")
    return SHARED_DATA


@pytest.fixture(scope="session")
def program_environment() -> dict[str, str]:
    """Environment in which this repository's hgedge is found from any folder, without a screen."""
    hidden = ("DISPLAY", "WAYLAND_DISPLAY")
    environment = {key: value for key, value in os.environ.items() if key not in hidden}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return environment


@pytest.fixture
def hgedge(tmp_path: Path, program_environment: dict[str, str]) -> Run:
    """Run the real program in a temporary folder, as `hgedge("build", "--help")`."""

    def run(*arguments: str | Path, **options) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "hgedge", *map(str, arguments)]
        settings = {"cwd": tmp_path, "env": program_environment, "capture_output": True, "text": True, **options}
        return subprocess.run(command, **settings)

    return run


@pytest.fixture(scope="session")
def lively():
    """lively(num_stacks=2, ...): a network of seeded weights whose BatchNorm statistics are not 0 and 1."""

    def network(**sizes):
        import torch

        from hgedge.models.hourglass import HourglassConfig, HourglassNet

        torch.manual_seed(7)
        net = HourglassNet(HourglassConfig(**sizes)).eval()
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.normal_(module.running_mean, 0, 0.2)
                torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
        return net

    return network


@pytest.fixture(scope="session")
def tiny_checkpoint(lively, tmp_path_factory):
    """A two-stack network of 64-pixel input and 14 keypoints."""
    from hgedge.checkpoints.save import save_checkpoint
    from hgedge.datasets.keypoint_sets import LSP14
    from hgedge.spec import InputSpec

    net = lively(num_stacks=2, num_features=32, depth=4, num_keypoints=14)
    spec = InputSpec((64, 64), "rgb", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    path = tmp_path_factory.mktemp("checkpoints") / "tiny.safetensors"
    save_checkpoint(path, net, name="tiny", input=spec, keypoints=LSP14, half=False)
    return path


@pytest.fixture(scope="session")
def picture_folder(shared_data, tmp_path_factory):
    """A folder of 40 real photographs, for the length of the session."""
    folder = tmp_path_factory.mktemp("pictures")
    for path in sorted((shared_data / "lspet" / "images").glob("*.jpg"))[:40]:
        shutil.copyfile(path, folder / path.name)
    return folder


@pytest.fixture(scope="session")
def lspet_crops(shared_data):
    """lspet_crops(count, hw): (count, H, W, 3) uint8 crops of real photographs."""
    import cv2

    def crops(count, hw):
        files = sorted((shared_data / "lspet" / "images").glob("*.jpg"))[:count]
        return np.stack([cv2.resize(cv2.imread(str(file)), hw[::-1]) for file in files])

    return crops


@pytest.fixture(scope="session")
def host_compiler(root) -> Callable[..., None]:
    """host_compiler("faults.cpp", program, *flags): compile a file of the shim."""
    compiler = next(filter(None, map(shutil.which, filter(None, (os.environ.get("CXX"), "g++", "clang++")))), None)
    if compiler is None:
        pytest.skip("no C++ compiler (g++ or clang++) to compile the kernels for the CPU with")
    kernels = root / "hgedge" / "runtime" / "cuda"

    def compile(source: str, out: Path, *flags: str) -> None:
        command = [compiler, *SHIM_FLAGS, *flags, f"-I{kernels}", "-o", out, SHIM / source]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    return compile


@pytest.fixture(scope="session")
def host_kernels(host_compiler, tmp_path_factory) -> Path:
    """A shared library with launch_NAME(grid, block, packed arguments) for every kernel."""
    library = tmp_path_factory.mktemp("kernels") / "libkernels.so"
    host_compiler("kernels_on_host.cpp", library, "-shared")
    return library


@pytest.fixture(scope="session")
def simulated_driver(tmp_path_factory) -> Path:
    """The folder of a CUDA driver for CPUs, for LD_LIBRARY_PATH, with which the real pycuda works."""
    from tests.runtime.cuda.driver.build import NoCompiler, build

    if importlib.util.find_spec("pycuda") is None:
        pytest.skip("pycuda is not installed (it has no wheels: make test builds it where nvcc is)")
    try:
        return build(tmp_path_factory.mktemp("driver"))
    except NoCompiler as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A real browser, of 1280 x 800."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium: pip install selenium")
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("needs Chromium and its driver: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in (*CHROMIUM_FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}", "--window-size=1280,800"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield chrome
    chrome.quit()
