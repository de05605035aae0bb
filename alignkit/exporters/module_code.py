"""A head as the source of one torch module that sentence-transformers can load: for heads that are no dense layers."""

from __future__ import annotations

from alignkit import __version__
from alignkit.exporters.graph import Graph, torch_lines
from alignkit.heads.base import Head

MODULE_NAME, CLASS_NAME = "aligned_head", "AlignedHead"

_TEMPLATE = '''"""A head of kind "{kind}", written out by alignkit {version}; needs torch and safetensors alone."""

import math
import operator
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

WEIGHTS = "{module_name}.safetensors"


class {class_name}(torch.nn.Module):
    """(N, {student_dim}) sentence embeddings of the student -> (N, {teacher_dim}) in the teacher's space."""

    def __init__(self, arrays):
        super().__init__()
        for name, array in arrays.items():
            self.register_buffer(name, array.contiguous())

    def forward(self, features):
        # in float32 whatever the model's type is: phases and small differences do not survive half precision
        given = features["sentence_embedding"]
        features["sentence_embedding"] = self.align(given.float()).to(given.dtype)
        return features

    def align(self, student):
{lines}
        return {output}

    def get_embedding_dimension(self):
        return {teacher_dim}

    get_sentence_embedding_dimension = get_embedding_dimension

    def save(self, output_path, *args, **kwargs):
        save_file(self.state_dict(), str(Path(output_path) / WEIGHTS))
        # loading looks for this file beside modules.json, one folder up
        code = Path(output_path).resolve().parent / "{module_name}.py"
        if not (code.exists() and code.samefile(__file__)):
            shutil.copyfile(__file__, code)

    def __reduce__(self):
        return _rebuild, (self.state_dict(),)

    @classmethod
    def load(cls, model_name_or_path, subfolder="", **kwargs):
        folder = Path(model_name_or_path)
        if not folder.is_dir():
            from huggingface_hub import snapshot_download

            wanted = ("token", "cache_dir", "revision", "local_files_only")
            folder = Path(snapshot_download(model_name_or_path, **{{k: kwargs[k] for k in wanted if k in kwargs}}))
        return cls(load_file(str(folder / subfolder / WEIGHTS)))


def _rebuild(arrays):
    return {class_name}(arrays).eval()


# what modules.json and a router's configuration name, wherever this file was loaded from
{class_name}.__module__ = "{module_name}"
'''


def module_source(graph: Graph, head: Head) -> str:
    """Python source of the module.

    Args:
        graph: of the head.
        head: for its name and widths.
    """

    def read(name: str) -> str:
        return f"self.{name}.float()" if graph.arrays[name].is_floating_point() else f"self.{name}"

    lines = torch_lines(graph, read)
    return _TEMPLATE.format(
        kind=head.kind(),
        version=__version__,
        class_name=CLASS_NAME,
        module_name=MODULE_NAME,
        student_dim=head.student_dim,
        teacher_dim=head.teacher_dim,
        lines="\n".join(f"        {line}" for line in lines),
        output=graph.output,
    )
