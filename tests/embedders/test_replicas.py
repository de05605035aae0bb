"""Against replicas of real servers beside the checkout, fault by fault; skipped where they are not there."""

import functools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from collecting import collect
from ports import quiet_port
from waiting import answers, post, until

from alignkit.cache import VectorCache
from alignkit.cache.watching import ModelChangedError
from alignkit.checking.embedding import cosines
from alignkit.embedders.base import embed_all
from alignkit.embedders.ollama import OllamaEmbedder
from alignkit.embedders.openai import OpenAIEmbedder
from alignkit.errors import EmbedderError

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases"
TEXTS = [f"sentence number {number} about something" for number in range(60)]

pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="needs the replicas of servers beside the checkout")


VERSIONS = pytest.mark.parametrize("version", ["0.24.0", "0.32.15"])


@pytest.fixture(scope="module")
def start():
    """Gives the address of a replica; those of the same words are one, for what leaves no trace in it."""
    running = []

    @functools.cache
    def begin(script, *arguments):
        port = quiet_port()
        running.append(subprocess.Popen([sys.executable, str(CASES / script), str(port), *arguments]))
        url = f"http://127.0.0.1:{port}"
        until(lambda: answers(url), running[-1])
        return url

    yield begin
    for process in running:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def ollama(start):
    """Of the newest version: where a test takes both, they answer differently."""
    return start("fake_ollama.py", "0.32.15")


def quick(make, *arguments, **settings):
    return make(*arguments, retry_wait_s=0.01, **settings)


@pytest.mark.parametrize("mode", ["all_zero", "all_null", "all_nan"])
def test_useless_answers_quarantine_nothing(start, tmp_path, mode):
    bad = quick(OpenAIEmbedder, "m", f"{start('fake_server.py', mode)}/v1")
    with VectorCache(tmp_path) as cache:
        with pytest.raises(EmbedderError, match="no usable vector for any text"):
            cache.fill(bad, TEXTS)
        assert not any(model.rows or model.quarantined for model in cache.identities())
    bad.close()


@pytest.mark.parametrize(
    ("mode", "end", "words"),
    [
        (
            "only_v1",
            "",
            r"Unexpected endpoint or method. \(POST /embeddings\); .*set base_url=http://127.0.0.1:\d+/v1$",
        ),
        ("per_token", "", r"got a list; .*set base_url=http://127.0.0.1:\d+/v1$"),
        ("error_200", "/v1", r"HTTP 200 with an error: No models loaded. Please load a model"),
        ("index_0", "/v1", r"embeddings are not numbered .*set batch_size=1$"),
    ],
)
def test_what_will_not_change_fails_at_once(start, waits, mode, end, words):
    embedder = OpenAIEmbedder("m", f"{start('fake_server.py', mode)}{end}")
    with pytest.raises(EmbedderError, match=words):
        collect(embedder, TEXTS)
    assert not waits
    embedder.close()


@pytest.mark.parametrize(
    ("mode", "end"), [("only_v1", "/v1"), ("per_token", "/v1"), ("redirect", "/v1"), ("redirect", "")]
)
def test_what_is_right_works(start, mode, end):
    embedder = OpenAIEmbedder("m", f"{start('fake_server.py', mode)}{end}")
    vectors, failures = collect(embedder, TEXTS)
    assert len(vectors) == len(TEXTS) and not failures
    embedder.close()


class TestOllama:
    @VERSIONS
    def test_blank_texts_are_named_and_never_sent(self, start, version):
        """Alone and between others; the real ones answer 200, 400 or 500 to them, by model and version."""
        url = start("fake_ollama.py", version)
        models = ["minilm"] if version == "0.32.15" else ["minilm", "smol"]
        for model in models:
            for make, end in ((OllamaEmbedder, ""), (OpenAIEmbedder, "/v1")):
                embedder = quick(make, model, f"{url}{end}")
                vectors, failures = collect(embedder, ["a", "", "b", " \n", "\u200b"])
                assert vectors.keys() == {0, 2}
                assert failures == dict.fromkeys((1, 3, 4), "the text is empty or blank")
                embedder.close()

    def test_a_runner_that_dies_again_and_again_costs_nothing(self, start, tmp_path):
        embedder = quick(OllamaEmbedder, "minilm", start("fake_ollama.py", "die_every=3"), batch_size=4)
        with VectorCache(tmp_path) as cache:
            report = cache.fill(embedder, TEXTS)
        assert (report.new, report.quarantined) == (len(TEXTS), {})
        embedder.close()

    @pytest.mark.parametrize("end", ["/v1", "/api", "/api/embed", "/api/embeddings", "/v1/embeddings", "/"])
    def test_the_address_of_a_request_will_do(self, ollama, end):
        for address in (f"{ollama}{end}", f"{ollama}{end}".removeprefix("http://")):
            embedder = OllamaEmbedder("minilm", address)
            assert embedder.provenance()["base_url"] == ollama
            assert len(collect(embedder, TEXTS[:3])[0]) == 3
            embedder.close()

    def test_a_page_that_is_not_there_is_an_address(self, ollama):
        embedder = OllamaEmbedder("minilm", f"{ollama}/elsewhere")
        with pytest.raises(EmbedderError, match=r"404 page not found; does Ollama answer at") as error:
            embedder.identity()
        assert "pull" not in str(error.value)
        embedder.close()

    @VERSIONS
    def test_a_model_that_is_not_there_is_no_address(self, start, version):
        url = start("fake_ollama.py", version)
        own, other = OllamaEmbedder("nope", url), OpenAIEmbedder("nope", url + "/v1")
        with pytest.raises(EmbedderError, match="run: ollama pull nope"):
            collect(own, ["a"])
        with pytest.raises(EmbedderError, match="set model to one that the server has"):
            collect(other, ["a"])
        own.close()
        other.close()

    def test_both_apis_give_the_same_vectors(self, ollama):
        own, other = OllamaEmbedder("minilm", ollama), OpenAIEmbedder("minilm", ollama)  # no /v1: named, not guessed
        with pytest.raises(EmbedderError, match=rf"set base_url={ollama}/v1"):
            collect(other, ["a"])
        other.close()
        other = OpenAIEmbedder("minilm", f"{ollama}/v1/embeddings")
        first, second = (collect(embedder, TEXTS[:5])[0] for embedder in (own, other))
        assert all(np.allclose(first[place], second[place], atol=1e-6) for place in range(5))
        known = other.provenance()
        assert (known["server"], known["server_version"]) == ("ollama", "0.32.15")
        own.close()
        other.close()

    def test_openais_protocol_at_the_address_of_ollamas_own(self, ollama):
        embedder = OpenAIEmbedder("minilm", f"{ollama}/api")
        with pytest.raises(EmbedderError, match=rf"set base_url={ollama}/v1 for Ollama"):
            collect(embedder, ["a"])
        embedder.close()


@pytest.mark.parametrize("api", ["ollama", "openai"])
def test_a_model_replaced_under_its_name_leaves_no_mixture(start, tmp_path, api):
    url = start("fake_ollama.py", "swap_after=30", f"for={api}")
    texts = [f"{text}, as the customer wrote" for text in TEXTS] + [f"order {number}" for number in range(200)]

    def model():
        if api == "ollama":
            return quick(OllamaEmbedder, "minilm", url, batch_size=8)
        return quick(OpenAIEmbedder, "minilm", f"{url}/v1", batch_size=8)

    first = model()
    with VectorCache(tmp_path) as cache:
        with pytest.raises(ModelChangedError, match="the model behind the server was replaced while it was embedding"):
            cache.fill(first, texts)
        again = model()
        report = cache.fill(again, texts)
        assert (report.new, report.cached) == (len(texts), 0)
        assert cache.verify().problems == []
        fresh = embed_all(again, texts)
        assert cosines(cache.gather(again.identity(), texts), fresh).min() > 0.9999
        stored = [text for place, text in enumerate(texts) if place not in cache.missing(first.identity(), texts)]
        before, after = cache.gather(first.identity(), stored), cache.gather(again.identity(), stored)
        assert cosines(before, after).max() < 0.9
    first.close()
    again.close()


def test_one_model_by_all_its_names_and_both_apis_is_embedded_once(start, tmp_path):
    url = start("fake_ollama.py", "with=changes")
    makes = [
        (OllamaEmbedder, "minilm", url),
        (OllamaEmbedder, "MiniLM:latest", url),
        (OllamaEmbedder, "library/minilm", url),
        (OpenAIEmbedder, "minilm", f"{url}/v1"),
        (OpenAIEmbedder, "library/MiniLM", f"{url}/v1"),
    ]
    with VectorCache(tmp_path) as cache:
        for place, (make, name, where) in enumerate(makes):
            embedder = quick(make, name, where)
            assert cache.fill(embedder, TEXTS).new == (0 if place else 60), (name, where)
            embedder.close()
        post(f"{url}/api/create", json={"model": "minilm", "from": "minilm", "parameters": {"temperature": 0.3}})
        embedder = quick(OllamaEmbedder, "minilm", url)
        assert cache.fill(embedder, TEXTS).new == 0
        embedder.close()


@pytest.mark.parametrize("api", ["ollama", "openai"])
def test_what_the_context_cut_is_counted_and_dimensions_are_given_or_refused(ollama, tmp_path, api):
    make, where = (OllamaEmbedder, ollama) if api == "ollama" else (OpenAIEmbedder, f"{ollama}/v1")
    long = [f"{'word ' * 600}end {number}" for number in range(3)]
    # many bytes, few tokens
    near = [f"{'understandably ' * 60}{number}" for number in range(3)]
    embedder, narrow, wide = (quick(make, "minilm", where, dimensions=width) for width in (None, 64, 1000))
    with VectorCache(tmp_path) as cache:
        report = cache.fill(embedder, [*TEXTS, *long, *near])
        assert (report.new, report.cut, report.context) == (66, 3, 512)
        assert cache.fill(narrow, TEXTS).new == 60
        with pytest.raises(EmbedderError, match="gives 384-d vectors, expected dimensions=1000"):
            cache.fill(wide, TEXTS)
    for one in (embedder, narrow, wide):
        one.close()
