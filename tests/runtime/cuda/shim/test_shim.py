"""The shim itself: it runs what is right, and shows what is wrong with kernels that a GPU may run by luck."""

import signal
import subprocess

import numpy as np
import pytest

MIRRORED = np.arange(256).reshape(4, 64)[:, ::-1]
CHAINED = np.repeat(np.arange(4)[:, None], 64, axis=1)
LAST_OF_WARP = np.tile(np.repeat([31, 63], 32), (4, 1))


@pytest.fixture(scope="module")
def faults(host_compiler, tmp_path_factory):
    program = tmp_path_factory.mktemp("shim") / "faults"
    host_compiler("faults.cpp", program)
    return lambda name: subprocess.run([program, name], capture_output=True, text=True)


def written(done):
    assert done.returncode == 0, done.stderr
    return np.array(done.stdout.split(), int).reshape(4, 64)


def test_right_kernels_run(faults):
    np.testing.assert_array_equal(written(faults("right")), MIRRORED)
    np.testing.assert_array_equal(written(faults("shuffles")), LAST_OF_WARP)


@pytest.mark.parametrize("name, lucky", [("barrier_left_out", MIRRORED), ("block_needs_the_one_before", CHAINED)])
def test_what_depends_on_an_order_is_wrong(faults, name, lucky):
    assert (written(faults(name)) != lucky).any()


@pytest.mark.parametrize(
    "name, told",
    [
        ("barrier_skipped", "waits for a thread that has returned"),
        ("barrier_undeclared", "a barrier or shuffle in a kernel that is declared to have none"),
        ("shuffle_skipped", "waits for a thread that waits for it"),
        ("shuffle_outside_its_mask", "a shuffle between lanes of which its mask leaves one out"),
    ],
)
def test_what_would_hang_ends_with_a_message(faults, name, told):
    done = faults(name)
    assert done.returncode == -signal.SIGABRT and told in done.stderr
