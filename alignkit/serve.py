"""Serve a head and its student as an embedding endpoint that OpenAI's and Ollama's clients understand."""

from __future__ import annotations

from alignkit.commandline import command

EXAMPLES = (
    "python -m alignkit.serve head=outputs/train/RUN student=static",
    "python -m alignkit.serve head=outputs/train/RUN student=ollama student.model=qwen3-embedding:0.6b port=9000",
    "python -m alignkit.serve head=outputs/train/RUN host=0.0.0.0 token_env=ALIGNKIT_TOKEN",
    "python -m alignkit.serve head=outputs/train/RUN index=pgvector index.table=docs index.text=body",
    "python -m alignkit.serve head=outputs/train/RUN fallback=teacher teacher=minilm fallback_below=0.4",
    "python -m alignkit.serve head=outputs/train/RUN query_log=queries query_log_share=0.05",
)

main = command(
    "serve",
    __doc__,
    EXAMPLES,
    texts=("head", "host", "model_name", "token_env", "fallback", "query_log"),
    other_names={"model": "model_name"},  # Hydra takes `model=` for the group of heads
    completed=("student", "teacher"),
)

if __name__ == "__main__":
    main()
