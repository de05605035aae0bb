"""Make a chat model behind Ollama give vectors: a copy under another name, whose file says how.

Since 0.30 Ollama embeds only with models whose file names a pooling type, which those made for chat do not. The copy
has one; its weights, template, licence and parameters are the model's own. The model itself is not touched.
"""

from __future__ import annotations

from alignkit.commandline import command

EXAMPLES = (
    "python -m alignkit.enable_embeddings model=qwen2.5:7b",
    "python -m alignkit.enable_embeddings model=qwen2.5:7b pooling=mean as=qwen2.5:7b-mean",
    "python -m alignkit.enable_embeddings model=qwen2.5:7b base_url=http://gpu-machine:11434 gguf=qwen.gguf",
)

main = command(
    "enable_embeddings",
    __doc__,
    EXAMPLES,
    texts=("model_name", "as", "pooling", "base_url", "gguf", "api_key_env"),
    other_names={"model": "model_name"},  # Hydra takes `model=` for the group of heads
)

if __name__ == "__main__":
    main()
