"""Makes a chat model in Ollama return vectors: copies its file with a pooling type, under another name."""
