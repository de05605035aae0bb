"""A head fitted on the demo pack, and sets to measure it on."""

from measured_sets import (  # noqa: F401
    demo_artifact,
    demo_baselines,
    demo_head,
    demo_set,
    demo_splits,
    make_retrieval,
)
from trained_students import before, trained, whitened  # noqa: F401
