from inspect import getattr_static
from itertools import cycle, islice
from pathlib import Path
from types import NoneType, UnionType
from typing import Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
import pytest
from awkward import AWKWARD
from declaring import COMMANDS, declared
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.utils import get_object
from omegaconf import OmegaConf

from alignkit.commandline.annotated import texts_of
from alignkit.commandline.composed import build
from alignkit.commandline.conf import group_choices, leaves, mounts_of, own_settings, yaml_of
from alignkit.commandline.texts import TARGET, as_literal, texts_of_group

# settings whose default does not say that they are numbers, switches or lists; every other one is a text
NO_TEXTS = {"threads", "refit", "require", "batch_size", "lr", "weight_decay", "warmup_fraction", "early_stop_patience",
            "trainer.max_epochs", "trainer.precision", "trainer.gradient_clip_val", "router", "tolerance",
            "time_embedding", "whiten_by", "learning_curve", "train_layers", "lora", "student_lr", "language",
            "served_names", "private", "runs"}  # fmt: skip


@pytest.mark.parametrize("text", AWKWARD)
def test_hydra_and_omegaconf_give_a_literal_back_letter_for_letter(text):
    value = OverridesParser.create().parse_override(f"data.path={as_literal(text)}").value()
    config = OmegaConf.create({"data": {"path": None}, "copy": "${data.path}"})
    OmegaConf.update(config, "data.path", value)
    assert OmegaConf.to_container(config, resolve=True) == {"data": {"path": text}, "copy": text}


@pytest.mark.parametrize("text", AWKWARD)
def test_a_part_is_built_with_the_text_as_it_is(text):
    built = build({TARGET: "types.SimpleNamespace", "text": text, "inside": {TARGET: "builtins.dict", "a": [text]}})
    assert built.text == text and built.inside == {"a": [text]}


def text_settings_with_choices(name):
    """Every text of a command with these choices, but names of variables, which are no free texts; and the choices."""
    choices = {"data": "cached", "student": "openai", "teacher": "sentence_transformer", "generator": "import"}
    mounts = [mount for mount in mounts_of(name) if mount.place in choices and not mount.optional]
    texts = list(declared(name).texts)
    for mount in mounts:
        known = dict(leaves(yaml_of(mount.group, choices[mount.place]), mount.place))
        texts += [text for text in texts_of_group(mount.place, mount.group) if text in known]
    return [text for text in texts if not text.endswith("_env")], [
        f"{one.place}={choices[one.place]}" for one in mounts
    ]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_gets_awkward_texts_letter_for_letter(composed, name):
    """Each command its share, and each of its texts two: the literal, which is one for all, is tested above."""
    texts, chosen = text_settings_with_choices(name)
    share = COMMANDS.index(name) * len(AWKWARD) // len(COMMANDS)
    values = islice(cycle(AWKWARD), share, None)
    for _ in range(2):
        given = dict(zip(texts, values, strict=False))
        (config,) = composed(name, *chosen, *(f"{place}={value}" for place, value in given.items()))
        found = dict(leaves(config))
        assert {place: found[place] for place in given} == given


@pytest.mark.parametrize("name", COMMANDS)
def test_every_setting_of_a_command_is_a_text_or_known_to_be_none(name):
    for place, default in leaves(own_settings(name)):
        if default is None or isinstance(default, str):
            assert place in declared(name).texts or place in NO_TEXTS, (
                f"declare {place} in texts= of the command {name}"
            )


def test_a_part_says_by_its_annotations_which_of_its_settings_are_texts():
    texts = texts_of_group("student", "embedder")
    assert {"student.model", "student.base_url", "student.query_prompt", "student.pooling"} <= texts.keys()
    assert not {"student.batch_size", "student.truncate", "student.timeout_s", "student.dimensions"} & texts.keys()
    data = texts_of_group("data", "data")
    assert {"data.path", "data.cache_dir", "data.student", "data.sentences"} <= data.keys()
    assert not {"data.seed", "data.test", "data.overrides"} & data.keys()


@pytest.mark.parametrize("word", ["null", "Null", "NULL"])
def test_null_is_none_where_a_setting_may_be_none_and_a_text_where_not(composed, word):
    (config,) = composed("embed", f"head={word}", f"cache_dir={word}", "student=openai", f"student.api_key_env={word}")
    assert config["head"] is None and config["student"]["api_key_env"] is None and config["cache_dir"] == word


def test_nothing_after_the_sign_is_an_empty_text(composed):
    (config,) = composed("embed", "student=openai", "student.query_prompt=")
    assert config["student"]["query_prompt"] == ""


def test_commas_separate_texts_in_a_sweep_alone(composed):
    assert composed("embed", "cache_dir=2024_05,a b")[0]["cache_dir"] == "2024_05,a b"
    jobs = composed("embed", "cache_dir=2024_05,a b,\\\\server\\x", "-m")
    assert [job["cache_dir"] for job in jobs] == ["2024_05", "a b", "\\\\server\\x"]
    jobs = composed("embed", "-m", "cache_dir=choice('x,y','z')")
    assert [job["cache_dir"] for job in jobs] == ["x,y", "z"]


def test_numbers_switches_lists_and_interpolations_elsewhere_stay_hydras(composed):
    (config,) = composed("train", "seed=3", "refit=true", "model=auto", "model.candidates=[linear,mlp]",
                         "trainer.limit_train_batches=0.5", "lr=${trainer.limit_train_batches}")  # fmt: skip
    assert (config["seed"], config["refit"], config["lr"]) == (3, True, 0.5)
    assert config["model"]["candidates"] == ["linear", "mlp"] and config["trainer"]["limit_train_batches"] == 0.5


def test_the_run_folder_is_a_text_in_which_hydra_fills_in_the_time(composed, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    from hydra.core.hydra_config import HydraConfig

    from alignkit.commandline import starting

    seen = []
    monkeypatch.setattr(starting, "check_room", lambda folder: seen.append(HydraConfig.get().run.dir))
    composed("train", "hydra.run.dir=20250101_1")
    composed("train", "hydra.run.dir=my runs/${now:%Y}")
    composed("train", "hydra.run.dir=~/runs")
    composed("train", 'hydra.run.dir="as Lightning writes it"')
    assert seen[0] == "20250101_1" and seen[1].startswith("my runs/2") and seen[3] == "as Lightning writes it"
    assert seen[2] == f"{tmp_path}/runs"


def test_a_choice_that_looks_like_a_number_is_a_name(run_command):
    code, _, err = run_command("train", "model=3")
    assert code == 1 and err.startswith("alignkit: unknown model '3'; choices: ")


def test_a_home_folder_is_found_in_every_path(run_command, tmp_path, monkeypatch, make_pairs):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "s.txt").write_text("\n".join(f"sentence {n}" for n in range(60)), encoding="utf-8")
    pairs = make_pairs(60)
    np.save(tmp_path / "student.npy", pairs.student)
    np.save(tmp_path / "teacher.npy", pairs.teacher)
    code, _, err = run_command("train", "data=vectors", "data.student=~/student.npy", "data.teacher=~/teacher.npy",
                               "data.sentences=~/s.txt", "hydra.run.dir=~/run", "trainer.max_epochs=0", "html=false",
                               "confidence=false")  # fmt: skip
    assert code == 0 and (tmp_path / "run" / "metrics.json").is_file(), err
    code, _, err = run_command("train", "data=cached", "data.path=~/s.txt", "student=static", "cache_dir=~/cache")
    assert code == 1 and "60 of 60 sentences have no teacher vector" in err
    assert not (tmp_path / "~").exists()


def hinted(target):
    """Texts by the annotations of what is imported."""
    called, found = get_object(target), {}
    for name, hint in get_type_hints(
        getattr_static(called, "__init__") if isinstance(called, type) else called
    ).items():
        kinds = set(get_args(hint) if get_origin(hint) in (UnionType, Union) else (hint,))
        texts = {kind for kind in kinds if kind in (str, Path) or get_origin(kind) is Literal}
        if name != "return" and texts and kinds - texts <= {NoneType}:
            found[name] = NoneType in kinds
    return found


@pytest.mark.parametrize("group", ["data", "embedder", "engine", "generator", "index", "loss", "model"])
def test_the_source_says_what_the_imported_annotations_say(group):
    yamls = [yaml_of(group, choice) for choice in group_choices(group)]
    targets = {
        place[TARGET]
        for yaml in yamls
        for place in (yaml, *yaml.values())
        if isinstance(place, dict) and TARGET in place
    }
    assert targets
    for target in targets:
        assert texts_of(target) == hinted(target), target
