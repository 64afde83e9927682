#!/usr/bin/env bash
# Try crossview with other Pythons and other versions of what it needs.
#
#   benchmarks/matrix.sh                       every environment whose Python is on PATH
#   benchmarks/matrix.sh lowest 3.13           some of them
#
# The environments go to build/matrix: `lowest` has the oldest versions that pyproject.toml admits,
# and 3.11, 3.12 and 3.13 the newest of everything. One of them takes some GB of disk; on Linux torch
# comes with CUDA unless UV_TORCH_BACKEND=cpu. Each runs the tests of the readers, losses, methods,
# and of training and predicting through the command, for a few minutes. The exit code is 1 if any
# failed.
set -uo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-.venv/bin/python}
export UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=${UV_LINK_MODE:-hardlink}
place=build/matrix
lowest_python=3.11

# What the tests need beside crossview itself.
tools='pytest pytest-xdist pytest-randomly hypothesis monai medpy>=0.5.2 SimpleITK scikit-image packaging setuptools'

tests='tests/core/test_text.py tests/core/test_parse.py tests/data/io tests/data/sources tests/methods
tests/networks tests/kernels tests/inference tests/training/test_resume.py
tests/cli/test_train.py tests/cli/test_predict.py tests/cli/test_dicom.py'

uv() { "$PYTHON" -m uv --quiet "$@"; }

# Make an environment with the newest versions, or with those that a file of pins names.
install() {
  local name=$1 python=$2 pins=()
  test "$name" != lowest || pins=(--constraint "$place/lowest-pins.txt")
  rm -rf "${place:?}/$name" && uv venv --python "python$python" "$place/$name" &&
    uv pip install --python "$place/$name" --resolution highest "${pins[@]}" $tools '.[formats,dicom]'
}

# Pin every direct dependency at the oldest version that pyproject.toml admits.
pin_the_lowest() {
  uv pip compile pyproject.toml --extra formats --extra dicom --resolution lowest-direct \
    --python-version "$lowest_python" --no-annotate --no-header --output-file "$place/lowest-pins.txt"
}

versions() {
  "$place/$1/bin/python" -c '
import platform
from importlib.metadata import version
names = "torch numpy scipy h5py nibabel pillow tifffile typer pydantic pydicom highdicom pynrrd"
print("python", platform.python_version(), *(f"{name} {version(name)}" for name in names.split()))'
}

try() {
  local name=$1 python=$2
  command -v "python$python" >/dev/null && "python$python" -c '' 2>/dev/null ||
    { echo "$name: no python$python on PATH"; return 0; }
  test "$name" != lowest || pin_the_lowest || { echo "$name: no versions agree"; return 1; }
  install "$name" "$python" || { echo "$name: cannot be installed"; return 1; }
  OMP_NUM_THREADS=1 "$place/$name/bin/python" -m pytest -p no:cacheprovider -n "${JOBS:-2}" \
    --tb=short $tests >"$place/$name.txt" 2>&1
  local code=$?
  echo "$name: $(tail -1 "$place/$name.txt"); $(versions "$name")"
  return $code
}

failed=0
mkdir -p "$place"
for name in "${@:-lowest 3.11 3.12 3.13}"; do
  for each in $name; do
    case $each in
      lowest) try lowest "$lowest_python" ;;
      3.*) try "$each" "$each" ;;
      *) echo "$each: not an environment (lowest, 3.11, 3.12, 3.13)"; false ;;
    esac || failed=1
  done
done
exit $failed
