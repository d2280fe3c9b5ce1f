"""Tables of runs that other groups published, in the columns of the run table.

    from moebook.runs.public import public_table
    clark = public_table("clark2022")                 # downloaded once, by checksum, into the cache
    clark = public_table("clark2022", "my/tables")    # my/tables/clark2022/curves.csv.gz, the same bytes

The files are not part of this package: each has its licence and its source, which the table carries along in
`table.attrs`. Losses compare within one `text` only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moebook.errors import InputError
from moebook.runs.public import chinchilla, clark, porian
from moebook.runs.public.clark import law_rows
from moebook.runs.public.files import PinnedFile, download, read_local
from moebook.runs.table import COLUMNS

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Source:
    """A published table: what it is, whose, on what terms, where from, and how to read it.

    extras: {column beyond those of the run table: what it means}; upstream: the files of the repository where
    they are not the one of a folder, and how to read those.
    """

    title: str
    licence: str
    paper: str
    repository: str
    commit: str
    file: PinnedFile
    read: Callable[[bytes], Any]
    extras: dict[str, str]
    upstream: tuple[PinnedFile, ...] = ()
    read_upstream: Callable[[list[bytes]], Any] | None = None


SOURCES = {
    "chinchilla": Source(
        title="234 dense runs read off a figure of Hoffmann et al. 2022",
        licence="Apache-2.0",
        paper="arXiv 2203.15556",
        repository="kyo-takano/chinchilla",
        commit="75e5858f6e7c5b60d1fab69f66258132347b060c",
        file=chinchilla.FILE,
        read=chinchilla.columns_of,
        extras=chinchilla.EXTRAS,
    ),
    "clark2022": Source(
        title="223 dense and routed runs of Clark et al. 2022",
        licence="CC-BY-4.0",
        paper="arXiv 2202.01169",
        repository="google-deepmind/scaling_laws_for_routing",
        commit="42da0c392b127df2c01fa7b705f72396050d05e5",
        file=clark.FILE,
        read=clark.columns_of,
        extras=clark.EXTRAS,
    ),
    "porian2024": Source(
        title="1,745 losses of dense runs in 15 variants, of Porian et al. 2024",
        licence="MIT",
        paper="arXiv 2406.19146",
        repository="formll/resolving-scaling-law-discrepancies",
        commit="0dc60d91b8a525858a3067fc9e4a46ff5374cc6f",
        file=porian.FILE,
        read=porian.columns_of,
        extras=porian.EXTRAS,
        upstream=porian.PICKLES,
        read_upstream=porian.columns_of_pickles,
    ),
}


def public_table(name: str, folder: Path | str | None = None) -> pandas.DataFrame:
    """A published table as a DataFrame: COLUMNS of the run table, then its own (`SOURCES[name].extras`).

    name: chinchilla, clark2022 or porian2024. folder: a folder that holds the table's file, as in
    `SOURCES[name].file.local`; without one the files are downloaded into the cache, once.
    Units are those of the run table (parameters, tokens, FLOPs, nats a token); what a source does not tell is
    empty. `attrs["public"]` says title, licence, paper, repository, commit, and the sha256 of each file read.
    Raises InputError where a file cannot be had, or is not the one that was published.
    """
    if name not in SOURCES:
        raise InputError(f"public table: {name}: unknown; there are {', '.join(SOURCES)}")
    source = SOURCES[name]
    if folder is not None:
        content, where = read_local(source.file, Path(folder))
        files, table = {where: source.file.sha256}, source.read(content)
    else:
        pinned = source.upstream or (source.file,)
        had = [download(file, source.repository, source.commit) for file in pinned]
        files = {where: file.sha256 for (_, where), file in zip(had, pinned, strict=True)}
        contents = [content for content, _ in had]
        table = source.read_upstream(contents) if source.read_upstream else source.read(contents[0])
    table = table.assign(study=name, status="done")
    table = table.reindex(columns=[*COLUMNS, *source.extras]).reset_index(drop=True)
    told = ("title", "licence", "paper", "repository", "commit")
    table.attrs["public"] = {
        "name": name,
        **{field: getattr(source, field) for field in told},
        "files": files,
    }
    return table


__all__ = ["SOURCES", "Source", "law_rows", "public_table"]
