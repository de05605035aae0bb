"""What a run keeps of its pairs so that a later run can go on without them: the sums that its head was solved from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from alignkit.errors import ArtifactError, ConfigError
from alignkit.files import write_whole
from alignkit.heads.kept_moments import KeptMoments
from alignkit.pairs.base import Pairs
from alignkit.pairs.vector_fingerprints import vector_fingerprints

MOMENTS = "moments.safetensors"
_RIDGE, _PAIRS = "ridge.", "pairs"
# odd, so that the sum below tells a pair from the same two vectors the other way round
_MIX = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Solved:
    """A closed form that can go on from its sums.

    Attributes:
        kept: the sums.
        chosen: what was chosen with them, such as λ.
    """

    kept: KeptMoments
    chosen: Mapping[str, Any]


@dataclass(frozen=True)
class EarlierFit:
    """What a run was solved from.

    Attributes:
        kind: of its head.
        arguments: of its head.
        head: of the head's closed form.
        ridge: of the ridge that the head is compared with; the same sums where the head takes the students as they are.
        pairs: `(N,)` uint64, a fingerprint of each pair, sorted.
        validation: pairs that whitening and confidence were chosen on.
    """

    kind: str
    arguments: Mapping[str, Any]
    head: Solved
    ridge: Solved
    pairs: np.ndarray
    validation: int

    def save(self, run: Path) -> int:
        """Keep it in a run folder.

        Returns:
            Size of the file in bytes.

        Raises:
            AlignkitError: if it cannot be written.
        """
        tensors = self.head.kept.tensors()
        own, other = self.head.kept, self.ridge.kept
        if own.space is not None or own.moments.count != other.moments.count:
            tensors |= {f"{_RIDGE}{name}": tensor for name, tensor in self.ridge.kept.tensors().items()}
        tensors = {name: tensor.cpu() for name, tensor in tensors.items()}
        tensors[_PAIRS] = torch.from_numpy(np.sort(self.pairs).view(np.int64))
        about = {
            "kind": self.kind,
            "arguments": dict(self.arguments),
            "chosen": dict(self.head.chosen),
            "ridge_chosen": dict(self.ridge.chosen),
            "validation": self.validation,
        }
        content = save(tensors, metadata={"about": json.dumps(about)})
        write_whole(run / MOMENTS, content)
        return len(content)

    @classmethod
    def load(cls, run: Path) -> EarlierFit:
        """Read it again.

        Raises:
            ConfigError: if the run kept none.
            ArtifactError: if the file is damaged.
        """
        path = run / MOMENTS
        if not path.is_file():
            raise ConfigError(
                f"update={run}: that run kept no sums of its pairs ({MOMENTS}), so nothing can be added to them; train "
                "once more on all pairs, with keep_moments=true"
            )
        try:
            with safe_open(path, framework="pt") as file:
                about = json.loads((file.metadata() or {})["about"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            pairs = tensors.pop(_PAIRS).numpy().view(np.uint64)
            own = {name: tensor for name, tensor in tensors.items() if not name.startswith(_RIDGE)}
            other = {name.removeprefix(_RIDGE): tensors[name] for name in tensors.keys() - own.keys()}
            head = KeptMoments.of_tensors(own)
            ridge = KeptMoments.of_tensors(other) if other else head
            return cls(
                kind=about["kind"],
                arguments=dict(about["arguments"]),
                head=Solved(head, dict(about["chosen"])),
                ridge=Solved(ridge, dict(about["ridge_chosen"])),
                pairs=pairs,
                validation=int(about["validation"]),
            )
        except (SafetensorError, ArtifactError, OSError, LookupError, TypeError, ValueError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ArtifactError(
                f"{path}: not the sums that train keeps ({reason[:80]}); copy the run again, or train once more with "
                "keep_moments=true"
            ) from None


def pair_fingerprints(*parts: Pairs) -> np.ndarray:
    """8 bytes a pair, of both of its vectors: a student that ignores the order of words gives several texts one."""
    return np.concatenate(
        [vector_fingerprints(part.student) * _MIX + vector_fingerprints(part.teacher) for part in parts]
    )
