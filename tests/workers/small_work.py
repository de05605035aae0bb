"""A job whose parts are cheap to do and easy to spoil; here, so that workers of other processes can import it."""

import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

from alignkit.errors import DataError
from alignkit.files import write_whole
from alignkit.workers.base import Part, Work


@dataclass
class Squares(Work):
    """Writes the square of each of its numbers into one file a part."""

    folder: str
    fails: list = field(default_factory=list)
    dies: list = field(default_factory=list)
    dies_once: list = field(default_factory=list)
    out_of_memory: list = field(default_factory=list)
    cannot_open: str = ""
    wait_s: float = 0.0
    name = "squares"
    unit = "numbers"

    def open(self):
        if self.cannot_open:
            raise DataError(self.cannot_open)
        write_whole(Path(self.folder) / f"opened.{os.getpid()}", "")
        return self.do

    def output(self, part):
        return Path(self.folder) / f"{part.number:04}.txt"

    def do(self, part):
        trying = Path(self.folder) / "tries" / f"{part.number}.{time.time_ns()}"
        trying.parent.mkdir(exist_ok=True)
        trying.touch()  # there at once: who counts them meanwhile must see no file with another name
        time.sleep(self.wait_s)
        if part.number in self.fails:
            raise ValueError("no number\nat all")
        if part.number in self.out_of_memory:
            raise MemoryError
        once = part.number in self.dies_once and tries(self.folder)[part.number] == 1
        if part.number in self.dies or once:
            os.kill(os.getpid(), signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
        numbers = range(part.settings["first"], part.settings["first"] + part.settings["count"])
        write_whole(self.output(part), "\n".join(str(one * one) for one in numbers))
        return {"sum": sum(numbers)}


def cut(parts, count=5):
    return [Part(number, {"first": number * count, "count": count}, count) for number in range(parts)]


def written(folder):
    """What the parts wrote, in their order."""
    return [int(line) for path in sorted(Path(folder).glob("*.txt")) for line in path.read_text().splitlines()]


def tries(folder):
    """How often each part was tried."""
    counts = {}
    for path in (Path(folder) / "tries").glob("*"):
        number = int(path.name.partition(".")[0])
        counts[number] = counts.get(number, 0) + 1
    return counts
