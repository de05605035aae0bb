"""Which shards there are, and where in them a key stands: the index and the folder kept in step."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from filelock import FileLock, Timeout

from alignkit.cache import locks
from alignkit.cache.cache_folder import SHARDS, prepare
from alignkit.cache.headers import ShardHeader
from alignkit.cache.index import ROW_BITS, Index, IndexedShard, Version
from alignkit.cache.index_file import IndexDamaged, remove_index
from alignkit.cache.keys import same_keys
from alignkit.cache.shards import Shard
from alignkit.cache.stored import StoredVectors, by_shard
from alignkit.errors import CacheError
from alignkit.files import write_whole

log = logging.getLogger(__name__)

TAKE_IN_ROWS = 200_000
# keys that are looked up at once
LOCATED_ROWS = 500_000


class _Listing(NamedTuple):
    """The shards, of which there may be thousands, and their identities: needed with every lookup."""

    version: Version
    shards: dict[int, Shard]
    identities: list[dict[str, Any]]


class ShardStore:
    """The shards of a folder behind their index.

    Args:
        folder: of the cache.
        create: whether to make a cache if there is none.
        only_read: leave everything on the disk as it is.

    Attributes:
        why_read_only: None, or why nothing is written; the index is then a temporary copy.

    Raises:
        CacheError: if the folder cannot be opened.
    """

    def __init__(self, folder: Path, create: bool = True, only_read: bool = False) -> None:
        self.folder = folder
        self.shard_folder = folder / SHARDS
        self.why_read_only = prepare(folder, create, only_read)
        self._shards: dict[int, Shard] = {}
        self._listed: _Listing | None = None
        # one process at a time takes in what is new on disk; the others then find it done
        with self.lock_of("open"):
            self.index = self._open_index()
            try:
                self._catch_up()
            except BaseException:
                self.index.close()
                raise

    def lock(self, name: str) -> FileLock:
        """A lock among processes; released when its holder dies."""
        return locks.lock(self.folder, name)

    def lock_of(self, name: str) -> AbstractContextManager[object]:
        """Hold a lock; do nothing in a folder that cannot be written."""
        return nullcontext() if self.why_read_only else self.lock(name)

    def upkeep(self) -> AbstractContextManager[object]:
        """Keep other processes from pruning, merging, forgetting and verifying; waits for one that does."""
        return nullcontext() if self.why_read_only else locks.upkeep_lock(self.folder)

    @contextmanager
    def nobody_embeds(self, digests: Set[bytes], purpose: str) -> Iterator[None]:
        """Keep other processes from embedding with these identities.

        Raises:
            CacheError: if one is; nothing has been changed then.
        """
        with ExitStack() as held:
            for digest in sorted(digests):
                try:
                    held.enter_context(self.lock(digest.hex()).acquire(timeout=0))
                except Timeout:
                    headers = self.headers(digest)
                    model = headers[-1].identity.get("model", "a model") if headers else "a model"
                    raise CacheError(
                        f"another process is embedding with {model} into {self.folder}; {purpose} when it is done"
                    ) from None
            yield

    def _open_index(self) -> Index:
        if self.why_read_only:
            return Index(self.folder, read_only=True)
        try:
            return Index(self.folder)
        except IndexDamaged as error:
            return self._index_made_anew(error)

    def _index_made_anew(self, error: IndexDamaged) -> Index:
        log.warning("%s; it is rebuilt from the shards", error)
        if self.why_read_only:
            return Index(self.folder, read_only=True, anew=True)
        remove_index(self.folder)
        return Index(self.folder)

    def _catch_up(self) -> None:
        try:
            self._take_in()
        except IndexDamaged as error:
            self.index.close()
            self._shards.clear()
            self._listed = None
            self.index = self._index_made_anew(error)
            self._take_in()

    def _take_in(self) -> int:
        """Bring the index up to date with the folder: new shards, rows of a killed writer, lost files."""
        known = {shard.name: shard for shard in self.index.shards()}
        on_disk = {path.stem for path in self.shard_folder.glob("*.json")}
        gone = sorted(known.keys() - on_disk)
        for name in gone:
            log.warning("shard %s is gone; its %d vectors will be embedded again", name, known[name].rows)
        self.index.drop_shards([known[name].id for name in gone])
        return sum(self._take_in_shard(name, known.get(name)) for name in sorted(on_disk))

    def _take_in_shard(self, name: str, known: IndexedShard | None = None) -> int:
        shard = known or self._register(name)
        return 0 if shard is None else self._take_in_rows(shard)

    def _register(self, name: str) -> IndexedShard | None:
        path = self.shard_folder / f"{name}.json"
        try:
            text = path.read_text(encoding="utf-8")
            ShardHeader.from_json(text)
        except (OSError, ValueError) as error:
            log.warning("%s cannot be used: %s; the shard is set aside", path, error)
            return None
        return IndexedShard(self.index.register(name, text), name, text, 0)

    def _take_in_rows(self, indexed: IndexedShard) -> int:
        shard, new = self._shard(indexed), 0
        rows = shard.rows_on_disk()
        if rows < indexed.rows:
            log.warning("shard %s lost its end; %d vectors will be embedded again", shard.name, indexed.rows - rows)
            self.index.drop_end(indexed.id, rows)
        for start in range(indexed.rows, rows, TAKE_IN_ROWS):
            stop = min(start + TAKE_IN_ROWS, rows)
            keys, intact = shard.intact_rows(start, stop)
            kept = np.flatnonzero(intact)
            kept = kept[self.locate(keys[kept]) < 0]  # a merged cache may bring what is here already
            self.index.add(indexed.id, keys[kept], kept + start, stop)
            new += len(kept)
            if not intact.all():
                log.info("shard %s: %d rows set aside", shard.name, (~intact).sum())
        return new

    def _shard(self, indexed: IndexedShard) -> Shard:
        shard = self._shards.get(indexed.id)
        if shard is None or shard.name != indexed.name:
            try:
                header = ShardHeader.from_json(indexed.header)
            except ValueError as error:
                raise IndexDamaged(f"the index in {self.folder} describes a shard that cannot exist: {error}") from None
            shard = self._shards[indexed.id] = Shard(self.shard_folder, indexed.name, header)
        return shard

    def shards(self) -> dict[int, Shard]:
        """Every shard by its id in the index, oldest first."""
        return dict(self._listing().shards)

    def identities(self) -> list[dict[str, Any]]:
        """Whose vectors there are, the newest first."""
        return list(self._listing().identities)

    def _listing(self) -> _Listing:
        version = self.index.version_of_shards()
        if self._listed is None or self._listed.version != version:
            shards = {indexed.id: self._shard(indexed) for indexed in self.index.shards()}
            shards = dict(sorted(shards.items(), key=lambda item: item[1].header.created))
            headers = [shard.header for shard in reversed(shards.values())]
            identities = {header.digest: header.identity for header in headers if header.is_of_its_width}
            self._listed = _Listing(version, shards, list(identities.values()))
        return self._listed

    def headers(self, digest: bytes) -> list[ShardHeader]:
        """Headers of an identity's shards, oldest first."""
        return [shard.header for shard in self.shards().values() if shard.header.digest == digest]

    def locate(self, keys: np.ndarray) -> np.ndarray:
        """Place of each key `(N,)` int64, -1 where there is none. Every hit was compared with the shard's record."""
        places = np.full(len(keys), -1, dtype=np.int64)
        for start in range(0, len(keys), LOCATED_ROWS):
            self._locate(keys[start : start + LOCATED_ROWS], places[start : start + LOCATED_ROWS])
        return places

    def _locate(self, keys: np.ndarray, places: np.ndarray) -> None:
        positions, candidates = self.index.find(keys)
        shards = self._shards_with(candidates)
        for shard_id, rows, here in by_shard(candidates):
            shard = shards.get(shard_id)
            if shard is None:
                continue
            in_file = rows < shard.rows_on_disk()
            rows, here = rows[in_file], here[in_file]
            right = same_keys(shard.records(rows), keys[positions[here]])
            places[positions[here[right]]] = candidates[here[right]]

    def lacking(self, digest: bytes, keys: np.ndarray) -> np.ndarray:
        """Positions of the keys `(N,)` of an identity that have no vector, ascending int64."""
        if not self.headers(digest):
            return np.arange(len(keys))
        return np.flatnonzero(self.locate(keys) < 0)

    def _shards_with(self, places: np.ndarray) -> dict[int, Shard]:
        """All shards by id, those included that another process began since the last look."""
        if not set(np.unique(places >> ROW_BITS).tolist()) <= self._shards.keys():
            self.shards()
        return self._shards

    def vectors_at(self, places: np.ndarray) -> StoredVectors:
        """The vectors at places `(N,)`, to be read later."""
        return StoredVectors(self._shards_with(places), places)

    def take_in(self, names: Sequence[str] | None = None) -> int:
        """Take in what was added to the folder since it was opened, or these shards of it.

        Returns:
            How many more rows can be found.
        """
        with self.lock_of("open"):
            return self._take_in() if names is None else sum(map(self._take_in_shard, names))

    def delete_shards(self, shards: Mapping[int, Shard]) -> dict[int, CacheError]:
        """Remove shards' files and their rows in the index; who opens the cache meanwhile sees both or neither.

        Args:
            shards: by id.

        Returns:
            Those that are as before since another process holds one of their files (Windows), and why.
        """
        gone, held = [], {}
        with self.lock_of("open"):
            try:
                for shard_id, shard in shards.items():
                    try:
                        shard.delete()
                        gone.append(shard_id)
                    except CacheError as error:
                        held[shard_id] = error
            finally:
                self.index.drop_shards(gone)
        for shard_id in gone:
            self._shards.pop(shard_id, None)
        return held

    def rewrite_header(self, shard_id: int, canaries: tuple[str, ...]) -> None:
        """Give a shard other canaries."""
        shard = self._shards[shard_id]
        header = replace(shard.header, canaries=canaries)
        write_whole(shard.path("json"), header.to_json())
        self._shards[shard_id] = replace(shard, header=header)
        self.index.register(shard.name, header.to_json())

    def require_writable(self, purpose: str) -> None:
        """Refuse to change a folder that can only be read.

        Raises:
            CacheError: if the folder cannot be written; it says why.
        """
        if self.why_read_only:
            raise CacheError(
                f"cannot {purpose}: the cache in {self.folder} cannot be written ({self.why_read_only}); "
                "make it writable, or choose another cache_dir"
            )

    def close(self) -> None:
        """Close the index; calling it twice does no harm."""
        self.index.close()
