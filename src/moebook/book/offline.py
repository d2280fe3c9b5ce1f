"""Sphinx extension: the rendered pages load nothing from the network.

- Formulas are typeset by the MathJax that the package sphinx-mathjax-offline carries: one file, SVG output,
  so that no fonts are fetched and `file://` works.
- The launcher of sphinx-thebe, which names a CDN on every page, is left out: no page starts a kernel.
"""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

MATHJAX_FILE = "mathjax/tex-svg.js"


def mathjax_source() -> Path:
    """Path of MathJax in the package sphinx-mathjax-offline; ImportError where it is not installed."""
    spec = importlib.util.find_spec("sphinx-mathjax-offline")
    if spec is None or spec.origin is None:
        raise ImportError("sphinx-mathjax-offline is not installed: formulas would need the network")
    return Path(spec.origin).parent / "static" / MATHJAX_FILE


def _point_to_mathjax(app: Any, config: Any) -> None:
    folder = Path(app.doctreedir) / "offline_static"
    target = folder / MATHJAX_FILE
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(mathjax_source(), target)
    config.html_static_path.append(str(folder))
    config.mathjax_path = MATHJAX_FILE


def _drop_thebe(app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    def names_thebe(script: Any) -> bool:
        attributes = getattr(script, "attributes", {}) or {}
        return "thebe" in str(getattr(script, "filename", "") or script) or "THEBE" in str(
            attributes.get("body", "")
        )

    context["script_files"] = [
        script for script in context.get("script_files", []) if not names_thebe(script)
    ]


def setup(app: Any) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("config-inited", _point_to_mathjax)
    app.connect("html-page-context", _drop_thebe, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
