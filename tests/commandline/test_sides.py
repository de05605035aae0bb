"""Student and teacher of a head, for commands on which nobody names others."""

import json

import pytest

from alignkit.artifact import save_head
from alignkit.commandline.sides import with_sides_of_head
from alignkit.heads.linear import LinearHead

OLLAMA = {
    "backend": "ollama",
    "model": "qwen2.5:0.5b",
    "prompt": "query: ",
    "normalize": True,
    "dimensions": 64,
    "truncate": False,
    "digest": "ab",
    "weights": "cd",
}
MINILM = {"backend": "sentence_transformer", "model": "all-MiniLM-L6-v2", "layers": None, "prompt": ""}


@pytest.fixture
def head_of(tmp_path):
    def make(student, teacher=None):
        save_head(LinearHead(4, 4), tmp_path / "run" / "head", student_identity=student, teacher_identity=teacher)
        return f"head={tmp_path / 'run'}"

    return make


def test_all_that_decides_a_vector_is_taken_from_the_head(head_of):
    head = head_of(OLLAMA, MINILM)
    assert with_sides_of_head([head, "out=x"]) == [
        "student=ollama",
        "student.model=qwen2.5:0.5b",
        "student.query_prompt=query: ",
        "student.document_prompt=query: ",
        "student.dimensions=64",
        "student.truncate=false",
        "teacher=minilm",
        head,
        "out=x",
    ]


@pytest.mark.parametrize(
    ("identity", "words"),
    [
        ({**MINILM, "layers": 2, "pooling": "mean"}, ["student=two_layer"]),
        (
            {"backend": "static", "model": "l2_supercat_256", "normalize": False},
            ["student=static", "student.normalize=false"],
        ),
        ({"backend": "openai", "model": "bge-m3"}, ["student=openai", "student.model=bge-m3"]),
        # a folder on whatever machine, a model of nobody's: only the user can say which
        ({**MINILM, "model": "my-folder"}, []),
        ({"backend": "somebody's", "model": "x"}, []),
        (None, []),
    ],
)
def test_each_kind_of_student(head_of, identity, words):
    head = head_of(identity)
    assert with_sides_of_head([head]) == [*words, head]


def test_what_is_typed_is_never_overruled(head_of):
    head = head_of(OLLAMA)
    typed = ["student=static", head]
    assert with_sides_of_head(typed) == typed
    found = with_sides_of_head([head, "student.base_url=http://gpu:11434", "student.model=smol"])
    assert "student.model=qwen2.5:0.5b" not in found and found[0] == "student=ollama"
    # named by its kind alone: which model of it, the head knows
    assert "student.model=qwen2.5:0.5b" in with_sides_of_head(["student=ollama", head])


def test_a_foreign_head_names_no_address_no_key_and_nothing_that_is_filled_in(head_of):
    reaching = {
        **OLLAMA,
        "base_url": "http://evil",
        "api_key_env": "HOME",
        "transport": "x",
        "dimensions": "${oc.env:HOME}",
    }
    words = with_sides_of_head([head_of(reaching)])
    assert not [word for word in words if any(part in word for part in ("evil", "HOME", "transport"))]


@pytest.mark.parametrize("head", [[], ["head=none"], ["head="], ["head"]])
def test_a_head_that_is_not_there_is_for_the_command_to_say(head):
    assert with_sides_of_head(head) == head


def test_a_damaged_head_too(head_of, tmp_path):
    head = head_of(OLLAMA)
    (tmp_path / "run" / "head" / "head.json").write_text(json.dumps([1]), encoding="utf-8")
    assert with_sides_of_head([head]) == [head]
