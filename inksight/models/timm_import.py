"""Importing timm where torchvision's compiled part does not fit this build of torch.

PyPI's torchvision wheel is linked against CUDA. On a CPU build of torch its operators are not there and `import
torchvision`, which timm does, stops at "operator torchvision::nms does not exist". Declaring the missing operators
(without any implementation) lets the import pass: models and transforms work, box operators and image decoding do not.
Nothing here happens where the plain import works.
"""

from __future__ import annotations

import re
import sys
from functools import cache
from typing import Any


@cache
def import_timm() -> Any:
    """Return the timm module."""
    try:
        import timm
    except RuntimeError as error:
        _declare_missing_operators(error)
        import timm
    return timm


# Held for as long as the process lives: the operators vanish with their library.
_libraries: list[Any] = []


def _declare_missing_operators(error: RuntimeError) -> None:
    import torch

    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    _libraries.append(library)
    # nms, then qnms in torchvision 0.28; a later one may ask for more.
    for _ in range(20):
        missing = re.search(r"operator torchvision::(\w+) does not exist", str(error))
        if missing is None:
            raise error
        library.define(f"{missing[1]}() -> Tensor")  # type: ignore[no-untyped-call]
        # What was half imported would be taken as it is.
        for name in [name for name in sys.modules if name.split(".")[0] in ("torchvision", "timm")]:
            del sys.modules[name]
        try:
            import torchvision  # noqa: F401
        except RuntimeError as again:
            error = again
        else:
            return
    raise error
