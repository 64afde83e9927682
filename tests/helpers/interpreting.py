"""Triton's interpreter, for programs that try kernels without a GPU: import this before the kernels, with TRITON_INTERPRET=1 set."""

import triton.runtime.interpreter as interpreter

_patch = interpreter._patch_lang_tensor


def _with_index(tensor, scope):
    """numpy 2.5 makes no integer of an array of one element, which the interpreter (3.6) asks of the bounds of a loop."""
    _patch(tensor, scope)
    scope.set_attr(tensor, "__index__", lambda self: self.handle.data.item())


interpreter._patch_lang_tensor = _with_index
