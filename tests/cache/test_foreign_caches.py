"""Caches that somebody else made, or that lay on a cloud drive: whatever they say, they are data."""

import json
import os
import sqlite3
import zlib

import pytest
from hash_embedder import HashEmbedder

from alignkit.cache import VectorCache
from alignkit.cache.index_file import DAMAGED, FILE_NAME
from alignkit.cache.wording import described
from alignkit.errors import CacheError

TEXTS = [f"text {number}" for number in range(40)]


def fill(folder):
    with VectorCache(folder) as cache:
        return cache.fill(HashEmbedder(dim=16), TEXTS)


def rewrite_header(folder, **changes):
    """A header whose checksum holds, as anybody can compute it; the index has to be made from it."""
    (path,) = (folder / "shards").glob("*.json")
    content = {**json.loads(path.read_text(encoding="utf-8")), **changes}
    del content["checksum"]
    content["checksum"] = zlib.crc32(json.dumps(content, sort_keys=True).encode("ascii"))
    path.write_text(json.dumps(content), encoding="utf-8")
    for index in folder.glob(f"{FILE_NAME}*"):
        index.unlink()


def state(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "changes",
    [
        {"identity": "x"},
        {"identity": None},
        {"dim": "16"},
        {"dim": -1},
        {"dim": 0},
        {"dim": 10**12},
        {"dim": True},
        {"dtype": "object"},
        {"dtype": ["float16"]},
        {"provenance": [1]},
        {"created": 5},
        {"canaries": 5},
        {"canaries": [{"a": 1}]},
        {"format": 99},
        {"more": 1},
    ],
    ids=str,
)
def test_a_header_that_describes_no_shard_sets_the_shard_aside(folder, caplog, changes):
    fill(folder)
    rewrite_header(folder, **changes)
    with VectorCache(folder, only_read=True) as cache:
        assert cache.identities() == []
    assert "the shard is set aside" in caplog.text
    assert fill(folder).new == len(TEXTS)
    with VectorCache(folder) as cache:
        assert len(cache.verify().problems) == 1


def test_an_index_that_names_other_files_or_no_shard_is_made_anew(folder):
    fill(folder)
    for change in ("name = '../../../../etc/passwd'", "header = '[]'", "header = 'x'"):
        with sqlite3.connect(folder / FILE_NAME) as db:
            db.execute(f"UPDATE shards SET {change}")
        db.close()
        assert fill(folder).tried == 0


@pytest.mark.parametrize("harm", ["header", "page"])
def test_who_only_reads_leaves_a_damaged_index_where_it_is(folder, harm):
    fill(folder)
    path = folder / FILE_NAME
    if harm == "header":
        with sqlite3.connect(path) as db:
            db.execute("UPDATE shards SET header = '[]'")
        db.close()
    else:
        path.write_bytes(path.read_bytes()[:1024] + b"\xff" * 4096)
    before = state(folder)
    with VectorCache(folder, only_read=True) as cache:
        assert len(cache.missing(HashEmbedder(dim=16).identity(), TEXTS)) == 0
    assert state(folder) == before and not (folder / DAMAGED).exists()


def test_other_files_among_the_quarantined_are_left_alone(folder):
    fill(folder)
    (folder / "quarantine").mkdir()
    for name in ("copy (1).json", "README.json", "abc.json"):
        (folder / "quarantine" / name).write_text("{}", encoding="utf-8")
    with VectorCache(folder) as cache:
        cache.prune([HashEmbedder(dim=16).identity()])
        assert cache.forget(TEXTS[:3])
    assert len(list((folder / "quarantine").iterdir())) == 3


@pytest.mark.skipif(os.name == "nt", reason="Windows makes links for administrators alone")
def test_a_lock_that_is_a_link_is_one_line_and_its_aim_stays_whole(folder, tmp_path):
    fill(folder)
    precious = tmp_path / "precious.txt"
    precious.write_text("precious", encoding="utf-8")
    (folder / "locks" / "open.lock").unlink(missing_ok=True)
    (folder / "locks" / "open.lock").symlink_to(precious)
    with pytest.raises(CacheError, match="open.lock: cannot be locked"):
        VectorCache(folder)
    assert precious.read_text(encoding="utf-8") == "precious"


def test_names_out_of_a_cache_are_no_commands_to_a_terminal(folder):
    fill(folder)
    rewrite_header(folder, identity={"model": "\x1b[31mred\nline", "note": "\x9b2J\u202e"})
    with VectorCache(folder, only_read=True) as cache:
        lines = described(cache.identities()[0])
    assert all(line.isprintable() for line in lines) and lines[0].startswith("[31mred line: 40 vectors")
