"""Load a model as a stranger would, predict the golden inputs, compare, measure. Prints JSON.

`python loadcheck.py --model-uri models:/translation/3 --golden golden.json`

The program imports nothing of genworks, so that every module the model uses must come from the model itself: what comes
from elsewhere is listed as `foreign`. `pickled` lists what was unpickled on the way: nothing should be.
"""

from __future__ import annotations

import argparse
import base64
import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

PACKAGES = ("components", "flows")
_PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()[:10]


def encode(value: Any) -> Any:
    """Records of text, numbers, bytes and arrays as JSON. Raises TypeError for anything else."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, bytes):
        return {"__bytes__": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {str(key): encode(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [encode(child) for child in value]
    if hasattr(value, "dtype") and hasattr(value, "tolist"):
        return value.tolist() if not value.shape else {"__array__": value.tolist(), "dtype": str(value.dtype)}
    raise TypeError(f"{type(value).__name__} is neither text, number, bytes nor array")


def decode(value: Any) -> Any:
    if isinstance(value, list):
        return [decode(child) for child in value]
    if isinstance(value, dict):
        if "__bytes__" in value:
            return base64.b64decode(value["__bytes__"])
        if "__array__" in value:
            import numpy

            return numpy.asarray(value["__array__"], dtype=value["dtype"])
        return {key: decode(child) for key, child in value.items()}
    return value


def difference(expected: Any, actual: Any, tolerance: float = 1e-3, where: str = "output") -> str | None:
    """What differs between two encoded values, None if nothing does.

    Floats may differ by `tolerance`, relative or absolute; pictures by one level of 255 on average (other processors round
    otherwise).
    """
    if _is_picture(expected) and _is_picture(actual):
        return _picture_difference(expected, actual, where)
    if _is_number(expected) and _is_number(actual):
        both_nan = math.isnan(expected) and math.isnan(actual)
        if both_nan or math.isclose(expected, actual, rel_tol=tolerance, abs_tol=tolerance):
            return None
    elif isinstance(expected, dict) and isinstance(actual, dict) and expected.keys() == actual.keys():
        found = (difference(expected[key], actual[key], tolerance, f"{where}.{key}") for key in expected)
        return next((text for text in found if text), None)
    elif isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        pairs = enumerate(zip(expected, actual, strict=True))
        found = (difference(one, other, tolerance, f"{where}[{n}]") for n, (one, other) in pairs)
        return next((text for text in found if text), None)
    elif expected == actual and isinstance(expected, bool) == isinstance(actual, bool):
        return None
    return f"{where} is {_short(actual)}, expected {_short(expected)}"


def _is_picture(value: Any) -> bool:
    return isinstance(value, dict) and str(value.get("__bytes__", "")).startswith(_PNG)


def _picture_difference(expected: dict[str, str], actual: dict[str, str], where: str) -> str | None:
    import io

    import numpy
    from PIL import Image

    one, other = (
        numpy.asarray(Image.open(io.BytesIO(decode(value)), formats=("PNG",)), float) for value in (expected, actual)
    )
    if one.shape != other.shape:
        return f"{where} is a picture of shape {other.shape}, expected {one.shape}"
    levels = float(abs(one - other).mean())
    return None if levels <= 1 else f"{where} is a picture {levels:.1f} levels of 255 away from the expected one"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else text[:200] + " …"


def check(model_uri: str, golden: dict[str, Any], repeats: int) -> dict[str, Any]:
    """Load, predict once to compare (and to warm up), then `repeats` times to measure.

    `latency_ms` is the fastest of these calls on the golden inputs, without the time that its threads stood in line for a
    processor: the model is judged, not what else runs beside it. `wall_ms` is what the clock said of it, `cpu_ms` what all
    its threads worked.
    """
    pickled: set[str] = set()
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    import mlflow
    import pandas

    sys.addaudithook(lambda event, args: pickled.add(f"{args[0]}.{args[1]}") if event == "pickle.find_class" else None)
    folder = Path(mlflow.artifacts.download_artifacts(model_uri)).resolve()
    started = time.perf_counter()
    # Of a plain path MLflow would decode `%41`; its warnings, of libraries that differ, nobody sees and take half a second.
    model = mlflow.pyfunc.load_model(folder.as_uri(), suppress_warnings=True)
    load_s = time.perf_counter() - started
    frame = pandas.DataFrame(decode(golden["inputs"]))
    differs = difference(golden["outputs"], encode(model.predict(frame)))
    fastest = min((_timed(lambda: model.predict(frame)) for _ in range(repeats)), key=lambda one: one["latency_ms"])
    return {
        "difference": differs,
        **fastest,
        "load_s": load_s,
        "memory_mb": _peak_mb(),
        "foreign": _foreign(folder),
        "pickled": sorted(pickled),
    }


def _timed(call: Any) -> dict[str, float]:
    waited, worked, started = _waited_ns(), time.process_time(), time.perf_counter()
    call()
    wall_ms, cpu_ms = 1000 * (time.perf_counter() - started), 1000 * (time.process_time() - worked)
    longest = max((now - waited.get(thread, 0) for thread, now in _waited_ns().items()), default=0)
    return {"latency_ms": max(wall_ms - longest / 1e6, 0.0), "wall_ms": wall_ms, "cpu_ms": cpu_ms}


def _waited_ns() -> dict[str, int]:
    """By thread, how long it has been ready to run without a processor (Linux; elsewhere nothing is known)."""
    found = {}
    for file in Path("/proc/self/task").glob("*/schedstat"):
        try:
            found[file.parent.name] = int(file.read_text().split()[1])
        except (OSError, IndexError, ValueError):  # a thread that has just ended
            continue
    return found


def _foreign(folder: Path) -> list[str]:
    """Modules of the project's packages that were not loaded from the model's folder."""
    found = []
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name.split(".")[0] in PACKAGES and file and not Path(file).resolve().is_relative_to(folder):
            found.append(name)
    return sorted(found)


def _peak_mb() -> float:
    """Peak resident memory of this process. `ru_maxrss` would do, were it not inherited from the parent through exec."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(text for text in status.read_text().splitlines() if text.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model-uri", required=True)
    parser.add_argument("--golden", type=Path, required=True, help="JSON file with `inputs` and `outputs`")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    answer = os.dup(1)  # libraries print; only the result may reach the caller's pipe
    os.dup2(2, 1)
    result = check(options.model_uri, json.loads(options.golden.read_text(encoding="utf-8")), options.repeats)
    os.write(answer, json.dumps(result).encode() + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
