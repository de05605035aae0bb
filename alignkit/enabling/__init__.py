"""Make a chat model behind Ollama give vectors: a copy of its file with a pooling type, under another name."""
