"""The command `compare`: what is done once its words have been read."""

from __future__ import annotations

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from alignkit.commandline import plain
from alignkit.commandline.leaderboards import measured_groups, write_leaderboard
from alignkit.comparing.found_runs import find_runs, runs_asked


def main(config: DictConfig) -> None:
    """Read, measure, compare, say."""
    settings = plain(config)
    found = find_runs(runs_asked(settings["runs"]))
    groups, remarks = measured_groups(found, settings["objective"], time_embedding=settings["time_embedding"])
    folder = Path(HydraConfig.get().runtime.output_dir)
    title = f"{sum(len(group.entries) for group in groups)} run(s) compared"
    write_leaderboard(folder, groups, title, remarks, {}, tensorboard=settings["tensorboard"])
