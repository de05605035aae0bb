"""Write a head for another program, and check what was written against the head on real vectors."""

from __future__ import annotations

from alignkit.commandline import command

EXAMPLES = (
    "python -m alignkit.export head=outputs/train/RUN format=sentence_transformers out=aligned-model",
    "python -m alignkit.export head=outputs/train/RUN format=sentence_transformers router=true out=routed-model",
    "python -m alignkit.export head=outputs/train/RUN format=onnx quantize=int8 out=head-onnx",
    "python -m alignkit.export head=outputs/train/RUN format=numpy vectors=student.npy out=head-numpy",
    "python -m alignkit.export head=outputs/train/RUN format=bundle out=head.zip",
    "python -m alignkit.export head=outputs/train/RUN push=user/repo private=true license=apache-2.0",
)

main = command(
    "export",
    __doc__,
    EXAMPLES,
    texts=("head", "format", "out", "role", "quantize", "vectors", "sentences", "push", "revision", "license"),
    completed=("student", "teacher"),
)

if __name__ == "__main__":
    main()
