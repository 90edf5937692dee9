"""Versions of the libraries that code imports."""

from __future__ import annotations

import importlib.metadata
from functools import cache

# Import names whose distribution is called otherwise and which our code imports.
_DISTRIBUTIONS = {
    "yaml": "PyYAML",
    "PIL": "pillow",
    "sklearn": "scikit-learn",
    "faiss": "faiss-cpu",
    "cv2": "opencv-python",
}


@cache
def version_of(library: str) -> str | None:
    """The installed version of what provides this import name, None where nothing does."""
    for distribution in (_DISTRIBUTIONS.get(library, library), library.replace("_", "-")):
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    owners = importlib.metadata.packages_distributions().get(library)  # slow, so only for unusual names
    return importlib.metadata.version(owners[0]) if owners else None
