"""Weights that are no numbers are found before they are registered."""

from __future__ import annotations

import json
from pathlib import Path

from components.engines.base.errors import StageError, UsageError

# safetensors' type -> (bytes a value, the exponent's bits: all of them set mean NaN or infinity)
_EXPONENTS = {"F16": (2, 0x7C00), "BF16": (2, 0x7F80), "F32": (4, 0x7F800000), "F64": (8, 0x7FF0000000000000)}
_CHUNK = 1 << 24  # bytes looked at at a time


def refuse_unusable_weights(folder: Path) -> None:
    """Raise StageError if a safetensors file below `folder` holds NaN or infinity, UsageError if one cannot be read."""
    for path in sorted(folder.rglob("*.safetensors")):
        bad = not_finite(path)
        if bad:
            raise StageError(
                f"The model's weights are no numbers: {', '.join(bad[:3])}{' …' if len(bad) > 3 else ''} hold NaN or infinity",
                where=str(path),
                do="train again with a lower learning rate or clipped gradients; a model like this answers nothing",
            )


def not_finite(path: Path) -> list[str]:
    """Names of the tensors of a safetensors file that hold NaN or infinity."""
    import numpy

    size = path.stat().st_size
    with path.open("rb") as file:
        try:
            length = int.from_bytes(file.read(8), "little")
            tensors = json.loads(file.read(min(length, size)))
            del tensors["__metadata__"]
        except KeyError:
            pass
        except ValueError as error:
            raise UsageError(f"The weights cannot be read: {error}", where=str(path), do="make them again") from None
        bad = []
        for name, facts in sorted(tensors.items()):
            first, last = (8 + length + offset for offset in facts["data_offsets"])
            if last > size:
                raise UsageError(f"The weights are cut short at {name}", where=str(path), do="make them again")
            if facts["dtype"] not in _EXPONENTS:
                continue  # whole numbers, and float8, whose kinds differ in what they can hold
            width, exponent = _EXPONENTS[facts["dtype"]]
            file.seek(first)
            for start in range(first, last, _CHUNK):
                bits = numpy.frombuffer(file.read(min(_CHUNK, last - start)), f"<u{width}")
                if ((bits & bits.dtype.type(exponent)) == exponent).any():
                    bad.append(name)
                    break
        return bad
