"""Modules that are really broken, really imported."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hgedge.doctor.attempts import Attempt, try_import, try_imports

MODULES = {
    "hg_good": "print('noise'); __version__ = '1.2'",
    "hg_broken": "raise ImportError('libhg.so.1: cannot open shared object file: No such file or directory')",
    "hg_lacking": "import hg_not_there",
    "hg_silent": "raise RuntimeError",
    "hg_leaving": "import sys; sys.exit(3)",
    "hg_gone": "import os; os._exit(7)",
    "hg_crashing": "import ctypes; ctypes.string_at(0)",
    "hg_hanging": "import time; time.sleep(60)",
}
EXPECTED = {
    "hg_good": Attempt(version="1.2"),
    "hg_broken": Attempt(error="libhg.so.1: cannot open shared object file: No such file or directory"),
    "hg_lacking": Attempt(error="No module named 'hg_not_there'", missing="hg_not_there"),
    "hg_silent": Attempt(error="RuntimeError"),
    "hg_leaving": Attempt(error="3"),
    "hg_gone": Attempt(error="its import ended Python with exit code 7"),
    "hg_crashing": Attempt(error="its import crashes Python (SIGSEGV)"),
    "hg_absent": Attempt(error="No module named 'hg_absent'", missing="hg_absent"),
}


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in MODULES.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)


def test_each_fault_is_told_and_none_reaches_this_process(modules) -> None:
    assert try_imports(EXPECTED) == EXPECTED
    assert not set(MODULES) & set(sys.modules)


def test_a_hanging_import_is_ended(modules) -> None:
    assert try_import("hg_hanging", timeout_s=0.5) == Attempt(error="its import did not end within 0.5 s")


def test_a_module_that_is_blocked_here_is_blocked_there(modules, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hg_good", None)
    tried = try_import("hg_good")
    assert tried.missing == "hg_good" and "None in sys.modules" in tried.error


def test_what_real_libraries_say_of_themselves() -> None:
    cv2 = pytest.importorskip("cv2", reason="needs OpenCV: pip install 'hgedge[video]'")
    tried = try_import("cv2")
    assert tried.version == cv2.__version__
    assert tried.facts["hog"] is hasattr(cv2, "HOGDescriptor")
    built = cv2.getBuildInformation()
    line = next(line for line in built.splitlines() if line.strip().startswith("GStreamer:"))
    assert tried.facts["gstreamer"] == line.split()[1]
