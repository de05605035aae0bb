"""Where samples come from: the grammar, a chat model on top of it, or files; one YAML in conf/generator each."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alignkit.sentences.chat import ChatModel
from alignkit.sentences.grammar import generate, seed_samples
from alignkit.sentences.import_pool import ImportCounts
from alignkit.sentences.importing import import_samples
from alignkit.sentences.journal import Journal
from alignkit.sentences.patience import Patience
from alignkit.sentences.records import Sample
from alignkit.sentences.rewriting import RewriteCounts, rewrite
from alignkit.sentences.seeds import FOLDER, Seeds, languages, read_seeds
from alignkit.setting_rules import Rule, check, number_above, one_of, whole

logger = logging.getLogger(__name__)

MOST_SAMPLES = 1_000_000
# time for about 250 tokens from a model that suits the machine
SECONDS_A_SAMPLE = 5.0
SAMPLES = Rule(whole(1, MOST_SAMPLES).fits, f"a whole number from 1 to {MOST_SAMPLES:,}")
SECONDS = Rule(lambda value: value == math.inf or number_above(0).fits(value), "seconds, a number above 0 or inf")
RULES = {"attempts": whole(1), "budget_s": SECONDS.or_null(f"which takes {SECONDS_A_SAMPLE:g} a sample")}


@dataclass
class Generated:
    """What a generator returns.

    Attributes:
        samples: can be iterated once.
        seeds: the original sentences; written to `raw_sentences.jsonl`.
        total: how many samples there will be, if known.
        about: one line for the data card, called after the samples are consumed.
        finish: to be called once the set is safely written.
    """

    samples: Iterable[Sample]
    seeds: Iterable[Sample]
    total: int | None
    about: Callable[[], str]
    finish: Callable[[], None] = field(default=lambda: None)


def from_grammar(
    target: int, language: str, seed: int, out: str | Path, *, seeds_folder: str | Path | None = None
) -> Generated:
    """The hand-written seeds, varied.

    Args:
        target: number of samples, 1 to 1,000,000.
        language: one that has seeds, or `mixed` for all.
        seed: same seed, same samples.
        out: not used.
        seeds_folder: None for the packaged seeds.

    Raises:
        ConfigError: for an impossible target or an unknown language.
        DataError: for broken seed files.
    """
    known = _seeds_of(target, language, seeds_folder)
    return Generated(
        samples=generate(known, target, seed),
        seeds=(sample for each in known for sample in seed_samples(each)),
        total=target,
        about=lambda: "grammar over hand-written seeds, without a model",
    )


def from_chat_model(
    target: int,
    language: str,
    seed: int,
    out: str | Path,
    *,
    model: str,
    base_url: str | None = None,
    api: str = "ollama",
    api_key_env: str | None = None,
    temperature: float = 0.8,
    timeout_s: float = 300.0,
    retries: int = 3,
    retry_wait_s: float = 1.0,
    attempts: int = 3,
    concurrency: int = 2,
    budget_s: float | None = None,
    seeds_folder: str | Path | None = None,
) -> Generated:
    """The grammar's anchors with a chat model's paraphrases and hard negatives; see `ChatModel` and `rewrite`.

    Args:
        target: see `from_grammar`.
        language: see `from_grammar`.
        seed: of the grammar and of the model's sampling.
        out: the answers are noted in `<out>.journal.jsonl` until the set is written.
        model: see `ChatModel`.
        base_url: see `ChatModel`.
        api: see `ChatModel`.
        api_key_env: see `ChatModel`.
        temperature: see `ChatModel`.
        timeout_s: see `ChatModel`.
        retries: see `ChatModel`.
        retry_wait_s: see `ChatModel`.
        attempts: see `rewrite`.
        concurrency: see `rewrite`.
        budget_s: most seconds for all answers; samples not reached stay the grammar's. None means 5 per sample.
        seeds_folder: see `from_grammar`.

    Raises:
        ConfigError: see `from_grammar` and `ChatModel`.
    """
    known = _seeds_of(target, language, seeds_folder)
    check({"attempts": attempts, "budget_s": budget_s}, RULES)
    budget_s = SECONDS_A_SAMPLE * target if budget_s is None else budget_s
    out = Path(out).expanduser()
    counts = RewriteCounts()
    settings: dict[str, Any] = {
        "target": target, "language": language, "seed": seed, "model": model, "temperature": temperature,
    }  # fmt: skip
    journal = Journal(out.with_name(out.name + ".journal.jsonl"), settings)
    chat = ChatModel(model, base_url, api, api_key_env, temperature, timeout_s, retries, retry_wait_s, concurrency)
    asking = {"attempts": attempts, "concurrency": concurrency, "seed": seed}

    def samples() -> Iterator[Sample]:
        logger.info("asking %s at %s for at most %s s", model, chat.where, f"{budget_s:,g}")
        try:
            yield from rewrite(
                generate(known, target, seed), chat, journal, counts, patience=Patience(budget_s), **asking
            )
        finally:
            chat.close()

    return Generated(
        samples=samples(),
        seeds=(sample for each in known for sample in seed_samples(each)),
        total=target,
        about=lambda: f"chat model {model}; {counts.line()}",
        finish=journal.remove,
    )


def from_file(
    target: int, language: str, seed: int, out: str | Path, *, path: str | Path, **settings: Any
) -> Generated:
    """A user's file or BEIR folder. `settings` and errors are those of `import_samples`.

    Args:
        target: not used: the file decides.
        language: not used.
        seed: not used.
        out: not used.
        path: of the file.
        settings: of `import_samples`.
    """
    counts = ImportCounts()
    return Generated(
        samples=import_samples(path, **settings, counts=counts),
        seeds=(),
        total=None,
        about=lambda: f"imported from {Path(path).name}; {counts.line()}",
    )


def _seeds_of(target: int, language: str, folder: str | Path | None) -> list[Seeds]:
    check({"target": target}, {"target": SAMPLES}, "")
    folder = Path(folder).expanduser() if folder else FOLDER
    known = languages(folder)
    check({"language": language}, {"language": one_of([*known, "mixed"])}, "")
    return [read_seeds(one, folder) for one in (known if language == "mixed" else [language])]
