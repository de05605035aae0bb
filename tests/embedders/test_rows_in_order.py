import numpy as np
import pytest

from alignkit.embedders.base import EmbeddedBatch, embed_all, join_batches
from alignkit.errors import EmbedderError


def batch(indices, width=3, failures=None):
    indices = np.array(indices, dtype=np.int64)
    return EmbeddedBatch(indices, np.repeat(indices[:, None] + 1.0, width, axis=1).astype(np.float32), failures or {})


def test_batches_in_any_order_become_one_array():
    joined = join_batches([batch([3, 1]), batch([]), batch([0, 2])], 4, 3)
    assert joined.dtype == np.float32 and joined[:, 0].tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("batches", "says"),
    [
        ([batch([0, 2])], "no answer for 2 of 4 texts, the first is text 1; ask again"),
        ([], "no answer for 4 of 4 texts, the first is text 0"),
        ([batch([0, 1, 2], failures={3: "too long"})], "1 of 4 texts have no vector; the first is text 3: too long"),
        ([batch([0, 1], failures={3: "too long"})], "no answer for 1 of 4 texts, the first is text 2"),
        ([batch([0, 1, 2, 4])], "answered for text 4, and there are only 4"),
        ([batch([0, 1, 2, -1])], "answered for text -1, and there are only 4"),
        ([batch([0, 1, 2], failures={7: "too long"})], "answered for text 7"),
        ([batch([0, 1, 2, 3], width=1)], r"shape \(4, 1\) for 4 texts; expected \(4, 3\)"),
        ([EmbeddedBatch(np.arange(4), np.ones((1, 3), dtype=np.float32))], r"shape \(1, 3\) for 4 texts"),
    ],
)
def test_a_text_that_nobody_answered_for_is_no_vector(batches, says):
    with pytest.raises(EmbedderError, match=says):
        join_batches(batches, 4, 3)


def test_the_one_call_form_refuses_what_an_embedder_left_out():
    class Forgetful:
        dim = 3

        def embed(self, texts, role):
            yield batch(range(len(texts) - 1))

    with pytest.raises(EmbedderError, match="no answer for 1 of 5 texts"):
        embed_all(Forgetful(), list("abcde"))
