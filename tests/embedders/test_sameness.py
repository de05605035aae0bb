"""Which identities mean interchangeable vectors: names as people type them, files as servers tell them."""

import pytest

from alignkit.embedders.sameness import agrees, differences, normal_name, same_vectors

SETTINGS = {"backend": "ollama", "prompt": "", "normalize": True, "dimensions": None, "truncate": True}
W1, W2, M1, M2 = ("1" * 64, "2" * 64, "a" * 64, "b" * 64)


def ollama(model="minilm", digest=M1, **files):
    return {**SETTINGS, "model": model, "digest": digest, **files}


def openai(model="minilm", digest="server:http://127.0.0.1:11434/v1", **files):
    return {"backend": "openai", "prompt": "", "model": model, "digest": digest, **files}


@pytest.mark.parametrize(
    "typed",
    [
        "minilm1",
        "minilm1:latest",
        "MiniLM1",
        " MINILM1:LATEST ",
        "library/minilm1",
        "registry.ollama.ai/library/minilm1:latest",
        "https://registry.ollama.ai/library/MiniLM1",
    ],
)
def test_names_that_ollama_takes_for_one_model(typed):
    assert normal_name(typed) == "minilm1"
    assert same_vectors(ollama(typed), ollama("minilm1"))


@pytest.mark.parametrize(
    "typed", ["minilm1:q8", "me/minilm1", "hf.co/library/minilm1", "host:80/library/minilm1", "minilm"]
)
def test_names_of_other_models_stay_apart(typed):
    assert normal_name(typed) != "minilm1"
    assert not same_vectors(ollama(typed), ollama("minilm1"))


def test_a_port_is_no_tag():
    assert normal_name("host:11434/me/x:latest") == "host:11434/me/x"


def test_names_of_other_servers_are_taken_letter_by_letter():
    assert not same_vectors(openai("BGE-m3"), openai("bge-m3"))
    assert same_vectors(openai("MiniLM:latest", weights=W1, parameters={}), openai("minilm"))


def test_another_manifest_of_the_same_weights_changes_nothing():
    before, now = ollama(digest=M1, weights=W1, parameters={}), ollama(digest=M2, weights=W1, parameters={})
    assert same_vectors(before, now)


def test_other_weights_are_another_model_even_behind_one_address():
    assert differences(openai(weights=W1, parameters={}), openai(weights=W2, parameters={})) == [
        "weights: expected '111111111111', got '222222222222'"
    ]


def test_a_parameter_that_can_change_a_vector_is_named():
    before, now = ollama(weights=W1, parameters={}), ollama(digest=M2, weights=W1, parameters={"num_ctx": "64"})
    assert differences(before, now) == ["parameters: expected {}, got {'num_ctx': '64'}"]


def test_what_an_older_version_stored_is_compared_by_the_manifest():
    old = ollama("minilm:latest", M1)
    assert same_vectors(old, ollama(digest=M1, weights=W1, parameters={}))
    assert differences(old, ollama(digest=M2, weights=W1, parameters={})) == [
        "digest: expected 'aaaaaaaaaaaa', got 'bbbbbbbbbbbb'"
    ]


def test_settings_find_an_identity_however_its_name_was_typed():
    settings = {**SETTINGS, "model": "minilm"}
    assert agrees(ollama("library/MiniLM"), settings)
    assert not agrees(ollama("library/MiniLM"), {**settings, "prompt": "query: "})


def test_unknown_is_no_model():
    assert same_vectors(None, None)
    assert not same_vectors(None, ollama())


def test_differences_name_missing_keys_and_shorten_values():
    assert differences({"digest": "a" * 90}, {"digest": "b", "layers": 2}) == [
        "layers: expected None, got 2",
        f"digest: expected '{'a' * 56}..., got 'b'",
    ]


def test_both_apis_of_an_ollama_give_the_same_vectors():
    settings = {"prompt": "", "normalize": True, "dimensions": None, "weights": W1, "parameters": {}}
    second = {"backend": "openai", "model": "Tiny", "digest": "server:http://127.0.0.1:11434/v1", **settings}
    first = {"backend": "ollama", "model": "tiny", "digest": M1, "truncate": True, **settings}
    assert same_vectors(first, second)
    assert not same_vectors({**first, "truncate": False}, second)
    assert not same_vectors({**first, "dimensions": 64}, second)
