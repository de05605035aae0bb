"""What settings of a student that is trained may be."""

from __future__ import annotations

from alignkit.setting_rules import whole

RULES = {
    "train_layers": whole(0).or_null("which trains all"),
    "lora": whole(1).or_null("which trains the matrices themselves"),
}
