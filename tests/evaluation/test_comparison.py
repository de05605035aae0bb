"""The comparison on real vectors and on made ones: what must win, what must lose, what must be refused."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest
import torch

from alignkit.artifact import Artifact
from alignkit.errors import ArtifactError, DataError
from alignkit.evaluation.alarms import Alarm
from alignkit.evaluation.aligning import align
from alignkit.evaluation.comparison import compare
from alignkit.evaluation.embedding_time import EmbeddingTime
from alignkit.evaluation.query_times import query_times
from alignkit.evaluation.rankings import rank_all, rerank
from alignkit.evaluation.table_rows import RowName
from alignkit.evaluation.verdict import Rule
from alignkit.heads.linear import LinearHead
from alignkit.metrics.alignment import overlap_at_k
from alignkit.metrics.retrieval import Qrels
from alignkit.pairs.base import Origin, Pairs
from alignkit.pairs.evaluation_set import HumanScores, Side, sample_groups, set_of_pairs
from alignkit.reporting.remarks import alarms_of, notes_of
from alignkit.reporting.verdict_words import verdict_words
from alignkit.runs.training_sample import Unlike


@pytest.fixture
def demo(demo_result):
    return demo_result


def identity_head(width):
    head = LinearHead(width, width)
    with torch.no_grad():
        head.projection.weight.copy_(torch.eye(width))
        head.projection.bias.zero_()
    return head


def fitted(test, permutation=None):
    from alignkit.heads.streaming import TensorBatches

    order = slice(None) if permutation is None else permutation
    student, teacher = torch.tensor(test.corpus.student), torch.tensor(test.corpus.teacher[order])
    head = LinearHead(student.shape[1], teacher.shape[1])
    head.solve(TensorBatches(student, torch.nn.functional.normalize(teacher, dim=1)))
    return Artifact(parts={"query_head": head.requires_grad_(False)})


def test_rows_of_the_demo_pack(demo):
    assert [demo.label(name) for name in demo.rows] == [
        "teacher", "aligned", "aligned_both", "student", "cascade@30", "ridge", "raw", "mean"]  # fmt: skip
    rows = demo.rows
    assert rows["teacher"]["overlap@10"] == 1 and rows["teacher"]["cka"] == pytest.approx(1)
    assert rows["aligned"]["overlap@10"] == pytest.approx(0.709, abs=0.02)
    assert rows["raw"]["ndcg@10"] < 0.05 and rows["mean"]["ndcg@10"] < 0.05
    assert rows["student"]["ndcg@10"] < rows["aligned"]["ndcg@10"] < rows["cascade"]["ndcg@10"]
    assert rows["mean"]["cosine_mean"] > 0.2 and abs(rows["mean"]["cosine_centered_mean"]) < 0.02
    assert rows["student"]["cosine_mean"] is None and "cosine_mean" not in rows["student"].to_json()
    assert rows["aligned"] == rows["ridge"]


def test_figures_agree_with_the_training_reports(demo, demo_set, demo_head):
    overlap = overlap_at_k(align(demo_head, demo_set.queries.student), torch.from_numpy(demo_set.queries.teacher))
    assert demo.rows["aligned"]["overlap@10"] == pytest.approx(float(overlap.mean()), abs=1e-6)


def test_verdict_and_intervals_of_the_demo_pack(demo):
    assert demo.verdict.name == "use" and demo.measure == "ndcg@10"
    interval = demo.certainty.means["ndcg@10"]["aligned"]
    assert interval.low < interval.value < interval.high
    assert demo.certainty.differences["ndcg@10"]["student"].low > 0
    assert set(demo.certainty.differences["ndcg@10"]) == {"student", "ridge", "teacher"}
    assert demo.alarms == ()
    assert demo.verdict.evidence.floor_share < 0.1 and demo.verdict.evidence.floor_cascade_share < 0.2


def test_same_seed_same_figures(demo, demo_set, demo_artifact, demo_baselines):
    again = compare(demo_set, demo_artifact, demo_baselines)
    assert again.to_json() == demo.to_json() and again.failures == demo.failures


def test_a_head_of_shuffled_pairs_gets_do_not(demo_splits, demo_set, demo_artifact):
    generator = torch.Generator().manual_seed(0)
    train = demo_splits.train
    from alignkit.heads.streaming import TensorBatches

    shuffled = torch.tensor(train.teacher).float()[torch.randperm(len(train), generator=generator)]
    head = LinearHead(train.student_dim, train.teacher_dim)
    head.solve(TensorBatches(torch.tensor(train.student).float(), torch.nn.functional.normalize(shuffled, dim=1)))
    bad = dataclasses.replace(demo_artifact, parts={"query_head": head.requires_grad_(False)})
    assert compare(demo_set, bad).verdict.name == "do_not"


def test_the_teacher_as_its_own_student_gets_use(demo_splits, demo_set):
    test = demo_splits.test
    own = Pairs(test.ids, test.teacher, test.teacher, test.texts, test.labels)
    artifact = Artifact(parts={"query_head": identity_head(test.teacher_dim)})
    comparison = compare(set_of_pairs(own, dataclasses.replace(demo_splits.origin, student_identity=None)), artifact)
    assert comparison.verdict.name == "use"
    assert comparison.certainty.shares["aligned"].value == pytest.approx(1.0)


def test_a_student_with_a_better_space_of_its_own_gets_own_index(make_retrieval):
    # a teacher that is no better, and a head from few pairs in another order of things
    test = make_retrieval()
    rough = fitted(test)
    with torch.no_grad():
        weight = rough.head.projection.weight
        noise = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
        weight.add_(noise * weight.std() * 0.8)
    comparison = compare(test, rough)
    assert comparison.rows["student"]["ndcg@10"] > comparison.rows["aligned"]["ndcg@10"]
    assert comparison.verdict.name == "own_index"


def test_qrels_with_a_corpus_of_its_own(make_retrieval):
    test = make_retrieval()
    comparison = compare(test, fitted(test))
    assert comparison.measure == "ndcg@10"
    assert comparison.rows["teacher"]["recall@1"] > 0.9
    assert comparison.label(RowName.CASCADE) == "cascade@20"
    assert comparison.left_out == ("ridge", "mean")
    assert comparison.rows["aligned"]["cosine_centered_mean"] is None
    assert "ridge" not in comparison.rows


def test_a_document_head_serves_the_corpus_of_aligned_both(make_retrieval):
    test = make_retrieval()
    artifact = fitted(test)
    both = compare(test, artifact).rows["aligned_both"]
    blind = LinearHead(16, 24).requires_grad_(False)
    other = Artifact(parts={"query_head": artifact.head, "document_head": blind})
    assert compare(test, other).rows["aligned_both"]["ndcg@10"] < 0.5 * both["ndcg@10"]


def test_unlabelled_pairs_are_judged_by_overlap(make_pairs):
    pairs = make_pairs(80, seed=3)
    comparison = compare(set_of_pairs(pairs, Origin()), fitted(set_of_pairs(make_pairs(300), Origin())))
    assert comparison.measure == "overlap@10"
    assert "ndcg@10" not in comparison.rows["aligned"].figures
    assert comparison.rows["cascade"]["overlap@10"] == pytest.approx(comparison.rows["aligned"]["overlap@10"])


def test_likeness_scores_of_people(make_retrieval):
    test = make_retrieval(itself=None)
    side = test.corpus
    generator = np.random.default_rng(0)
    first, second = generator.integers(0, len(side), (2, 150))
    unit = side.teacher / np.linalg.norm(side.teacher, axis=1, keepdims=True)
    scores = (unit[first] * unit[second]).sum(axis=1) ** 3
    scored = dataclasses.replace(
        test, queries=side, itself=np.arange(len(side)), qrels=None, human=HumanScores(first, second, scores)
    )
    rows = compare(scored, fitted(test)).rows
    assert rows["teacher"]["human_spearman"] == pytest.approx(1, abs=1e-6)
    assert rows["aligned"]["human_spearman"] > 0.9 > rows["raw"]["human_spearman"]
    assert rows["cascade"]["human_spearman"] is None


def test_rerank_is_the_teachers_order_of_the_candidates(demo_set, demo_head):
    unit = torch.from_numpy(demo_set.queries.teacher)
    aligned = torch.nn.functional.normalize(align(demo_head, demo_set.queries.student), dim=1)
    first = rank_all(demo_set, {RowName.ALIGNED: aligned}, demo_head)[RowName.ALIGNED]
    teacher = demo_set.queries.teacher, demo_set.corpus.teacher
    found = rerank({RowName.ALIGNED: first}, *teacher, 30)[RowName.ALIGNED]
    for query in (0, 17, 599):
        candidates = first.rows[query, :30]
        scores = (unit[candidates] @ unit[query]).numpy()
        assert set(found.rows[query]) == set(candidates)
        np.testing.assert_allclose(found.scores[query], -np.sort(-scores), atol=1e-6)


def test_refuses_vectors_of_another_width_or_model(demo_set, demo_artifact):
    narrow = dataclasses.replace(
        demo_set, queries=Side(demo_set.queries.student[:, :256], demo_set.queries.teacher, demo_set.queries.texts)
    )
    with pytest.raises(ArtifactError, match="student vectors are 256-d .*expects 384-d"):
        compare(narrow, demo_artifact)
    other = dataclasses.replace(
        demo_set,
        origin=dataclasses.replace(
            demo_set.origin, teacher_identity={"backend": "ollama", "model": "bge-m3", "prompt": ""}
        ),
    )
    with pytest.raises(ArtifactError, match="teacher vectors are by bge-m3, this head was trained with all-MiniLM"):
        compare(other, demo_artifact)


def test_a_query_prompt_is_no_other_model(demo_set, demo_artifact):
    prompted = {**demo_set.origin.student_identity, "prompt": "query: "}
    test = dataclasses.replace(demo_set, origin=dataclasses.replace(demo_set.origin, student_identity=prompted))
    assert compare(test, demo_artifact, resamples=10).verdict.name


def test_refuses_a_head_that_gives_nan(make_retrieval):
    head = LinearHead(16, 24)
    with torch.no_grad():
        head.projection.weight.fill_(float("nan"))
    with pytest.raises(ArtifactError, match="NaN or Inf for 120 of 120 queries"):
        compare(make_retrieval(), Artifact(parts={"query_head": head}))


def test_a_constant_head_raises_alarms(demo_set, demo_splits, demo_baselines):
    artifact = Artifact(parts={"query_head": demo_baselines["mean"]})
    comparison = compare(demo_set, artifact, resamples=50)
    assert {Alarm.CONSTANT, Alarm.COLLAPSED, Alarm.NARROW} <= set(comparison.alarms)
    assert comparison.verdict.name == "do_not"


def test_an_empty_corpus_is_refused(make_retrieval):
    nothing = Side(np.zeros((0, 16), np.float32), np.zeros((0, 24), np.float32), [])
    with pytest.raises(DataError, match="the corpus is empty"):
        make_retrieval(corpus=5, **{"qrels": None}).__class__(
            queries=make_retrieval().queries, corpus=nothing, itself=np.full(120, -1)
        )


def test_a_corpus_smaller_than_ten_is_measured_and_doubted(make_retrieval):
    test = make_retrieval(queries=40, corpus=6)
    comparison = compare(test, fitted(test), resamples=50)
    assert comparison.verdict.name == "too_little_data"
    assert comparison.rows["aligned"]["recall@10"] == 1.0


def test_labels_that_never_repeat_judge_nothing(make_pairs):
    pairs = make_pairs(60)
    named = Pairs(pairs.ids, pairs.student, pairs.teacher, labels=[str(row) for row in range(60)])
    assert set_of_pairs(named, Origin()).labels is None


def test_a_large_set_is_sampled_and_says_so(demo_splits, make_pairs):
    test = set_of_pairs(demo_splits.test, demo_splits.origin, most=100, seed=1)
    assert len(test.queries) == 100
    assert "a seeded sample of 100 of the 600 sentences, equal labels together" in test.origin.notes
    assert set(Counter(test.labels).values()) == {4}
    plain = set_of_pairs(make_pairs(60), Origin(), most=20)
    assert "a seeded sample of 20 of the 60 sentences" in plain.origin.notes


def test_a_sample_keeps_groups_whole_and_thins_those_that_are_too_large():
    pairs = [str(row // 2) for row in range(6000)]
    rows = sample_groups(pairs, 1001, seed=3)
    assert len(rows) == 1000 and set(Counter(row // 2 for row in rows.tolist()).values()) == {2}
    assert rows.tolist() == sample_groups(pairs, 1001, seed=3).tolist() != sample_groups(pairs, 1001, 4).tolist()
    topics = [str(row % 15) for row in range(6000)]
    sizes = Counter(topics[row] for row in sample_groups(topics, 1000, seed=0).tolist())
    assert len(sizes) == 15 and set(sizes.values()) == {1000 // 15}
    assert sample_groups(["one"] * 30, 20, 0).tolist() != list(range(20))


def labelled(pairs, labels, **fields):
    return Pairs(pairs.ids, pairs.student, pairs.teacher, labels=labels, **fields)


def test_intervals_are_over_groups_of_one_label(demo, make_pairs):
    assert demo.verdict.evidence.queries == 600 and demo.verdict.evidence.groups == 150
    assert any("600 queries in 150 groups of one label" in note for note in notes_of(demo))
    pairs = make_pairs(200, seed=3)
    twice = labelled(pairs, [str(row // 2) for row in range(200)])
    alone = dataclasses.replace(set_of_pairs(twice, Origin()), labels=None)
    artifact = fitted(set_of_pairs(make_pairs(300), Origin()))
    own, together = compare(alone, artifact), compare(set_of_pairs(twice, Origin()), artifact)
    assert own.verdict.evidence.groups == 200 and together.verdict.evidence.groups == 100
    assert own.rows["aligned"]["overlap@10"] == together.rows["aligned"]["overlap@10"]
    assert own.certainty.means["overlap@10"] != together.certainty.means["overlap@10"]
    assert "groups of one label" not in " ".join(notes_of(own))


def test_many_queries_in_few_groups_are_too_little_data(make_pairs):
    pairs = labelled(make_pairs(200, seed=3), [str(row % 9) for row in range(200)])
    comparison = compare(set_of_pairs(pairs, Origin()), fitted(set_of_pairs(make_pairs(300), Origin())), resamples=50)
    assert comparison.verdict.name == "too_little_data" and comparison.verdict.rule is Rule.FEW_GROUPS


def test_overlap_decides_where_few_labels_repeat(make_pairs):
    names = [str(row) for row in range(190)] + ["0", "1", "2", "3", "4"] * 2
    pairs = labelled(make_pairs(200, seed=3), names)
    test = set_of_pairs(pairs, Origin())
    assert "185 of 200 sentences are the only ones with their label" in " ".join(test.origin.notes)
    comparison = compare(test, fitted(set_of_pairs(make_pairs(300), Origin())))
    assert comparison.measure == "overlap@10" and comparison.verdict.name == "use"
    assert comparison.rows["aligned"]["ndcg@10"] is not None
    assert "only 15 of 200 queries, in 5 groups, have something" in " ".join(notes_of(comparison))
    few = set_of_pairs(labelled(make_pairs(20), ["a", "a", *map(str, range(18))]), Origin())
    assert compare(few, fitted(test), resamples=20).measure == "ndcg@10"


def test_a_cascade_that_cannot_differ_is_no_way_out(make_pairs):
    artifact = fitted(set_of_pairs(make_pairs(300), Origin()))
    with torch.no_grad():
        weight = artifact.head.projection.weight
        weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)) * weight.std() * 0.5)
    comparison = compare(set_of_pairs(make_pairs(200, seed=3), Origin()), artifact)
    assert "cascade@10 puts the first ten hits of aligned in another order" in " ".join(notes_of(comparison))
    assert comparison.verdict.rule not in (Rule.CASCADE_REACHES, Rule.CASCADE_FALLS_SHORT)
    large = compare(set_of_pairs(make_pairs(240, seed=3), Origin()), artifact)
    assert large.label(RowName.CASCADE) == "cascade@12" and "another order" not in " ".join(notes_of(large))


def test_the_length_of_the_teachers_vectors_says_nothing(demo_set, demo_artifact, demo):
    lengths = np.random.default_rng(0).uniform(20, 60, (len(demo_set.queries), 1)).astype(np.float32)
    side = dataclasses.replace(demo_set.queries, teacher=demo_set.queries.teacher.astype(np.float32) * lengths)
    longer = compare(dataclasses.replace(demo_set, queries=side, corpus=side), demo_artifact, resamples=50)
    assert longer.rows["teacher"]["r2"] == pytest.approx(1)
    assert longer.rows["aligned"]["r2"] == pytest.approx(demo.rows["aligned"]["r2"], abs=1e-3)
    assert longer.alarms == ()


def test_a_short_head_is_not_collapsed(demo_set, demo_artifact, demo):
    head = LinearHead(384, 384)
    with torch.no_grad():
        head.projection.weight.copy_(demo_artifact.head.projection.weight * 0.001)
        head.projection.bias.copy_(demo_artifact.head.projection.bias * 0.001)
    short = compare(demo_set, dataclasses.replace(demo_artifact, parts={"query_head": head}), resamples=50)
    assert short.alarms == ()


def test_a_teacher_that_finds_nothing_is_the_reason(make_retrieval):
    test = make_retrieval()
    unit = [side.teacher / np.linalg.norm(side.teacher, axis=1, keepdims=True) for side in (test.queries, test.corpus)]
    farthest = (unit[0] @ unit[1].T).argmin(axis=1)
    hidden = dataclasses.replace(test, qrels=Qrels.of(range(120), farthest, [1] * 120, (120, 400)))
    comparison = compare(hidden, fitted(test), resamples=50)
    assert comparison.verdict.name == "too_little_data"
    assert comparison.verdict.rule is Rule.TEACHER_FINDS_NOTHING


def test_queries_seen_in_training_raise_an_alarm_and_many_decide(demo_set, demo_artifact, demo):
    assert demo.to_json()["meta"]["seen_in_training"] is None
    some = compare(demo_set, demo_artifact, resamples=50, seen=30)
    assert some.alarms == (Alarm.SEEN,) and "trained on 30 of the 600 queries" in alarms_of(some)[0]
    assert some.verdict.name == "use" and some.to_json()["meta"]["seen_in_training"] == 30
    many = compare(demo_set, demo_artifact, resamples=50, seen=31)
    assert many.verdict.name == "too_little_data" and many.verdict.rule is Rule.SEEN_IN_TRAINING


def test_groups_for_the_table_are_not_what_is_relevant(make_pairs):
    domains = [str(row % 3) for row in range(80)]
    test = set_of_pairs(labelled(make_pairs(80), [str(row // 2) for row in range(80)], groups=domains), Origin())
    assert list(test.groups) == domains and test.labels[:3] == ["0", "0", "1"]
    one = labelled(make_pairs(80), [str(row // 2) for row in range(80)], groups=["all"] * 80)
    assert set_of_pairs(one, Origin()).groups is None
    with pytest.raises(DataError):
        labelled(make_pairs(80), None, groups=domains[:5])


def test_a_teacher_that_its_student_beats_is_not_worth_keeping(make_retrieval):
    test = make_retrieval(queries=200)
    generator = np.random.default_rng(3)

    def noisy(side):
        noise = 12 * generator.normal(size=side.teacher.shape).astype(np.float32)
        return dataclasses.replace(side, teacher=side.teacher + noise)

    poor = dataclasses.replace(test, queries=noisy(test.queries), corpus=noisy(test.corpus))
    comparison = compare(poor, fitted(poor), resamples=200)
    rows = comparison.rows
    assert rows["teacher"]["ndcg@10"] < rows["student"]["ndcg@10"] - 0.2
    assert comparison.verdict.name == "teacher_is_worse"
    reason = verdict_words(comparison.verdict).reasons[0]
    assert f"{rows['student']['ndcg@10']:.3f}" in reason and f"{rows['teacher']['ndcg@10']:.3f}" in reason


def test_texts_unlike_training_are_said_once(demo_set, demo_artifact, demo_baselines, demo_splits):
    far = Unlike(0.31, 0.62)
    told = compare(demo_set, demo_artifact, demo_baselines, resamples=200, unlike=far)
    assert told.alarms == (Alarm.UNLIKE,)
    assert "is 0.31 in the student's space, and 0.62" in alarms_of(told)[0] and "expect less" in alarms_of(told)[0]
    blind = dataclasses.replace(demo_artifact, parts={"query_head": demo_baselines["mean"]})
    broken = compare(demo_set, blind, demo_baselines, resamples=200, unlike=far)
    assert broken.verdict.rule is Rule.BROKEN and Alarm.UNLIKE not in broken.alarms
    assert "probably because these texts are unlike" in verdict_words(broken.verdict).reasons[0]


def test_times_are_taken_where_the_models_were_timed(make_retrieval):
    test = make_retrieval()
    embedding = {"student": EmbeddingTime(2.0, "here"), "teacher": EmbeddingTime(None, "not timed: dear")}
    rows = compare(test, fitted(test), resamples=20, embedding=embedding).rows
    assert rows["aligned"].times.total_ms > 2 and rows["aligned_both"].times == rows["aligned"].times
    assert rows["cascade"].times.total_ms is None and rows["teacher"].times.embed_ms is None
    assert rows["student"].times.head_ms == 0 and rows["student"].times.search_ms > 0
    assert compare(test, fitted(test), resamples=20).rows["aligned"].times is None


def test_the_head_without_its_whitening_takes_as_long(make_retrieval):
    test = make_retrieval()
    times = query_times(test, {RowName.ALIGNED: fitted(test).query_head}, {"student": 2.0})
    assert times[RowName.ALIGNED_PLAIN] == times[RowName.ALIGNED] and times[RowName.ALIGNED].total_ms > 2
