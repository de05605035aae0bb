"""What an evaluation found, to be looked at: a table in a terminal, a page in a notebook, files in a folder."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from alignkit.evaluation.result import Result
from alignkit.language.speaking import speaking, spoken
from alignkit.reporting.console import console_rows, console_words
from alignkit.reporting.metrics_file import meta_json, rows_json
from alignkit.reporting.report_files import html_page, write_report
from alignkit.reporting.verdict_words import VerdictWords, verdict_words


class Report:
    """The rows, the intervals and the verdict of one evaluation.

    In a notebook a report shows itself as a page with plots; `str(report)` is the verdict and the table.

    Args:
        result: what was found, typed.
        language: of its words, `en` or `zh`; `None` for that of `language.speaking`, which is English unless told.
    """

    def __init__(self, result: Result, language: str | None = None) -> None:
        self.result, self.language = result, language

    def in_language(self, language: str) -> Report:
        """The same in another language, `en` or `zh`.

        Raises:
            ConfigError: for any other.
        """
        with speaking(language):
            return Report(self.result, language)

    @property
    def verdict(self) -> VerdictWords:
        """`name`, `headline` and `reasons`."""
        with self._speaking():
            return verdict_words(self.result.verdict)

    @property
    def rows(self) -> dict[str, dict[str, float | None]]:
        """Row name → figures, as in `metrics.json`: `rows["aligned"]["ndcg@10"]`."""
        return rows_json(self.result)

    @property
    def meta(self) -> Mapping[str, Any]:
        """What stands beside the rows in `metrics.json`: intervals, shares, alarms, sizes, seeds."""
        with self._speaking():
            return meta_json(self.result)

    def show(self) -> None:
        """In a notebook the page with plots; elsewhere the verdict and the table, on stdout."""
        if _in_notebook():
            from IPython.display import display

            display(self)
        else:
            sys.stdout.write(f"{self}\n")

    def save(self, folder: str | Path, *, html: bool = True) -> None:
        """Write `metrics.json`, `alignment_metrics.csv`, `alignment_report.md` and, with `html`, `report.html`.

        Raises:
            AlignkitError: if a file cannot be written.
        """
        with self._speaking():
            write_report(self.result, Path(folder).expanduser(), html=html)

    def _speaking(self) -> AbstractContextManager[None]:
        return speaking(self.language or spoken())

    def __str__(self) -> str:
        from rich.console import Console

        console = Console(width=80, no_color=True, file=None, force_terminal=False)
        with self._speaking(), console.capture() as captured:
            for line in console_words(self.result):
                console.print(line, highlight=False, markup=False)
            console.print()
            console.print(console_rows(self.result))
        return "\n".join(line.rstrip() for line in captured.get().rstrip().splitlines())

    def __repr__(self) -> str:
        return f"Report({self.verdict.name}: {self.verdict.headline})"

    def _repr_html_(self) -> str:
        # in a frame of its own, so that neither page's style touches the other's
        from html import escape

        with self._speaking():
            page = escape(html_page(self.result), quote=True)
        return f'<iframe srcdoc="{page}" style="width:100%;height:720px;border:0"></iframe>'


def _in_notebook() -> bool:
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return shell is not None and hasattr(shell, "kernel")
