"""Fixtures that more than one room's tests use. What is heavy is imported in them: xdist's own process needs none."""

import functools
import gc
import importlib.util
import os
import random
import shutil
import signal
import sys
from pathlib import Path

import packaged_yamls
import pytest
from _pytest.doctest import DoctestModule
from loopback_hub import hub  # noqa: F401 - the Hub, for those who name it
from real_milvus import milvus  # noqa: F401 - likewise
from real_postgres import connection, postgres, table  # noqa: F401 - one server for all tests

TESTS = Path(__file__).resolve().parent
SHARED_DATA = TESTS.parents[1] / "shared" / "data"

# models come from installed packages; nothing may look for them elsewhere
os.environ["HF_HUB_OFFLINE"] = "1"
# two cores, several libraries and processes: more threads only wait for each other
os.environ.setdefault("OMP_NUM_THREADS", "1")
# a shell lets what it starts in the background ignore Ctrl-C, and so would the commands whose Ctrl-C is tested
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_xdist_auto_num_workers():
    """Two more than there are cores: tests wait for servers, for other processes and for what is to happen."""
    workers = yield
    return workers if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ else workers + 2


# what collecting imports anyway and takes long to compile, in shares
SHARES = (("lightning.pytorch",), ("scipy.stats", "sympy", "matplotlib.pyplot"), ("hydra", "rich", "tensorboard"))


def _start_of(of):
    """Where this one of xdist's processes begins in so many things; each begins elsewhere."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return of * number // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))


def pytest_collection():
    """A fresh environment is compiled as it is imported: processes that begin alike would each compile everything."""
    gc.disable()  # a fifth of collecting would go into looking for garbage in what stays
    if "PYTEST_XDIST_WORKER" in os.environ:
        for name in SHARES[_start_of(len(SHARES))]:
            importlib.import_module(name)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """So it is with the tests themselves, which are put in order again below."""
    report = yield
    if collector.path == TESTS and isinstance(collector, pytest.Dir):
        start = _start_of(len(report.result))
        report.result = report.result[start:] + report.result[:start]
    return report


# files whose tests take longest, each half a minute or more
LONGEST = (
    "test_ray.py", "test_several_processes.py", "test_two_processes.py", "test_notebook.py", "test_mteb.py",
    "test_sentence_transformers_folder.py",
)  # fmt: skip


def pytest_collection_modifyitems(items):
    """All processes must list the tests alike. What takes longest begins first: nobody waits for it in the end.

    Then come the commands, whose tests take longer than those of the rooms.
    """

    def place(item):
        name, command = item.path.name, item.path.parent == TESTS
        return (LONGEST.index(name) if name in LONGEST else len(LONGEST) + (not command), item.path)

    items.sort(key=place)


@pytest.hookimpl(wrapper=True)
def pytest_collect_file():
    """Examples stand in the package's docstrings; looking for some in the tests takes a sixth of collecting."""
    return [one for one in (yield) if not isinstance(one, DoctestModule)]


def pytest_collection_finish():
    """A full collection would go through all that the imports have made, again and again, and find nothing."""
    import torch

    from alignkit import progress

    torch.set_num_threads(1)
    # on a busy machine any job takes long enough for a line of progress, which no test expects on stderr
    progress.FIRST_LINE_S = 3600.0
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    gc.enable()


def _seed():
    import numpy as np
    import torch

    torch.default_generator.manual_seed(0)  # `torch.manual_seed` notes for three other devices where it was called from
    np.random.seed(0)  # noqa: NPY002
    random.seed(0)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """What is drawn depends on no test that ran before in this process."""
    _seed()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call():
    """Nor on the fixtures that were made for this one."""
    _seed()


@pytest.fixture(scope="session", autouse=True)
def nothing_waits_for_the_disk():
    """A file that is synced is there after a power cut, which no test makes; a run folder syncs forty times."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", lambda file: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def lightning_looks_for_plugins_once():
    """It reads the lists of all installed packages for every trainer, a tenth of what a small one costs."""
    registry = sys.modules.get("lightning.fabric.utilities.registry")
    with pytest.MonkeyPatch.context() as patched:
        if registry is not None:
            patched.setattr(registry, "entry_points", functools.cache(registry.entry_points))
        yield


@pytest.fixture(scope="session", autouse=True)
def packaged_tokens_are_read_once():
    """WordLlama's 32,000 tokens take a quarter of a second, and hundreds of tests have a student of their own."""
    from alignkit.embedders import table_files, word_tokens

    found = importlib.util.find_spec("wordllama")
    packaged = found and Path(found.submodule_search_locations[0])
    read, once = table_files.read_tokenizer, functools.cache(table_files.read_tokenizer)

    def read_once(path):
        return (once if packaged and path.is_relative_to(packaged) else read)(path)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(table_files, "read_tokenizer", read_once)
        patched.setattr(word_tokens, "_way_to_split", functools.cache(word_tokens._way_to_split))
        yield


@pytest.fixture(scope="session")
def shared_data():
    """The folder of public sentence sets beside the checkout; tests that read it are skipped where it is not there."""
    if not SHARED_DATA.is_dir():
        pytest.skip("needs the public sentence sets beside the checkout")
    return SHARED_DATA


@pytest.fixture(scope="session")
def packaged_yamls_are_read_once():
    """For all commands that are run in this process."""
    with packaged_yamls.read_once():
        yield


@pytest.fixture(scope="session")
def small_pack(tmp_path_factory):
    """A folder with every third pair of the demo pack: a head on the whole takes three times as long to judge."""
    import numpy as np

    from alignkit.resources.demo_pack import PACK

    folder = tmp_path_factory.mktemp("pack")
    shutil.copy(PACK / "pack.json", folder)
    lines = (PACK / "sentences.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "sentences.jsonl").write_text("".join(lines[::3]), encoding="utf-8")
    for vectors in PACK.glob("*.npy"):
        np.save(folder / vectors.name, np.load(vectors)[::3])
    return folder


@pytest.fixture
def whole_pack():
    """For tests of the pack's own figures: their commands read all of it."""


@pytest.fixture
def run_command(request, monkeypatch, tmp_path, capsys, packaged_yamls_are_read_once, small_pack):
    """Run a command in this process, in a folder of its own; returns exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    if "whole_pack" not in request.fixturenames:
        monkeypatch.setattr("alignkit.pairs.demo.PACK", small_pack)

    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [f"alignkit {name}", *map(str, arguments)])
        try:
            importlib.import_module(f"alignkit.{name}").main()
            code = 0
        except SystemExit as leave:
            code = leave.code or 0
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture(scope="session")
def train_into(packaged_yamls_are_read_once, small_pack):
    """Trains by the closed form alone, in this process, for fixtures that outlive a test: folder and further words."""
    from alignkit import train

    def make(folder, *words):
        with pytest.MonkeyPatch.context() as patched:
            patched.chdir(folder.parent)
            patched.setattr("alignkit.pairs.demo.PACK", small_pack)
            patched.setattr(sys, "argv", ["alignkit train", "trainer.max_epochs=0", f"hydra.run.dir={folder}", *words])
            with pytest.raises(SystemExit) as left:
                train.main()
        assert not left.value.code
        return folder

    return make


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory, train_into):
    """What `train` leaves on the demo pack, by the closed form alone; not to be written to."""
    return train_into(tmp_path_factory.mktemp("trained") / "run", "student=two_layer")


@pytest.fixture
def run(trained_run, run_command, tmp_path):
    """That run, a copy of one's own where commands look for the newest."""
    return shutil.copytree(trained_run, tmp_path / "outputs" / "train" / "first")


@pytest.fixture(scope="session")
def static_run(tmp_path_factory):
    """A run folder with a linear head of the static student, solved on 500 real pairs; not to be written to."""
    import numpy as np
    import torch

    from alignkit.artifact import save_head
    from alignkit.heads.linear import LinearHead
    from alignkit.heads.streaming import TensorBatches
    from alignkit.pairs.demo import load_demo

    demo = load_demo("static")
    student, teacher = (
        torch.from_numpy(np.array(part[:500], dtype=np.float32)) for part in (demo.train.student, demo.train.teacher)
    )
    head = LinearHead(student.shape[1], teacher.shape[1])
    head.solve(TensorBatches(student, teacher))
    folder = tmp_path_factory.mktemp("static") / "run"
    identities = {name: getattr(demo.origin, name) for name in ("student_identity", "teacher_identity")}
    save_head(head, folder / "head", **identities)
    return folder


def linear_pairs(count, student_dim=12, teacher_dim=20, seed=0, noise=0.05, offset=0.0, rotation_seed=100):
    """Pairs whose teacher vectors are a noisy linear map of the student's, the same map for every seed."""
    import numpy as np

    from alignkit.pairs.base import Pairs

    rotation = np.random.default_rng(rotation_seed).standard_normal((student_dim, teacher_dim))
    generator = np.random.default_rng(seed)
    student = generator.standard_normal((count, student_dim))
    teacher = student @ rotation + noise * generator.standard_normal((count, teacher_dim)) + 1.0
    teacher /= np.linalg.norm(teacher, axis=1, keepdims=True)
    return Pairs(
        ids=[f"{seed}-{row}" for row in range(count)],
        student=(student + offset).astype(np.float32),
        teacher=teacher.astype(np.float32),
    )


@pytest.fixture(scope="session")
def make_pairs():
    """`linear_pairs`, for tests that want their own."""
    return linear_pairs


@pytest.fixture
def splits():
    """300, 60 and 60 pairs of one noisy linear map."""
    from alignkit.pairs.base import Origin, PairSplits

    parts = [linear_pairs(count, seed=seed) for seed, count in enumerate((300, 60, 60))]
    return PairSplits(*parts, Origin("made here", real=False, split="by hand"))
