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
    subprocess.run(command, env=environment, check=True, timeout=900)


def mend() -> None:
    """Make up for three faults of the interpreter, which a compiler does not have."""
    from triton.runtime import interpreter

    patch, builder = interpreter._patch_lang_tensor, interpreter.InterpreterBuilder

    def with_index(tensor, *scopes):
        """Take an array of one element as a loop bound, despite numpy 2.5 (Triton 3.6)."""
        patch(tensor, *scopes)
        for scope in scopes:  # Triton 3.2 has none, and needs none with numpy 2.0
            scope.set_attr(tensor, "__index__", lambda self: self.handle.data.item())

    def splat(self, *given):
        """Keep a comparison a mask where a block is made of it, not an int32 (Triton 3.9)."""
        made = plain(self, *given)
        value = next(each for each in given if isinstance(each, interpreter.TensorHandle))
        if value.data.dtype == bool:
            made.data = made.data.astype(bool)
        return made

    def scanned(self, given):
        """Return the one result of a scan alone, not in a tuple (Triton 3.2)."""
        found = in_tuple(self, given)
        return found[0] if isinstance(found, tuple) and len(found) == 1 else found

    in_tuple, interpreter.ScanOps.apply_impl = interpreter.ScanOps.apply_impl, scanned
    plain = builder.create_splat
    interpreter._patch_lang_tensor, builder.create_splat = with_index, splat
