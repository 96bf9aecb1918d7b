"""Hatch's hook: records in the package which commit it was made from, for `starloop --version`."""

from __future__ import annotations

import runpy
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class RecordCommit(BuildHookInterface[Any]):
    """Adds commit.txt to wheels and source archives, but where it is there already: in a source archive, or an image's build."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatch before each build; an editable installation asks git when it is asked."""
        if version == "editable":
            return
        module = runpy.run_path(str(Path(self.root) / "starloop" / "version.py"))
        name = module["COMMIT_FILE"]
        if (Path(self.root) / "starloop" / name).exists():
            return
        commit = module["git_commit"](Path(self.root))
        self._folder = tempfile.TemporaryDirectory()
        path = Path(self._folder.name) / name
        path.write_text(f"{commit}\n", encoding="utf-8")
        build_data["force_include"][str(path)] = f"starloop/{name}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Called by hatch after each build."""
        if hasattr(self, "_folder"):
            self._folder.cleanup()
