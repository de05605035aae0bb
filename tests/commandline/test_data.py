"""The data of a command: what its vector cache lacks, with the command that gets it, however the models were named."""

import pytest
from small_embedder import SmallEmbedder

from alignkit.cache import VectorCache
from alignkit.commandline.conf import yaml_of
from alignkit.commandline.data import build_data
from alignkit.errors import CacheError
from alignkit.sentences.sentence_files import read_sentences


@pytest.fixture
def settings(tmp_path):
    """Settings of `train` on sentences of a file, the teacher behind a server that is never asked."""
    path = tmp_path / "my questions.csv"
    path.write_text("question\n" + "\n".join(f"Where is number {number}?" for number in range(30)), encoding="utf-8")
    teacher = yaml_of("embedder", "ollama") | {"model": "big", "base_url": "http://127.0.0.1:9"}
    data = yaml_of("data", "cached") | {
        "path": str(path), "cache_dir": str(tmp_path / "cache"), "text_column": "question", "role": "query",
        "student": yaml_of("embedder", "static"), "teacher": teacher, "seed": 0,
    }  # fmt: skip
    return {"data": data}


def test_missing_vectors_come_with_the_command_that_gets_them(settings, tmp_path):
    with pytest.raises(CacheError) as caught:
        build_data(settings)
    cache = tmp_path / "cache"
    assert str(caught.value).replace("'", "").replace('"', "") == (
        f"30 of 30 sentences have no teacher vector in {cache}; get them with: python -m alignkit.embed which=teacher "
        f"sentences={tmp_path / 'my questions.csv'} cache_dir={cache} teacher=ollama teacher.model=big "
        "teacher.base_url=http://127.0.0.1:9 text_column=question role=query"
    )


class Refusing(SmallEmbedder):
    """Gives no vector for some of the texts."""

    def __init__(self, refused):
        super().__init__()
        self.refused = refused

    def settings(self, role="document"):
        return {"backend": "refusing"}

    identity = settings

    def embed(self, texts, role="document"):
        for batch in super().embed([text for text in texts if text not in self.refused]):
            kept = [place for place, text in enumerate(texts) if text not in self.refused]
            failures = dict.fromkeys(set(range(len(texts))) - set(kept), "NaN")
            yield type(batch)(batch.indices * 0 + kept, batch.vectors, failures)


@pytest.mark.parametrize("refused", [2, 30])
def test_texts_that_a_model_refused_come_with_the_command_that_asks_again(settings, monkeypatch, caplog, refused):
    data = settings["data"]
    texts = [sentence.text for sentence in read_sentences(data["path"], "question")]
    teacher = Refusing(texts[:refused])
    with VectorCache(data["cache_dir"]) as cache:
        cache.fill(teacher, ["another"], "query")
        cache.fill(teacher, texts, "query")
    monkeypatch.setattr("alignkit.embedders.ollama.OllamaEmbedder", lambda **own: teacher)
    monkeypatch.setattr("alignkit.embedders.static.StaticEmbedder", lambda **own: SmallEmbedder("student"))
    if refused == len(texts):
        with pytest.raises(CacheError) as caught:
            build_data(settings)
        said = str(caught.value)
        assert "no vector for any of 30 sentences when it was asked (NaN); once that is mended, try them " in said
    else:
        assert len(build_data(settings).train) == 22
        said = caplog.text
        assert "2 sentences are left out: the teacher gave no vector for them (NaN)" in said
    assert "python -m alignkit.embed which=teacher " in said and "role=query retry_quarantined=true" in said


def test_a_set_that_was_built_names_its_sentences(tmp_path, run_command):
    assert run_command("build", "target=30", "out=made")[0] == 0
    code, _, err = run_command("train", "data=built", "data.path=made", "student=static")
    assert code == 1 and "which=teacher sentences=" in err and "sentences.txt cache_dir=cache teacher=minilm" in err
