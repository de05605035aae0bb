"""A head as an embedding class of LangChain, LlamaIndex, Chroma and Haystack; import the file of the framework."""
