"""Hydra reads twenty YAMLs for each command, a third of what composing takes; a thousand commands are run here."""

import pickle
from contextlib import contextmanager


@contextmanager
def read_once():
    """Read each of the package's own a single time."""
    from hydra._internal.config_repository import ConfigRepository

    from alignkit.commandline.conf import conf_folder

    packaged = [("hydra", "hydra.conf"), ("main", str(conf_folder())), ("schema", "")]
    read, kept = ConfigRepository.load_config, {}

    def load(repository, config_path):
        if [(source.provider, source.path) for source in repository.sources] != packaged:
            return read(repository, config_path)  # a user's own are among them
        if config_path not in kept:
            kept[config_path] = pickle.dumps(read(repository, config_path))
        return pickle.loads(kept[config_path])

    ConfigRepository.load_config = load
    try:
        yield
    finally:
        ConfigRepository.load_config = read
