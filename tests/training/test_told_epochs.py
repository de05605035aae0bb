"""Who listens to a run hears every validation, and may end it."""

import pytest

from alignkit.training.listening import NotPromisingError, listened_to_by, tell


@pytest.fixture
def fitter(tmp_path):
    import functools

    from alignkit.heads.linear import LinearHead
    from alignkit.losses.cosine import CosineLoss
    from alignkit.training.device import choose_device
    from alignkit.training.fit import Fitter
    from alignkit.training.recipe import Recipe

    recipe = Recipe(max_epochs=3, batch_size=100)
    return Fitter(functools.partial(LinearHead), CosineLoss(), recipe, choose_device("cpu"), "closed_form", 0, tmp_path)


def test_a_run_is_ended_by_who_listens_and_can_be_resumed(fitter, splits, tmp_path):
    heard = []

    def listener(passes, figures):
        heard.append((passes, figures["val/cosine_p50"]))
        return passes < 2

    with listened_to_by(listener), pytest.raises(NotPromisingError, match="not promising after epoch 2"):
        fitter.fit(splits)
    assert [passes for passes, _ in heard] == [0, 1, 2] and all(figure > 0.5 for _, figure in heard)
    with listened_to_by(lambda passes, figures: heard.append(passes) or True):
        assert fitter.fit(splits, resume=True).epochs == 3
    assert heard[3:] == [2, 3]  # from its last checkpoint


def test_a_closed_form_is_heard_once_and_a_fit_without_a_folder_never(fitter, splits):
    from dataclasses import replace

    heard = []
    solved = replace(fitter, recipe=replace(fitter.recipe, max_epochs=0))
    with listened_to_by(lambda passes, figures: heard.append(passes)):
        solved.fit(splits)
        replace(solved, run_folder=None).fit(splits)  # as model=auto tries its heads
    assert heard == [0.0]


def test_nobody_need_listen():
    assert tell(1.0, {})
