"""A name in every engine where nothing is yet, and what moving rows there takes."""

import json
import uuid

import yaml
from engines import qdrant_in_memory

from alignkit.indexes.new_index import new_index
from alignkit.parts import build_part, conf_folder

FILES = conf_folder().parent / "alignkit" / "indexes"


class Place:
    """Settings of a new index, opened anew for each step, as by another process."""

    def __init__(self, engine, settings):
        self.engine, self.keeps_payload = engine, engine != "faiss"
        packaged = yaml.safe_load((conf_folder() / "index" / f"{engine}.yaml").read_text(encoding="utf-8"))
        self.settings = {**packaged, **settings}

    def kept(self, payload):
        """What the engine keeps of a row's payload: Chroma has no objects, SQLite no lists either."""
        if self.engine not in ("chroma", "sqlite_vec"):
            return payload
        no = dict if self.engine == "chroma" else (dict, list)
        kept = {name: json.dumps(value) if isinstance(value, no) else value for name, value in payload.items()}
        return {name: value for name, value in kept.items() if value != []}

    def new(self):
        return new_index(self.settings)

    def index(self, **changes):
        return build_part({**self.settings, **changes})


def new_place(engine, folder, request):
    return Place(engine, MAKERS[engine](folder, request))


def in_pgvector(folder, request):
    return {"url": request.getfixturevalue("postgres").url, "table": f"Moved {uuid.uuid4().hex[:8]}", "text": "body"}


def in_qdrant(folder, request):
    return {"client": qdrant_in_memory(), "collection": "moved", "text": "body"}


def in_lancedb(folder, request):
    return {"path": str(folder / "moved_db"), "table": "moved", "text": "body"}


def in_parquet(folder, request):
    return {"path": str(folder / "moved.parquet"), "id": "id", "text": "body"}


def in_faiss(folder, request):
    return {"path": str(folder / "moved.faiss"), "texts": str(folder / "moved.jsonl")}


def in_chroma(folder, request):
    return {"path": str(folder / "moved_chroma"), "collection": "moved"}


def in_sqlite_vec(folder, request):
    return {"path": str(folder / "moved.db"), "table": "Moved ones", "joined": "It's theirs", "text": "body"}


def in_milvus(folder, request):
    return {
        "client": request.getfixturevalue("milvus"),
        "collection": f"moved_{uuid.uuid4().hex[:8]}",
        "text": "body",
    }


MAKERS = {name.removeprefix("in_"): make for name, make in list(globals().items()) if name.startswith("in_")}
# engines that rows can be moved to
PLACES = sorted(path.stem.removesuffix("_new") for path in FILES.glob("*_new.py"))
