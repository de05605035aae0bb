import logging

import pytest

from alignkit.errors import ConfigError
from alignkit.training import device
from alignkit.training.device import choose_device


def with_bfloat16(monkeypatch, present):
    monkeypatch.setattr(device, "_has_bfloat16", lambda accelerator: present)


@pytest.mark.parametrize(
    ("precision", "present", "taken", "says"),
    [
        ("auto", True, "32-true", "multiplies bfloat16, which auto takes on GPUs alone"),
        ("auto", False, "32-true", "does not multiply bfloat16"),
        ("bf16", True, "bf16-mixed", "this chip multiplies bfloat16"),
        ("bf16", False, "32-true", "does not multiply bfloat16"),
        ("16-true", True, "16-true", "16-true (device=cpu)"),
    ],
)
def test_what_was_found_of_bfloat16_is_said(monkeypatch, precision, present, taken, says):
    with_bfloat16(monkeypatch, present)
    chosen = choose_device("cpu", precision)
    assert chosen.precision == taken and says in chosen.reason


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
