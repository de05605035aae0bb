"""One kind of message for arrays that do not fit together."""

import numpy as np
import pytest
import torch

from alignkit.errors import DataError
from alignkit.shapes import check_shapes


@pytest.mark.parametrize(
    "arrays, message",
    [
        (
            {"aligned": (torch.ones(3, 4), "N D"), "teacher": (np.ones((3, 5)), "N D")},
            "expected aligned and teacher to have the same shape (N, D), but got (3, 4) and (3, 5)",
        ),
        (
            {"aligned": (np.ones((3, 4)), "N D"), "teacher": (np.ones((1, 4)), "N D")},
            "expected aligned and teacher to have the same shape (N, D), but got (3, 4) and (1, 4)",
        ),
        ({"vectors": (np.ones(3), "N D")}, "expected vectors to have the shape (N, D), but got (3,)"),
        (
            {"found": (np.ones((3, 4)), "Q K"), "labels": (["a", "b"], "Q"), "mean": (np.ones(4), "K")},
            "expected found, labels and mean to have the shapes (Q, K), (Q,) and (K,), but got (3, 4), (2,) and (4,)",
        ),
        ({"vectors": (np.ones((3, 4)), "D D")}, "expected vectors to have the shape (D, D), but got (3, 4)"),
    ],
)
def test_says_what_was_expected_and_what_came(arrays, message):
    with pytest.raises(DataError) as error:
        check_shapes(**arrays)
    assert str(error.value) == message


def test_what_fits_passes():
    check_shapes(aligned=(torch.ones(0, 4), "N D"), teacher=(np.ones((0, 4)), "N D"), mean=(range(4), "D"))
