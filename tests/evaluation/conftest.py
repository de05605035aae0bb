"""A head fitted on the demo pack, and sets to measure it on."""

import pytest
from measured_sets import (  # noqa: F401
    demo_artifact,
    demo_baselines,
    demo_head,
    demo_set,
    demo_splits,
    make_retrieval,
)
from trained_students import before, trained, whitened  # noqa: F401


@pytest.fixture(scope="session")
def demo_result(demo_set, demo_artifact, demo_baselines):  # noqa: F811
    """The comparison on the demo pack, for all who only look at it."""
    from alignkit.evaluation.comparison import compare

    return compare(demo_set, demo_artifact, demo_baselines)
