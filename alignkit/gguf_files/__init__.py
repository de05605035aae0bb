"""GGUF files, the format in which llama.cpp and Ollama store a model."""
