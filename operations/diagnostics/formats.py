"""Format numbers of a data directory's files: whether a newer Starloop wrote one of them."""

from __future__ import annotations

from pathlib import Path

from operations.diagnostics.finding import Finding, fail, ok
from runtime.data_dir import newer_files


def format_finding(folder: Path) -> Finding:
    """Whether this build reads the format of every file."""
    newer = [
        f"{file.name} is of format {found} (read here: up to {file.format})" for file, found in newer_files(folder)
    ]
    if newer:
        return fail("formats", ", ".join(newer), "run the Starloop version that wrote them, or a later one")
    return ok("formats", "every file is of a format that this version reads")
