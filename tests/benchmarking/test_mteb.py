"""The real MTEB on small tasks: its files, its figures, and ours beside them. In two tests: it takes long to import."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from small_embedder import SmallEmbedder

import alignkit
from alignkit.aligned import AlignedEmbedder
from alignkit.artifact import Artifact
from alignkit.benchmarking.mteb_model import model_alone, model_of_head
from alignkit.benchmarking.task_runs import run_benchmark
from alignkit.benchmarking.tasks import tasks_named
from alignkit.errors import ArtifactError, ConfigError, DataError
from alignkit.evaluation.comparison import compare
from alignkit.evaluation.table_rows import RowName
from alignkit.heads.linear import LinearHead
from alignkit.pairs.beir_folder import BeirFolder
from alignkit.reporting.benchmark_page import write_benchmark

WORDS = "card pay lost order late parcel refund login reset plan team move".split()


class Words(SmallEmbedder):
    """Sums of word vectors, so that texts with common words are alike."""

    def _vector(self, text):
        return sum((super(Words, self)._vector(word) for word in text.split()), np.zeros(self.dim))


def text_of(seed, words=4):
    return " ".join(np.random.default_rng(seed).choice(WORDS, words))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """60 queries and 80 documents; both count from 1, document 80 is blank, and query 60 is document 60 itself."""
    folder = tmp_path_factory.mktemp("tasks") / "faq"
    (folder / "qrels").mkdir(parents=True)
    corpus = [{"_id": str(n), "title": text_of(n), "text": text_of(n + 500)} for n in range(1, 80)]
    corpus.append({"_id": "80", "title": "", "text": " "})
    queries = [
        {"_id": str(n), "text": f"{text_of(n, 3)} {n}", "team": "crm" if n <= 30 else "ops"} for n in range(1, 61)
    ]
    queries[-1]["text"] = f"{corpus[59]['title']} {corpus[59]['text']}"
    judged = [(n, n + 1, 1 + n % 2) for n in range(1, 61)] + [(n, n + 10, 1) for n in range(1, 21)]
    for name, rows in (("corpus", corpus), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    lines = ["query-id\tcorpus-id\tscore", *("\t".join(map(str, row)) for row in judged)]
    (folder / "qrels" / "test.tsv").write_text("\n".join(lines), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def models():
    student, teacher = Words("small", 12), Words("large", 16)
    torch.manual_seed(0)
    identities = student.identity(), teacher.identity()
    artifact = Artifact({"query_head": LinearHead(12, 16).eval().requires_grad_(False)}, *identities)
    return student, teacher, artifact


def own_tasks():
    """A task of likeness and one of classes, as MTEB's own are once their data are there."""
    import mteb
    from datasets import Dataset, DatasetDict

    def described(name, kind, score):
        data = {"path": "none", "revision": "1"}
        told = {"name": name, "description": name, "type": kind, "main_score": score, "dataset": data}
        return mteb.TaskMetadata(**told, eval_splits=["test"], eval_langs=["eng-Latn"])

    class Likeness(mteb.abstasks.AbsTaskSTS):
        metadata = described("Likeness", "STS", "cosine_spearman")

    class Classes(mteb.abstasks.AbsTaskClassification):
        metadata = described("Classes", "Classification", "accuracy")
        n_experiments = 3

    likeness, classes = Likeness(), Classes()
    first, second = ([text_of(n + more) for n in range(40)] for more in (0, 90))
    scores = [1.25 * len({*one.split()} & {*other.split()}) for one, other in zip(first, second, strict=True)]
    pairs = {"sentence1": first, "sentence2": second, "score": scores}
    likeness.dataset = {"default": DatasetDict({"test": Dataset.from_dict(pairs)})}
    texts = [f"{text_of(n, 3)} {('card', 'plan')[n % 2]}" for n in range(120)]
    parts = {"train": slice(80), "test": slice(80, 120)}
    labels = [n % 2 for n in range(120)]
    rows = {name: Dataset.from_dict({"text": texts[at], "label": labels[at]}) for name, at in parts.items()}
    classes.dataset = {"default": DatasetDict(rows)}
    likeness.data_loaded = classes.data_loaded = True
    return likeness, classes


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning", "ignore:.*:FutureWarning")
def test_scores_are_mtebs_files_and_ours_beside_them(folder, models, tmp_path):
    import mteb

    student, teacher, artifact = models
    aligned = AlignedEmbedder(artifact, student)
    rows = {
        RowName.TEACHER: model_alone(teacher),
        RowName.ALIGNED: model_of_head(aligned, teacher, "my-org/my-head"),
        RowName.ALIGNED_BOTH: model_of_head(aligned, None),
        RowName.STUDENT: model_alone(student),
    }
    tasks = [*tasks_named([str(folder)]), *own_tasks()]
    found = run_benchmark(tasks, rows, tmp_path, head="run", group_by="team", resamples=100)
    faq, likeness, classes = found.tasks

    # the files, read back by MTEB's own loader
    read = mteb.ResultCache(tmp_path).load_results()
    names = {"small/large", "small/small", "my-org/my-head", "alignkit/small-to-large-both"}
    assert {one.model_name for one in read.model_results} == names
    for model in read.model_results:
        (row,) = (name for name, ran in found.models.items() if ran.name == model.model_name)
        assert model.model_revision == found.models[row].revision
        assert {one.task_name for one in model.task_results} == {"faq", "Likeness", "Classes"}
        for result in model.task_results:
            task = next(one for one in found.tasks if one.name == result.task_name)
            assert result.get_score() == pytest.approx(task.rows[row].value, abs=1e-5)
    ran = found.models[RowName.ALIGNED]
    assert (tmp_path / "results" / "my-org__my-head" / ran.revision / "faq.json").is_file()
    assert json.loads((tmp_path / "results" / ran.folder / "model_meta.json").read_text())["embed_dim"] == 16
    assert not [*tmp_path.glob("predictions-*")]

    # the folder's figures are those of `evaluate`: equal ids are no equal texts, and a text does not find itself
    test = BeirFolder(str(folder), cache_dir=str(tmp_path / "cache")).embed(student, teacher)
    result = compare(test, artifact, resamples=20)
    for row, score in faq.rows.items():
        assert score.value == pytest.approx(result.rows[row]["ndcg@10"], abs=2e-5), row

    # intervals: each score is in its own; shares are of the teacher's
    for task, units, called in ((faq, 60, "queries"), (likeness, 40, "pairs"), (classes, 40, "texts")):
        assert (task.units, task.called) == (units, called)
        for row, score in task.rows.items():
            assert score.interval.low <= score.value <= score.interval.high
            if row != RowName.TEACHER:
                assert score.share.value == pytest.approx(score.value / task.rows[RowName.TEACHER].value)
    mean = found.mean[RowName.STUDENT]
    assert mean.value == pytest.approx(np.mean([task.rows[RowName.STUDENT].value for task in found.tasks]))
    assert mean.interval.low < mean.value < mean.interval.high and mean.share is not None

    # groups, and what was left out
    assert faq.grouped_by == "team"
    assert {(group.name, group.queries) for group in faq.groups} == {("crm", 30), ("ops", 30)}
    means = [group.product for group in faq.groups]
    assert np.mean(means) == pytest.approx(faq.rows[RowName.ALIGNED].value, abs=2e-5)
    assert any("1 texts have no vector, and are found last" in note for note in faq.notes)
    assert any("only folders on this machine have fields" in note for note in likeness.notes)

    write_benchmark(found, tmp_path)
    told = json.loads((tmp_path / "benchmark.json").read_text(encoding="utf-8"))
    assert told["tasks"][0]["groups"][0]["interval"] and told["mean"]["aligned"]["share"]
    share = f"{faq.rows[RowName.ALIGNED].share.value:.1%}"
    for name in ("benchmark_report.md", "report.html"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert share in text and "my-org/my-head" in text and "Worst groups first" in text and "crm" in text


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning", "ignore:.*:FutureWarning")
def test_a_head_in_the_hands_of_those_who_drive_mteb(folder, models, tmp_path):
    import mteb

    student, teacher, artifact = models
    aligned = AlignedEmbedder(artifact, student)
    model = alignkit.mteb_model(aligned, teacher=teacher)
    assert isinstance(model, mteb.models.EncoderProtocol) and model.mteb_model_meta.name == "alignkit/small-to-large"
    (task,) = tasks_named([str(folder)])
    asked = len(teacher.asked)
    result = mteb.evaluate(model, task, cache=None, show_progress_bar=False, co2_tracker=False)
    assert 0 < result.task_results[0].get_score() < 1
    # documents alone
    assert {*teacher.asked[asked:]} == {text.strip() for text in task.dataset["default"]["test"]["corpus"]["text"]}
    other = AlignedEmbedder(Artifact(artifact.parts, student.identity(), {"backend": "small", "model": "x"}), student)
    with pytest.raises(ArtifactError, match="another teacher"):
        alignkit.mteb_model(other, teacher=teacher)
    with pytest.raises(ArtifactError, match="gives 12-d vectors, this head makes 16-d"):
        alignkit.mteb_model(aligned, teacher=student)
    with pytest.raises(ConfigError, match="expected organisation/model"):
        alignkit.mteb_model(aligned, name="no-maker")
    assert model.revision != alignkit.mteb_model(aligned).revision

    # groups that cannot be made are said before a model is asked for anything: no query has a value in the field
    lines = (folder / "corpus.jsonl").read_text(encoding="utf-8").splitlines()
    lines.append(json.dumps({"_id": "x", "text": "judged by nobody", "topic": "rare"}))
    rare = shutil.copytree(folder, tmp_path / "rare")
    (rare / "corpus.jsonl").write_text("\n".join(lines), encoding="utf-8")
    asked = len(teacher.asked)
    with pytest.raises(DataError, match="group_by=topic: none of the 60 queries has a value in corpus.jsonl"):
        run_benchmark(tasks_named([str(rare)]), {RowName.ALIGNED: model}, tmp_path, head="run", group_by="topic")
    with pytest.raises(ConfigError, match="group_by=nope: no text has a value in such a field"):
        run_benchmark([task], {RowName.ALIGNED: model}, tmp_path, head="run", group_by="nope")
    assert len(teacher.asked) == asked

    # one query: a score, and no interval of no width; without the teacher groups are ordered by their figures
    lines = (rare / "qrels" / "test.tsv").read_text(encoding="utf-8").splitlines()
    (rare / "qrels" / "test.tsv").write_text("\n".join(lines[:2]), encoding="utf-8")
    few = run_benchmark(tasks_named([str(rare)]), {RowName.ALIGNED: model}, tmp_path, head="run", group_by="team")
    (few_queries,) = few.tasks
    assert few_queries.units == 1 and few_queries.rows[RowName.ALIGNED].interval is None
    assert "no intervals: 1 are too few, expected at least 30" in few_queries.notes
    write_benchmark(few, tmp_path)
    assert "the lowest first" in (tmp_path / "benchmark_report.md").read_text(encoding="utf-8")

    # names that are none, and a Hub that cannot be reached
    with pytest.raises(ConfigError, match="NFCorpos is neither a task of MTEB nor a folder; did you mean NFCorpus"):
        tasks_named(["NFCorpos"])
    with pytest.raises(ConfigError, match="two are called faq"):
        tasks_named([str(folder), str(folder)])
    with pytest.raises(DataError, match="there is no folder"):
        tasks_named([str(tmp_path / "none")])
    with pytest.raises(DataError, match="STSBenchmark: its data cannot be had from the Hugging Face Hub .*=.FOLDER"):
        tasks_named(["STSBenchmark"])
    with pytest.raises(ConfigError, match="is about image"):
        tasks_named(["CIFAR10"])
