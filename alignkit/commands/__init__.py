"""What each command does, a file a command; `alignkit/<name>.py` declares it. None of them imports another."""
