"""What a command reads from the Hub is one commit, from start to end and in its saved config."""

import pytest
from loopback_hub import Repo
from omegaconf import OmegaConf

from alignkit.commandline.pinned import pin_addresses

TABLE, MODEL = (
    "alignkit.embedders.table.TableEmbedder",
    "alignkit.embedders.sentence_transformer.SentenceTransformerEmbedder",
)


@pytest.mark.parametrize(
    "settings",
    [
        {"head": "hf://me/one", "student": None},
        {"update": "hf://me/one@main"},
        {"student": {"_target_": TABLE, "path": "hf://me/one"}},
        {"student": {"path": "hf://me/one"}},
        {"teacher": {"_target_": MODEL, "model": "hf://me/one"}},
    ],
)
def test_addresses_become_those_of_a_commit(settings, hub):
    hub.repos["me/one"] = Repo()
    config = OmegaConf.create({"model": {"_target_": "hf"}, "sentences": "hf://me/one", **settings})
    pin_addresses(config)
    pinned = f"hf://me/one@{hub.repos['me/one'].branches['main']}"
    told = str(settings).replace("hf://me/one@main", pinned).replace("'hf://me/one'", f"'{pinned}'")
    assert str({name: OmegaConf.to_container(config)[name] for name in settings}) == told
    assert config.sentences == "hf://me/one"  # no place for a model


def test_paths_stay_and_nobody_is_asked(hub):
    config = OmegaConf.create({"head": "outputs/run", "student": {"_target_": TABLE, "path": "table"}, "teacher": None})
    before = OmegaConf.to_container(config)
    pin_addresses(config)
    assert OmegaConf.to_container(config) == before
    assert not hub.asked
