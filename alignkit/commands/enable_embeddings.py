"""The command `enable_embeddings`: what is done once its words have been read."""

from __future__ import annotations

import sys
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from alignkit.commandline import plain
from alignkit.embedders.chat_models import copy_name
from alignkit.embedders.sameness import normal_name
from alignkit.enabling.copying import Wish, enable
from alignkit.enabling.ollama_server import OllamaServer
from alignkit.errors import ConfigError


def main(config: DictConfig) -> None:
    """Compose, make the copy behind a progress bar, say how to go on."""
    if OmegaConf.is_missing(config, "model_name"):
        raise ConfigError("model is not set; give it as model=NAME, with a chat model of `ollama list`")
    settings = plain(config)
    gguf = None if settings["gguf"] is None else Path(settings["gguf"]).expanduser()
    wish = Wish(settings["model_name"], settings["as"], settings["pooling"], gguf)
    with OllamaServer(settings["base_url"], settings["api_key_env"]) as server:
        there = enable(server, wish, say)
    if there:
        say(how_to_go_on(wish))


def how_to_go_on(wish: Wish) -> str:
    """What to type next."""
    if normal_name(wish.name) == normal_name(copy_name(wish.model)):
        return f"student=ollama and teacher=ollama find it by themselves where the model is {wish.model}"
    return f"use it: student=ollama student.model={wish.name}, or teacher=ollama teacher.model={wish.name}"


def say(line: str) -> None:
    """Results go to stdout, at once: the next line may take minutes."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
