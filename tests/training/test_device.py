import logging

import pytest
import torch

from alignkit.errors import ConfigError
from alignkit.training import device
from alignkit.training.device import choose_device


def with_bfloat16(monkeypatch, present):
    monkeypatch.setattr(device, "_has_bfloat16", lambda accelerator: present)


@pytest.mark.parametrize(
    ("name", "precision", "present", "taken", "rough", "says"),
    [
        ("cpu", "auto", True, "32-true", True, "this chip multiplies float32 in bfloat16"),
        ("cpu", "bf16", True, "32-true", True, "this chip multiplies float32 in bfloat16"),
        ("cpu", "auto", False, "32-true", False, "does not multiply float32 in bfloat16"),
        ("cpu", "bf16", False, "32-true", False, "does not multiply float32 in bfloat16"),
        ("cpu", "32-true", True, "32-true", False, "32-true (device=cpu)"),
        ("cpu", "16-true", True, "16-true", False, "16-true (device=cpu)"),
        ("cuda", "auto", True, "bf16-mixed", False, "this chip multiplies float32 in bfloat16"),
        ("cuda", "auto", False, "32-true", False, "does not multiply float32 in bfloat16"),
    ],
)
def test_what_was_found_of_bfloat16_is_used_and_said(monkeypatch, name, precision, present, taken, rough, says):
    with_bfloat16(monkeypatch, present)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    chosen = choose_device(name, precision)
    assert (chosen.precision, chosen.rough_products) == (taken, rough) and says in chosen.reason


def test_bfloat16_that_was_asked_for_and_is_not_there_is_no_secret(monkeypatch, caplog):
    with_bfloat16(monkeypatch, False)
    with caplog.at_level(logging.WARNING, "alignkit"):
        choose_device("cpu", "auto")
        assert not caplog.text
        choose_device("cpu", "bf16")
    assert "precision=bf16" in caplog.text and "float32" in caplog.text


def test_an_unknown_device():
    with pytest.raises(ConfigError, match="device=tpu: expected one of auto, cpu, cuda"):
        choose_device("tpu")
