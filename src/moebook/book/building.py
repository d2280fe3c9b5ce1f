"""Build the book: check the posteriors, choose the cache, run Jupyter Book, and let no warning pass."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

import moebook
from moebook.book.fingerprint import fingerprint
from moebook.book.paths import posterior_folders, project_root
from moebook.errors import InputError
from moebook.files import cache_folder, check_writable

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
KEPT_CACHES = 3
LOG = "book.log"
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_TROUBLE = re.compile(r"\b(WARNING|ERROR|CRITICAL):|^Extension error|^Exception occurred|Error:\s")
_RAISED = re.compile(r"^(\S.*)\n\s*\[mystnb\.exec\]", re.MULTILINE)
_EXECUTING = re.compile(r"([^/\s]+)\.md: Executing notebook")
_EXECUTED = re.compile(r"([^/\s]+)\.md: Executed notebook in ([\d.]+) seconds")
_CACHED = re.compile(r"([^/\s]+)\.md: Using cached")


class BookError(RuntimeError):
    """The book was not built; the message is one line, `log` the path of the whole output if there is one."""


@dataclass
class BookResult:
    """What a build did. `seconds` maps each executed chapter to its time; cached chapters are not in it."""

    index: Path
    seconds: dict[str, float] = field(default_factory=dict)
    cached: list[str] = field(default_factory=list)
    total_seconds: float = 0.0


Report = Callable[[str, str, float | None], None]


def chapters(root: Path) -> list[str]:
    """Names of the chapters in the order of the table of contents."""
    toc = yaml.safe_load((root / "book" / "_toc.yml").read_text())
    parts = toc.get("parts") or [toc]
    return [toc["root"]] + [item["file"] for part in parts for item in part.get("chapters", [])]


def check_posteriors(runs: Path) -> list[Path]:
    """The stored posteriors, all of which passed their gates; BookError for one that did not, or for none."""
    from moebook.bayes import FailedPosterior, read_summary, require_passed

    folders = posterior_folders(runs)
    if not folders:
        raise BookError(f"{runs / 'posteriors'}: no stored posterior: run `moebook fit` first")
    for folder in folders:
        try:
            require_passed(read_summary(folder))
        except (FailedPosterior, InputError) as error:
            raise BookError(f"{folder}: {error}") from error
    return folders


def check_place(out: Path) -> None:
    """Raise InputError where a book cannot be put into `out`, or where its `_build` is not one of ours."""
    built = out / "_build"
    check_writable(built)
    if built.is_dir() and any(built.iterdir()) and not (built / LOG).is_file():
        raise InputError(f"{built}: holds other files: choose another --out, or remove them")


def build(
    root: Path | None = None,
    out: Path | None = None,
    runs: Path | None = None,
    report: Report | None = None,
) -> BookResult:
    """Build the book and return where it is.

    root: the checkout (default: found from the working folder); out: the folder that gets `_build/html`
    (default: root); runs: records and posteriors (default: `MOEBOOK_RUNS`, else root/runs); report(event,
    chapter, seconds) is called with the events "executing", "executed", "cached", "rendering" and
    "trouble" (then `chapter` is the line). Raises BookError, with one line, if a posterior failed its
    gates, a cell raised, or anything warned; InputError where `check_place` does.
    """
    root = (root or project_root()).resolve()
    out = (out or root).resolve()
    runs = (runs or Path(os.environ.get("MOEBOOK_RUNS") or root / "runs")).resolve()
    report = report or (lambda event, chapter, seconds: None)
    started = time.monotonic()
    check_place(out)
    check_posteriors(runs)

    # A failed build leaves doctrees with which the next one returns 0 and no warning: start afresh.
    built = out / "_build"
    shutil.rmtree(built, ignore_errors=True)
    built.mkdir(parents=True)
    cache = _cache(root, runs)
    result = BookResult(index=built / "html" / "index.html")
    trouble: list[str] = []
    log_path = built / LOG
    with _config(root, cache) as config, log_path.open("w") as log:
        command = [
            sys.executable,
            "-c",
            "from jupyter_book.cli.main import main; main()",
            "build",
            str(root / "book"),
        ]
        command += ["--config", str(config), "--path-output", str(out), "-W", "--keep-going"]
        process = subprocess.Popen(
            command,
            cwd=root,
            env=environment(runs),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            for line in process.stdout or ():
                log.write(_ANSI.sub("", line))
                _read_line(_ANSI.sub("", line).rstrip(), result, trouble, report)
            code = process.wait()
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    if code != 0 or trouble or not result.index.is_file():
        raise BookError(f"{_in_one_line(trouble, code, log_path.read_text())} (whole output: {log_path})")
    result.total_seconds = time.monotonic() - started
    return result


def environment(runs: Path) -> dict[str, str]:
    """The child's environment: this library, this interpreter's kernel, one thread, no other kernelspec."""
    env = dict(os.environ)
    source = str(Path(moebook.__file__).resolve().parents[1])
    env["PYTHONPATH"] = os.pathsep.join([source, *filter(None, [env.get("PYTHONPATH")])])
    env["MOEBOOK_RUNS"] = str(runs)
    env["JUPYTER_PATH"] = str(Path(sys.prefix) / "share" / "jupyter")
    env["JUPYTER_PREFER_ENV_PATH"] = "1"
    env["PYTHONHASHSEED"] = "0"
    env["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
    env["COLUMNS"] = "100"
    env["NO_COLOR"] = "1"
    for name in THREADS:  # sums over threads change the last digits
        env[name] = "1"
    return env


def _read_line(line: str, result: BookResult, trouble: list[str], report: Report) -> None:
    if match := _EXECUTED.search(line):
        result.seconds[match[1]] = float(match[2])
        report("executed", match[1], float(match[2]))
    elif match := _EXECUTING.search(line):
        report("executing", match[1], None)
    elif match := _CACHED.search(line):
        result.cached.append(match[1])
        report("cached", match[1], None)
    elif line.startswith("writing output... ["):
        report("rendering", "", None)
    elif _TROUBLE.search(line):
        trouble.append(line)
        report("trouble", line, None)


def _in_one_line(trouble: list[str], code: int, log: str) -> str:
    """The first warning; for a cell that raised, with the last line of its traceback."""
    if not trouble:
        return f"jupyter-book ended with code {code}"
    raised = _RAISED.search(log)
    return f"{trouble[0]}: {raised[1]}" if raised and "CellExecutionError" in trouble[0] else trouble[0]


def _cache(root: Path, runs: Path) -> Path:
    """The folder of this fingerprint's executed chapters; older ones are removed beyond the last few."""
    library = Path(moebook.__file__).resolve().parent
    parent = cache_folder() / "book"
    results = root / "benchmarks" / "results"
    folder = parent / fingerprint(library, runs, root / "requirements.lock", results)[:20]
    folder.mkdir(parents=True, exist_ok=True)
    os.utime(folder)
    for old in sorted(parent.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)[KEPT_CACHES:]:
        shutil.rmtree(old, ignore_errors=True)
    return folder.resolve()


@contextmanager
def _config(root: Path, cache: Path) -> Iterator[Path]:
    """The root's `_config.yml` with the execution cache put in, as a temporary file."""
    settings = yaml.safe_load((root / "_config.yml").read_text())
    settings["execute"] |= {"execute_notebooks": "cache", "cache": str(cache)}
    with TemporaryDirectory(prefix="moebook-book-") as folder:
        path = Path(folder) / "_config.yml"
        path.write_text(yaml.safe_dump(settings))
        yield path
