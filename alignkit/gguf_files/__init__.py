"""GGUF files, the form in which llama.cpp and Ollama keep a model."""
