"""What the own settings of each command may be.

These modules load nothing heavy: a mistake is refused before torch is imported.
"""
