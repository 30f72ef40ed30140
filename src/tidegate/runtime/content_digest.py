"""A digest of what is in a dataset, to find out whether a product that was made again has changed.

Two products with equal values and attributes have the same digest; their files differ all
the same, since they say when they were made.
"""

from __future__ import annotations

import hashlib
from typing import Any

NEVER_COMPARED = ("history", "code_version", "date_created")
"""Global attributes that say when and with which code a product was made."""


def content_digest(dataset: Any) -> str:
    """The digest of an ``xarray.Dataset``, 32 hexadecimal digits; encodings are not part of it."""
    digest = hashlib.sha256()
    attributes = {k: v for k, v in dataset.attrs.items() if k not in NEVER_COMPARED}
    digest.update(_text(attributes))
    for name in sorted(dataset.variables, key=str):
        variable = dataset.variables[name]
        values = variable.values
        head = [str(name), list(variable.dims), list(values.shape), str(values.dtype)]
        digest.update(_text({"head": head, **variable.attrs}))
        if values.dtype.kind in "OUSV":
            digest.update(repr(values.tolist()).encode("utf-8", "backslashreplace"))
        else:
            # Times have no buffer of their own; a copy is made only of what has gaps.
            flat = values.view("int64") if values.dtype.kind in "mM" else values
            digest.update(flat.data if flat.flags.c_contiguous else flat.tobytes())
    return digest.hexdigest()[:32]


def _text(attributes: Any) -> bytes:
    """Attributes in order, and NumPy's values as those of Python."""
    plain = sorted((str(name), _plain(value)) for name, value in attributes.items())
    return repr(plain).encode("utf-8", "backslashreplace")


def _plain(value: Any) -> str:
    return repr(value.tolist() if hasattr(value, "tolist") else value)
