"""Triton's interpreter, to try kernels without a GPU."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

without_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="no Triton here"
)


def run(program: str, *arguments: str) -> None:
    """Run a program in a process whose kernels are interpreted: Triton decides at definition."""
    paths = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, program, *arguments]
    subprocess.run(command, env=environment, check=True, timeout=300)


def mend() -> None:
    """Let the interpreter (3.6) take an array of one element as a loop bound, despite numpy 2.5."""
    from triton.runtime import interpreter

    patch = interpreter._patch_lang_tensor

    def with_index(tensor, scope):
        patch(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: self.handle.data.item())

    interpreter._patch_lang_tensor = with_index
