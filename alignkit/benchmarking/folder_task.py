"""A BEIR folder on this machine as a retrieval task of MTEB."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

from alignkit.benchmarking.mteb_model import import_mteb
from alignkit.pairs.judged_texts import JudgedTexts, judged_texts
from alignkit.sentences.beir import CORPUS_FILE, QUERIES_FILE, fields_of_beir
from alignkit.sentences.text_fields import FieldRows

SUBSET = "default"
MAIN_SCORE = "ndcg_at_10"
# of queries that are no text of the corpus: many sets count both from 1, and equal ids mean equal texts to MTEB
QUERY_PREFIX = "query "
_ODD = re.compile(r"[^\w.-]+")


def folder_task(folder: str | Path, split: str = "test", document: str = "title+text") -> Any:
    """A task with its data loaded.

    A query that is a text of the corpus must not find it, unless it is judged relevant to itself; the others find any.

    Args:
        folder: see `read_beir`.
        split: likewise.
        document: likewise.

    Raises:
        DataError: see `judged_texts`.
        ConfigError: see `judged_texts`.
        MissingExtraError: without mteb.
    """
    mteb = import_mteb()
    place = Path(folder).expanduser()
    texts = judged_texts(place, split, document)

    class FolderTask(mteb.abstasks.AbsTaskRetrieval):  # type: ignore[name-defined]
        """The folder, under its own name."""

        ignore_identical_ids = True
        metadata = mteb.TaskMetadata(
            name=_name(mteb, place, split),
            description=f"A BEIR folder on the machine that ran it, searched by {document}.",
            type="Retrieval",
            category="t2t",
            eval_splits=[split],
            eval_langs=["und-Zyyy"],
            main_score=MAIN_SCORE,
            dataset={"path": place.resolve().name, "revision": _revision(place, split, document)},
        )
        notes = tuple(texts.notes)
        fields: tuple[FieldRows, ...] = fields_of_beir(place, document)

        data_loaded = True

        def load_data(self, *_: Any, **__: Any) -> None:
            """They are there."""

    task = FolderTask()
    task.dataset = {SUBSET: {split: _split_data(texts)}}
    return task


def query_key(key: str, texts: JudgedTexts) -> str:
    """How a query is called in the task: like the text of the corpus that it is and must not find."""
    return texts.itself.get(key, f"{QUERY_PREFIX}{key}")


def _split_data(texts: JudgedTexts) -> dict[str, Any]:
    from datasets import Dataset

    called = {key: query_key(key, texts) for key in texts.queries}
    relevant: dict[str, dict[str, int]] = {}
    for query, document, grade in texts.judgements:
        relevant.setdefault(called[query], {})[document] = grade
    return {
        "corpus": Dataset.from_dict({"id": list(texts.corpus), "text": list(texts.corpus.values())}),
        "queries": Dataset.from_dict({"id": list(called.values()), "text": list(texts.queries.values())}),
        "relevant_docs": relevant,
        "top_ranked": None,
    }


def _name(mteb: Any, folder: Path, split: str) -> str:
    """That of the folder; not that of a task of MTEB, whose results others would take these for."""
    name = _ODD.sub("-", folder.resolve().name).strip("-") or "folder"
    name = name if split == "test" else f"{name}-{split}"
    try:
        mteb.get_task(name)
    except KeyError:
        return name
    return f"{name}-here"


def _revision(folder: Path, split: str, document: str) -> str:
    """Of what is in the files, so that results of other data are not taken for these."""
    digest = hashlib.sha256(document.encode())
    for path in (folder / CORPUS_FILE, folder / QUERIES_FILE, folder / "qrels" / f"{split}.tsv"):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]
