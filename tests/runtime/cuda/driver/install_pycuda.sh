#!/usr/bin/env bash
# Build and install pycuda, which has no wheels, where the headers of CUDA are: install_pycuda.sh PYTHON
# It is for tests: linked with the simulated driver in the place of NVIDIA's, not optimised, without random numbers.
set -euo pipefail
cd "$(dirname "$0")/../../../.."
python=$1

if "$python" -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("pycuda") is None)'; then exit; fi
cuda=
for root in "${CUDA_HOME:-/usr/local/cuda}" "$(dirname "$(command -v nvcc || echo /bin/nvcc)")/.."; do
    if [ -z "$cuda" ] && [ -f "$root/include/cuda.h" ]; then cuda=$root; fi
done
if [ -z "$cuda" ] || ! command -v g++ >/dev/null; then
    echo "pycuda is not installed, for building it needs g++ and the headers of CUDA; tests that need it skip"
    exit
fi

echo "building pycuda with the headers in $cuda: a minute or two, once"
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
driver=$("$python" -m tests.runtime.cuda.driver.build "$home/driver")
cat >"$home/.aksetup-defaults.py" <<END
CUDA_ROOT = "$cuda"
CUDADRV_LIB_DIR = ["$driver"]
CUDA_ENABLE_CURAND = False
CXXFLAGS = ["-O0", "-g0", "-w"]
END
# A home of its own: for these settings, and so that no cache hands this build to others.
export PIP_CONFIG_FILE=${PIP_CONFIG_FILE:-${XDG_CONFIG_HOME:-$HOME/.config}/pip/pip.conf}
HOME=$home XDG_CACHE_HOME=$home "$python" -m pip --disable-pip-version-check install --quiet --no-deps --no-binary pycuda \
    --constraint constraints.txt pycuda
