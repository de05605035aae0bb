"""The table of a trained student: its rows, what it is held against, and what is said of it.

The two-layer student of the demo pack stands for a student that was trained, the static one for what it was before.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from measured_sets import ridge_of

from alignkit.artifact import Artifact
from alignkit.codes.kinds import parse_codes
from alignkit.errors import ArtifactError, DataError
from alignkit.evaluation.before import Before
from alignkit.evaluation.code_table import code_table
from alignkit.evaluation.comparison import compare
from alignkit.evaluation.embedding_time import EmbeddingTime, not_timed
from alignkit.evaluation.requirements import failed_requirements
from alignkit.evaluation.side_by_side import SideBySide
from alignkit.evaluation.student_record import product_of
from alignkit.evaluation.table_rows import HEAD_ALONE, TRAINED_STUDENT, RowName
from alignkit.reporting.metrics_file import rows_json
from alignkit.reporting.verdict_words import verdict_words


def test_each_row_is_what_its_own_student_gives(trained, demo_set, whitened, demo_baselines, before):
    assert [trained.label(name) for name in trained.rows] == [
        "teacher", "tuned", "tuned_plain", "tuned_both", "aligned", "aligned_plain", "student_tuned", "student",
        "cascade@30", "ridge", "raw", "mean",
    ]  # fmt: skip
    after, was = (
        compare(demo_set, whitened, demo_baselines),
        compare(before.test, before.artifact, {}),
    )
    same = {
        "tuned": after.rows["aligned"], "tuned_plain": after.rows["aligned_plain"],
        "tuned_both": after.rows["aligned_both"], "student_tuned": after.rows["student"],
        "cascade": after.rows["cascade"], "ridge": after.rows["ridge"], "student": was.rows["student"],
    }  # fmt: skip
    for name, row in same.items():
        assert trained.rows[name] == row, name
    # the centred cosine needs the training mean, which only the trained student's baselines hold here
    aligned, alone = trained.rows["aligned"].figures, was.rows["aligned"].figures
    assert {key: aligned[key] for key in aligned if key != "cosine_centered_mean"} == {
        key: alone[key] for key in alone if key != "cosine_centered_mean"
    }
    assert trained.rows["aligned"]["ndcg@10"] != trained.rows["tuned"]["ndcg@10"]


def test_the_verdict_is_of_the_product_and_the_gain_over_the_head_alone_is_paired(trained):
    evidence, differences = trained.verdict.evidence, trained.certainty.differences["ndcg@10"]
    assert trained.verdict.name == "use" and trained.product == TRAINED_STUDENT
    assert evidence.share == trained.certainty.shares["tuned"]
    assert list(differences) == ["aligned", "student_tuned", "student", "ridge", "teacher"]
    gain = trained.rows["tuned"]["ndcg@10"] - trained.rows["aligned"]["ndcg@10"]
    assert evidence.judged == "tuned" and evidence.over_head == differences["aligned"]
    assert evidence.over_head.value == pytest.approx(gain)
    assert evidence.over_head.low > 0
    # an unpaired interval would be as wide as both rows' together
    means = trained.certainty.means["ndcg@10"]
    assert evidence.over_head.high - evidence.over_head.low < sum(
        means[name].high - means[name].low for name in ("tuned", "aligned")
    )
    reasons = verdict_words(trained.verdict).reasons
    assert reasons[0].startswith("tuned keeps") and "tuned is better than the " in reasons[1]
    assert reasons[2].startswith(f"training the student: nDCG@10 {gain:+.3f} (95% interval +")
    assert reasons[2].endswith("over the head alone")
    metrics = trained.to_json()
    assert metrics["meta"]["differences"]["ndcg@10"]["tuned - aligned"]["value"] == pytest.approx(gain)
    assert metrics["meta"]["alarms"]["figures"]["effective_rank"].keys() == {"tuned", "teacher"}


def test_without_labels_plain_queries_are_held_against_plain_ones(demo_set, whitened, before):
    def bare(test):
        return dataclasses.replace(test, labels=None, groups=None)

    was = dataclasses.replace(before, test=bare(before.test))
    result = compare(bare(demo_set), whitened, before=was, resamples=200)
    found, evidence = {name: row["overlap@10"] for name, row in result.rows.items()}, result.verdict.evidence
    assert found["aligned"] < found["aligned_plain"] and evidence.measure == "overlap@10"
    tuned = max(found["tuned"], found["tuned_plain"])
    assert evidence.share.value == pytest.approx(tuned)
    assert evidence.over_head.value == pytest.approx(tuned - found["aligned_plain"])


def test_a_student_that_training_made_worse_is_told_so(demo_set, demo_artifact, whitened, before):
    worse = compare(before.test, before.artifact, before=Before(demo_set, whitened), resamples=200)
    assert worse.verdict.evidence.over_head.high < 0
    assert verdict_words(worse.verdict).reasons[-1].endswith("the head alone on the untouched student is better")
    same = compare(demo_set, demo_artifact, before=Before(demo_set, demo_artifact), resamples=200)
    assert same.verdict.evidence.over_head.value == 0
    assert verdict_words(same.verdict).reasons[-1].endswith("which could be chance")


@pytest.mark.parametrize("better", ["student_tuned", "student"])
def test_a_better_index_of_either_student_is_the_rival(make_retrieval, better):
    good, noisy = make_retrieval(), make_retrieval(student_noise=2.0)
    rough = {name: rough_head(test) for name, test in (("good", good), ("noisy", noisy))}
    sets = (good, noisy) if better == "student_tuned" else (noisy, good)
    heads = ("good", "noisy") if better == "student_tuned" else ("noisy", "good")
    result = compare(sets[0], rough[heads[0]], before=Before(sets[1], rough[heads[1]]), resamples=200)
    assert result.verdict.evidence.rival == better and result.verdict.name == "own_index"
    words = verdict_words(result.verdict)
    who = {"student_tuned": "the trained student's own index", "student": "the untouched student's own index"}[better]
    assert words.headline.startswith(f"Search with {who}") and any(who in reason for reason in words.reasons)


def rough_head(test):
    head = ridge_of(test.corpus.student, test.corpus.teacher)
    with torch.no_grad():
        weight = head.projection.weight
        noise = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
        weight.add_(noise * weight.std() * 0.8)
    return Artifact({"query_head": head})


def test_other_texts_or_another_student_are_refused(demo_set, demo_artifact, before):
    fewer = dataclasses.replace(
        before.test, itself=before.test.itself[:-1], labels=None, groups=None,
        queries=dataclasses.replace(
            before.test.queries, student=before.test.queries.student[:-1], teacher=before.test.queries.teacher[:-1],
            texts=before.test.queries.texts[:-1],
        ),
    )  # fmt: skip
    with pytest.raises(DataError, match="queries are 599 texts, the trained student's 600; embed the same"):
        compare(demo_set, demo_artifact, before=Before(fewer, before.artifact))
    turned = dataclasses.replace(before.test.corpus, texts=before.test.corpus.texts[::-1])
    with pytest.raises(DataError, match="corpus are different texts"):
        compare(
            demo_set, demo_artifact, before=Before(dataclasses.replace(before.test, corpus=turned), before.artifact)
        )
    with pytest.raises(ArtifactError, match="256-d"):
        compare(demo_set, demo_artifact, before=Before(before.test, demo_artifact))


def test_a_trained_student_whose_beginning_is_not_known_has_its_rows_all_the_same(demo_set, whitened, trained):
    saved = dataclasses.replace(whitened, metrics=rows_json(trained))  # as a run keeps it
    alone = compare(demo_set, saved, resamples=200)
    assert {"tuned", "tuned_plain", "tuned_both", "student_tuned"} < set(alone.rows)
    assert not {"aligned", "student"} & set(alone.rows)
    assert alone.rows["tuned"]["ndcg@10"] == trained.rows["tuned"]["ndcg@10"]
    assert alone.verdict.evidence.over_head is None
    assert "the trained student's own index" in verdict_words(alone.verdict).reasons[1]


@pytest.mark.parametrize("metrics", [{}, {"aligned": {"cosine_mean": 0.5}}, {"rows": None}, {"rows": ["aligned"]}])
def test_a_head_whose_student_was_not_trained_keeps_its_rows(metrics, demo_artifact):
    assert product_of(dataclasses.replace(demo_artifact, metrics=metrics)) == HEAD_ALONE


def test_requirements_are_of_the_product(trained):
    figure = trained.rows["tuned"]["overlap@10"]
    assert figure > trained.rows["aligned"]["overlap@10"]
    assert failed_requirements(trained, {"overlap@10": figure, "share_of_teacher": 0.9}) == []
    assert failed_requirements(trained, {"overlap@10": figure + 0.001}) != []


def fewer(test):
    """The same of its first texts, where no figure counts."""
    side = test.queries
    side = dataclasses.replace(side, student=side.student[:160], teacher=side.teacher[:160], texts=side.texts[:160])
    rest = {name: getattr(test, name)[:160] for name in ("itself", "labels", "groups")}
    return dataclasses.replace(test, queries=side, corpus=side, **rest)


@pytest.fixture(scope="module")
def few(demo_set):
    return fewer(demo_set)


@pytest.fixture(scope="module")
def few_before(before):
    return dataclasses.replace(before, test=fewer(before.test))


def test_both_students_are_timed(few, whitened, few_before):
    embedding = {"student": EmbeddingTime(2.0, "here"), "teacher": EmbeddingTime(None, "not timed: dear")}
    was = dataclasses.replace(few_before, embedding=EmbeddingTime(7.0, "here"))
    rows = compare(few, whitened, before=was, embedding=embedding, resamples=20).rows
    assert rows["tuned"].times.embed_ms == rows["student_tuned"].times.embed_ms == 2
    assert rows["aligned"].times.embed_ms == rows["student"].times.embed_ms == 7
    assert rows["aligned"].times.head_ms > 0 == rows["student"].times.head_ms
    unknown = compare(few, whitened, before=few_before, embedding=not_timed("so"), resamples=20).rows
    assert unknown["aligned"].times.total_ms is None and unknown["aligned"].times.search_ms > 0


def test_the_size_of_the_models_stands_beside_the_time(few, whitened, few_before):
    embedding = {"student": EmbeddingTime(2.0, "here", mb=20.0), "teacher": EmbeddingTime(None, "a server")}
    was = dataclasses.replace(few_before, embedding=EmbeddingTime(7.0, "here", mb=30.0))
    rows = compare(few, whitened, before=was, embedding=embedding, resamples=20).rows
    head = 4 * 385 * 384 / 1e6  # a matrix and a bias in float32
    assert rows["tuned"].times.models_mb == pytest.approx(20 + head)
    assert rows["student_tuned"].times.models_mb == 20 and rows["student"].times.models_mb == 30
    assert rows["aligned"].times.models_mb == pytest.approx(30 + 4 * 257 * 384 / 1e6)
    assert rows["cascade"].times.models_mb is None and "models_mb" not in rows["teacher"].to_json()
    alone = compare(few, whitened, embedding=embedding, resamples=20).rows
    assert all("models_mb" not in row.to_json() for row in alone.values())


def test_codes_and_the_demonstration_call_the_rows_by_their_names(demo_set, whitened):
    rows = code_table(demo_set, whitened.query_head, parse_codes("binary"), resamples=20, product=TRAINED_STUDENT)
    assert set(rows[0].found["overlap@10"]) == {"teacher", "tuned"} == set(rows[0].to_json()["overlap"])
    answer = SideBySide(demo_set, whitened.query_head, TRAINED_STUDENT).samples(1, 3, 0)[0]
    assert list(answer.hits) == ["student_tuned", "tuned", "teacher"]
    plain = SideBySide(demo_set, whitened.query_head).samples(1, 3, 0)[0]
    assert plain.hits[RowName.ALIGNED] == answer.hits[RowName.TUNED]


def test_people_s_scores_are_of_each_student(few, demo_artifact, few_before):
    from alignkit.pairs.evaluation_set import HumanScores

    first, second = np.arange(0, 40), np.arange(40, 80)
    teacher = few.queries.teacher
    scores = HumanScores(first, second, (teacher[first] * teacher[second]).sum(axis=1))
    after, was = (dataclasses.replace(one, human=scores) for one in (few, few_before.test))
    rows = compare(after, demo_artifact, before=Before(was, few_before.artifact), resamples=20).rows
    heads = ((after, demo_artifact), (was, few_before.artifact))
    apart = [compare(one, head, resamples=20).rows for one, head in heads]
    for name, row in {"tuned": apart[0]["aligned"], "tuned_both": apart[0]["aligned_both"],
                      "student_tuned": apart[0]["student"], "aligned": apart[1]["aligned"],
                      "student": apart[1]["student"]}.items():  # fmt: skip
        assert rows[name]["human_spearman"] == row["human_spearman"], name
