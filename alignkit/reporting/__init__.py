"""What a `Result` says, to people and to programs: screen, Markdown, HTML, CSV, JSON, TensorBoard."""
