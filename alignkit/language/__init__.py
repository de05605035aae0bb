"""The words of reports in the languages that people read them in."""
