"""Files that lie beside the project and not in it; tests that need them skip where there are none."""

from __future__ import annotations

from pathlib import Path


def shared_folder(name: str) -> Path:
    """The folder `shared/NAME` above the tests; one that does not exist where there is none."""
    places = [above / "shared" / name for above in Path(__file__).resolve().parents]
    return next((place for place in places if place.is_dir()), places[0])
