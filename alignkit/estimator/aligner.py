"""`alignkit.Aligner`: a head in scikit-learn's protocol (extra: sklearn)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from alignkit.artifact import QUERY_HEAD, Artifact
from alignkit.errors import ConfigError
from alignkit.estimator.arrays import as_pairs, split_pairs
from alignkit.estimator.fitted import Fitted
from alignkit.estimator.front import composed_settings
from alignkit.estimator.plan import make_plan
from alignkit.extras import needing
from alignkit.progress import no_progress
from alignkit.training.run_settings import check_settings

with needing("sklearn", "scikit-learn"):
    from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
    from sklearn.utils.validation import check_array, check_is_fitted, validate_data

NAMES = ("X", "y")
FLOATS = (np.float32, np.float64, np.float16)  # as they are; anything else becomes the first
FEWEST_PAIRS = 5  # nothing is judged on them, so fewer than `alignkit.fit` needs


class Aligner(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Maps a student's vectors into the teacher's space; for pipelines, searches over settings and cross-validation.

    The same heads, losses and recipes as `alignkit.fit`, without the comparison, the whitening of queries and the
    estimate of confidence: `transform` comes as near to the teacher's vectors as the head can.

    Args:
        model: a head by name; see `alignkit.fit`.
        loss: by name; see `alignkit.fit`.
        settings: any other setting of the `train` command by its dotted name; see `alignkit.fit`.
        validation: share of the rows that choices are made on, a ridge's strength or when to stop.
        seed: an int; the same seed gives the same head on the same machine.
        device: `auto`, `cpu` or `cuda`.

    Attributes:
        fitted_: the head as `alignkit.load` gives it: `fitted_.save("my_head")` writes what every command reads.
        n_features_in_: width of the student's vectors.
    """

    def __init__(
        self,
        model: str = "auto",
        loss: str | None = None,
        settings: Mapping[str, Any] | None = None,
        validation: float = 0.1,
        seed: int = 0,
        device: str = "auto",
    ) -> None:
        self.model = model
        self.loss = loss
        self.settings = settings
        self.validation = validation
        self.seed = seed
        self.device = device

    def fit(self, X: Any, y: Any) -> Aligner:
        """Fit a head on pairs.

        Args:
            X: `(N, student_dim)`, the student's vectors.
            y: `(N, teacher_dim)`, the teacher's vectors of the same sentences.

        Raises:
            ValueError: for arrays that no estimator of scikit-learn takes, and for fewer than 5 rows.
            AlignkitError: for rows that are zero, and settings that make no sense.
        """
        student, teacher = validate_data(
            self, X, y, multi_output=True, y_numeric=True, dtype=FLOATS, ensure_min_samples=FEWEST_PAIRS
        )
        if teacher.ndim == 1:
            raise ValueError(f"y: expected the teacher's vectors, an array of shape (N, D), got {teacher.shape}")
        chosen = composed_settings(self.model, self.loss, self.settings or {}, self.seed, self.device)
        check_settings(chosen)
        pairs = as_pairs(student, teacher, names=NAMES)
        splits = split_pairs(
            pairs, together=None, validation=self.validation, test=0.0, seed=self.seed,
            least=FEWEST_PAIRS, name=NAMES[0],
        )  # fmt: skip
        with no_progress():
            plan = make_plan(chosen, splits, None)
            head = plan.fitter.fit(splits, refit=plan.settings["refit"]).head
        self._n_features_out = head.teacher_dim
        self.fitted_ = Fitted(Artifact({QUERY_HEAD: head}))
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Student vectors `(N, student_dim)` in the teacher's space, `(N, teacher_dim)` float32, rows of length 1.

        Raises:
            NotFittedError: before `fit`.
            ValueError: for another shape or width, NaN or Inf.
        """
        check_is_fitted(self)
        student = validate_data(self, X, reset=False, dtype=FLOATS)
        return self.fitted_.transform(student, role="document")

    def score(self, X: Any, y: Any) -> float:
        """Mean cosine of `transform(X)` with the teacher's vectors `(N, teacher_dim)`: what a search makes largest.

        Raises:
            ValueError: for NaN, Inf, or what is no number.
            ConfigError: for another shape than that of `transform(X)`.
        """
        aligned = self.transform(X)
        teacher = check_array(y, dtype=np.float32, ensure_2d=False, input_name="y")
        if teacher.shape != aligned.shape:
            raise ConfigError(f"y: expected the teacher's vectors, shape {aligned.shape}, got {teacher.shape}")
        lengths = np.linalg.norm(teacher, axis=1)
        return float(np.mean(np.einsum("nd,nd->n", aligned, teacher) / np.maximum(lengths, 1e-12)))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output, tags.target_tags.single_output = True, False
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags
