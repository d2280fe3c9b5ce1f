"""Many fits to simulated runs, kept in one file as they are made, and what their ranks say."""

from __future__ import annotations

import inspect
import json
import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from moebook import laws
from moebook.bayes import identity
from moebook.bayes.uniformity import Uniformity, judge
from moebook.errors import InputError
from moebook.files import sha256_hex, write_atomic

if TYPE_CHECKING:
    from moebook.bayes.calibration import Ranked, Setup

LEVEL = 0.05  # of the family of all tests: how often a right posterior is called wrong
RHAT_BELOW = 1.05  # of the short chains of a calibration, whose R-hat is noisier than a fit's
_SOURCES = ("calibration.py", "prepared.py", "uniformity.py")


@dataclass(frozen=True)
class Calibration:
    """A stored calibration; `fits` is what came of each, failed or not, by number.

    names: of the quantities; ranked: draws that each truth was ranked among; design: what the design was
    called, and rows, how many runs it has; plant: name of a bug put in on purpose, or empty.
    """

    law: str
    design: str
    rows: int
    plant: str
    ranked: int
    names: tuple[str, ...]
    fits: tuple[Ranked, ...]
    ingredients: dict[str, Any]

    @property
    def identity(self) -> str:
        """sha256 of all that decides the ranks: model, priors, design, sampler, quantities, seed."""
        return identity.identity(self.ingredients)

    @cached_property
    def ranks(self) -> dict[str, np.ndarray]:
        """The ranks of each quantity {name: [fits]}, of every fit."""
        return {name: np.array([fit.ranks[name] for fit in self.fits]) for name in self.names}

    @cached_property
    def uniformity(self) -> dict[str, Uniformity]:
        """The tests of each quantity."""
        return judge(self.ranks, self.ranked) if self.fits else {}

    @property
    def rejected(self) -> list[str]:
        """Quantities whose ranks are not uniform, the clearest first."""
        found = {n: u.corrected for n, u in self.uniformity.items() if u.corrected < LEVEL}
        return sorted(found, key=found.__getitem__)

    @property
    def failed(self) -> dict[str, int]:
        """How many fits failed each gate, and any of them. They are in the ranks all the same: to leave out
        what is hard to sample would choose among the truths."""
        wrong = {
            "divergences": [fit.divergences > 0 for fit in self.fits],
            f"R-hat >= {RHAT_BELOW}": [fit.rhat >= RHAT_BELOW for fit in self.fits],
            f"effective < {self.ranked}": [fit.effective < self.ranked for fit in self.fits],
        }
        return {**{name: sum(each) for name, each in wrong.items()},
                "any": sum(map(any, zip(*wrong.values(), strict=True)))}  # fmt: skip

    @property
    def cpu_seconds(self) -> float:
        """CPU-seconds of a fit, the mean."""
        return float(np.mean([fit.cpu_seconds for fit in self.fits]))

    def text(self) -> str:
        """The file: a fit a line, so that it can be read and compared."""
        fits = [
            json.dumps({**asdict(fit), "ranks": [fit.ranks[name] for name in self.names]}, allow_nan=False)
            for fit in self.fits
        ]
        head = {
            "format": 1, "law": self.law, "design": self.design, "rows": self.rows, "plant": self.plant,
            "identity": self.identity, "ingredients": self.ingredients, "ranked": self.ranked,
            "quantities": list(self.names),
        }  # fmt: skip
        body = json.dumps(head, indent=1, allow_nan=False)
        return body.removesuffix("\n}") + ',\n "fits": [\n  ' + ",\n  ".join(fits) + "\n ]\n}\n"

    def summary(self) -> dict[str, Any]:
        """What the ranks say, as JSON values: computed from the file, so that it cannot differ from it."""
        return {
            "law": self.law, "design": self.design, "rows": self.rows, "plant": self.plant,
            "identity": self.identity, "fits": len(self.fits), "ranked": self.ranked, "level": LEVEL,
            "calibrated": not self.rejected, "rejected": self.rejected, "failed": self.failed,
            "cpu_seconds": self.cpu_seconds,
            "uniformity": {name: asdict(found) for name, found in self.uniformity.items()},
        }  # fmt: skip


def read_calibration(path: Path | str) -> Calibration:
    """A stored calibration; InputError names what is missing or broken."""
    from moebook.bayes.calibration import Ranked

    try:
        stored = json.loads(Path(path).read_text("utf-8"))
        if stored["format"] != 1:
            raise ValueError(f"format {stored['format']!r} is not 1")
        names = tuple(stored["quantities"])
        fits = [
            Ranked(**{**fit, "ranks": dict(zip(names, fit["ranks"], strict=True))}) for fit in stored["fits"]
        ]
        fields = ("law", "design", "rows", "plant", "ranked")
        found = Calibration(
            **{name: stored[name] for name in fields}, names=names, fits=tuple(fits),
            ingredients=stored["ingredients"],
        )  # fmt: skip
        if found.identity != stored["identity"]:
            raise ValueError("its identity is not that of its ingredients")
        return found
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: is no calibration: {error}") from error


def ingredients(setup: Setup) -> dict[str, Any]:
    """Everything that decides the ranks, as JSON values."""
    folder = Path(__file__).parent
    files = {folder / name for name in _SOURCES}
    files |= {Path(inspect.getsourcefile(type(quantity)) or "") for quantity in setup.quantities}
    law = laws.get(setup.law)
    parts = identity.ingredients(setup.rows.sha256(), law, setup.priors, setup.chains, setup.seed)
    calibration = {
        "quantities": [{"is": type(q).__name__, **asdict(q)} for q in setup.quantities],
        "plant": setup.plant,
        "source": {
            f"{path.parent.name}/{path.name}": sha256_hex(path.read_text("utf-8")) for path in sorted(files)
        },
    }
    return {**parts, "calibration": identity.plain(calibration, "calibration")}


def calibrate(
    setup: Setup,
    fits: int,
    out: Path,
    *,
    jobs: int = 1,
    force: bool = False,
    on_fit: Callable[[int, int], None] = lambda done, fits: None,
) -> Calibration:
    """Make the fits that `out` lacks, each written there as it ends, and return them all.

    jobs: processes that fit at the same time, each of which compiles the model; force: begin anew where
    `out` holds another calibration, which is refused otherwise; on_fit(fits done, fits asked for).
    """
    parts = ingredients(setup)
    found = {fit.number: fit for fit in _stored(out, parts, force)}
    missing = [number for number in range(fits) if number not in found]
    on_fit(len(found), max(fits, len(found)))

    def result() -> Calibration:
        ordered = tuple(found[number] for number in sorted(found))
        names = tuple(ordered[0].ranks) if ordered else ()
        return Calibration(
            setup.law, setup.rows.source, len(setup.rows), setup.plant.name, setup.chains.ranked, names,
            ordered, parts,
        )  # fmt: skip

    if not missing:
        return result()
    write_atomic(out, result().text())  # a place that cannot be written shows before the long work
    with _fitting(setup, missing, min(jobs, len(missing))) as made:
        for fit in made:
            found[fit.number] = fit
            write_atomic(out, result().text())
            on_fit(len(found), max(fits, len(found)))
    return result()


def _stored(out: Path, parts: dict[str, Any], force: bool) -> tuple[Ranked, ...]:
    """The fits of this calibration that are there already."""
    if not out.exists():
        return ()
    if out.is_dir():
        raise InputError(f"{out}: is a folder, not a file for a calibration")
    if force:
        try:
            before = read_calibration(out)
        except InputError:
            return ()
        return before.fits if before.ingredients == parts else ()
    before = read_calibration(out)
    if before.ingredients != parts:
        differ = [name for name in parts if before.ingredients.get(name) != parts[name]]
        what = ", ".join(differ) or "its ingredients"
        raise InputError(f"{out}: holds another calibration: {what} differ; replace it by --force")
    return before.fits


@contextmanager
def _fitting(setup: Setup, numbers: list[int], jobs: int) -> Iterator[Iterator[Ranked]]:
    """The fits of these numbers as they end, made here or by processes that end with this one."""
    if jobs == 1:
        from moebook.bayes.calibration import Calibrator

        calibrator = Calibrator(setup)
        yield (calibrator.fit(number) for number in numbers)
        return
    context = multiprocessing.get_context("spawn")
    workers: dict[Connection, Any] = {}
    try:
        for _ in range(jobs):
            here, there = context.Pipe()
            process = context.Process(target=_work, args=(there, setup), daemon=True)
            process.start()
            there.close()  # so that either end sees it when the other is gone
            workers[here] = process
        yield _collected(workers, list(reversed(numbers)))
    finally:
        for connection, process in workers.items():
            connection.close()
            process.terminate()
            process.join()


def _collected(workers: dict[Connection, Any], waiting: list[int]) -> Iterator[Ranked]:
    """Give each idle worker the next number; yield what comes back."""
    busy = set()
    for connection in workers:
        connection.send(waiting.pop())
        busy.add(connection)
    while busy:
        for connection in wait(list(busy)):
            try:
                fit = connection.recv()
            except EOFError:
                workers[connection].join()
                raise RuntimeError("a process that fits has died; its error stands above") from None
            busy.remove(connection)
            if waiting:
                connection.send(waiting.pop())
                busy.add(connection)
            yield fit


def _work(connection: Connection, setup: Setup) -> None:
    """Fit the numbers that come through `connection`, until the other end is gone."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which then ends its workers
    from moebook.bayes.calibration import Calibrator

    calibrator = Calibrator(setup)
    while True:
        try:
            number = connection.recv()
        except EOFError:
            return
        connection.send(calibrator.fit(number))
