"""The floors of the house: imports go down only, and what is heavy stays where it belongs."""

import ast
import functools
import subprocess
import sys
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import alignkit
from alignkit.__main__ import commands
from alignkit.parts import conf_folder

PACKAGE = Path(alignkit.__file__).parent
FLOORS = [
    {"errors"},
    {
        "extras",
        "vectors",
        "files",
        "file_kinds",
        "neighbours",
        "rough_search",
        "corpus_blocks",
        "rounding",
        "shapes",
        "servers",
        "progress",
        "credentials",
        "pasting",
        "event_files",
        "head_files",
        "hub",
        "object_storage",
        "student_files",
        "parts",
        "setting_rules",
        "setting_names",
        "language",
    },
    {
        "heads",
        "losses",
        "metrics",
        "codes",
        "sentences",
        "embedders",
        "vector_files",
        "gguf_files",
        "indexes",
        "workers",
    },
    {
        "cache",
        "artifact",
        "artifact_parts",
        "head_models",
        "aligned",
        "agreement",
        "pairs",
        "resources",
        "searching",
        "costs",
    },
    {"runs"},
    {
        "training",
        "distillation",
        "tables",
        "evaluation",
        "selection",
        "exporters",
        "serving",
        "checking",
        "migration",
        "enabling",
        "watching",
        "choosing",
        "benchmarking",
        "frameworks",
    },
    {"reporting"},
    {"estimator", "comparing"},
    {*commands(), "commands", "commandline", "__main__"},
]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
# rooms of one floor that may use each other
NEIGHBOURS = {
    ("hub", "extras"),
    ("object_storage", "extras"),
    ("vectors", "neighbours"),
    ("neighbours", "rough_search"),
    ("rough_search", "rounding"),
    ("rough_search", "corpus_blocks"),
    ("neighbours", "rounding"),
    ("neighbours", "corpus_blocks"),
    ("servers", "setting_names"),
    ("setting_rules", "setting_names"),
    ("language", "setting_names"),
    ("language", "setting_rules"),
    ("parts", "setting_names"),
    ("parts", "setting_rules"),
    ("event_files", "files"),
    ("hub", "credentials"),
    ("hub", "servers"),
    ("head_files", "hub"),
    ("student_files", "hub"),
    ("object_storage", "files"),
    ("object_storage", "credentials"),
    ("file_kinds", "object_storage"),
    ("student_files", "files"),
    ("student_files", "head_files"),
    ("aligned", "agreement"),
    ("artifact", "agreement"),
    ("artifact", "artifact_parts"),
    ("aligned", "artifact"),
    ("aligned", "head_models"),
    ("head_models", "artifact"),
    ("aligned", "resources"),
    ("pairs", "cache"),
    ("indexes", "sentences"),  # files of texts beside an index that holds none
    ("sentences", "embedders"),  # how a server is spoken to, and what its faults mean
    ("pairs", "resources"),
    ("tables", "enabling"),  # which file is behind a model in Ollama
    ("selection", "training"),
    ("selection", "evaluation"),
    ("distillation", "training"),
    ("benchmarking", "evaluation"),
}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


LOOKED_AT = (ast.Import, ast.ImportFrom, ast.Assert, ast.Attribute, ast.Call)


@functools.cache
def nodes_of(path):
    return tuple(node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, LOOKED_AT))


def imported(path):
    """Modules that a file imports, also inside functions and for the type checker alone."""
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names if node.module == "alignkit")


def test_imports_go_down():
    for path, module in [(file, module) for file in MODULES for module in imported(file)]:
        room, parts = room_of(path), module.split(".")
        assert room in FLOOR_OF, f"{room} has no floor; name it in DESIGN and here"
        other = parts[1] if parts[0] == "alignkit" and len(parts) > 1 else room
        if other == room or other not in FLOOR_OF:
            continue
        below = FLOOR_OF[other] < FLOOR_OF[room] or FLOOR_OF[room] == len(FLOORS) - 1
        assert below or (room, other) in NEIGHBOURS, f"{path.name} (floor {FLOOR_OF[room]}) imports alignkit.{other}"


def test_hydra_and_lightning_stay_in_their_rooms():
    for path in MODULES:
        room, modules = room_of(path), set(imported(path))
        libraries = {module.split(".")[0] for module in modules}
        if FLOOR_OF[room] < len(FLOORS) - 1:
            assert not libraries & {"hydra", "omegaconf"}, path
        if room != "training":
            assert "lightning" not in libraries, path
            # seconds at the start of a command: it imports matplotlib and transformers where they are installed
            assert path == PACKAGE / "metrics" / "collected.py" or "torchmetrics" not in libraries, path
            assert "alignkit.metrics.collected" not in modules, path


def module_of(path):
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def imports_of(path, modules):
    """The modules of ours that a file imports, wherever it does: at its top, in a function, for the type checker."""
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} imports relatively"
            for name in (f"{node.module}.{alias.name}" for alias in node.names):
                # `from alignkit.room import file` is that file; any other name comes from the room itself
                yield from ({name} if name in modules else {node.module} & modules)


def circles(graph):
    """Groups of modules that reach each other; `TopologicalSorter` names one circle, and the rest is left to see."""
    found, graph = [], {module: set(others) for module, others in graph.items()}
    while True:
        try:
            TopologicalSorter(graph).prepare()
            return found
        except CycleError as error:
            circle = error.args[1]
            found.append(" <- ".join(circle))
            graph[circle[1]].discard(circle[0])


def test_no_file_is_imported_in_a_circle():
    """A circle hidden behind `TYPE_CHECKING` or inside a function is one: its files are one idea, or tell the wrong."""
    paths = {module_of(path): path for path in PACKAGE.rglob("*.py")}
    graph = {module: set(imports_of(path, paths.keys())) for module, path in paths.items()}
    assert len(graph["alignkit.cache.vector_cache"]) > 5  # it sees something
    assert not circles(graph)


def test_a_circle_is_seen():
    assert len(circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": {"f"}, "f": {"e"}})) == 2
    assert not circles({"a": {"b", "c"}, "b": {"c"}, "c": set()})


def test_a_files_name_says_which():
    """A name that stands twice is a contract's, a part's (its YAML gives it), or a command's (declared, and done)."""
    parts = {path.stem for path in PACKAGE.parent.glob("conf/*/*.yaml")}
    assert parts
    count = Counter(path.stem for path in MODULES)
    assert not {name for name, times in count.items() if times > 1} - {"__init__", "base", *parts, *commands()}


def test_importing_alignkit_loads_nothing_heavy():
    code = "import sys, alignkit; print(sorted({'torch', 'hydra', 'lightning', 'httpx'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_loading_a_head_needs_neither_hydra_nor_lightning():
    code = (
        "import sys, alignkit; alignkit.load_head; alignkit.AlignedEmbedder;"
        "print(sorted({'hydra', 'lightning', 'omegaconf', 'sentence_transformers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_the_list_of_commands_needs_no_torch():
    code = "import sys, alignkit.__main__; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


def nodes():
    for path in MODULES:
        for node in nodes_of(path):
            yield path.relative_to(PACKAGE).as_posix(), node


def test_no_assert_guards_a_users_input():
    """`python -O` drops them, and nobody gets words from one."""
    assert not [f"{path}:{node.lineno}" for path, node in nodes() if isinstance(node, ast.Assert)]


def test_no_private_operator_of_torch_is_called():
    """A build without the library behind one (oneDNN, MKL) does not have it."""
    private = {
        path
        for path, node in nodes()
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and "torch.ops" in ast.unparse(node.value)
    }
    assert private <= {"exporters/numpy_lines.py"}  # an operator's schema, which every build has


def test_files_are_renamed_in_one_place():
    """`files.move` is patient where Windows refuses for a moment."""
    for path, node in nodes():
        if path == "files.py":
            continue
        place = f"{path}, line {node.lineno}: files.move"
        if isinstance(node, ast.Attribute):
            assert node.attr != "rename", place
            assert not (isinstance(node.value, ast.Name) and (node.value.id, node.attr) == ("os", "replace")), place
        # a path's replace takes one argument, a string's at least two
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "replace":
            assert len(node.args) + len(node.keywords) != 1 or node.keywords, place


def test_only_the_command_line_knows_its_words():
    """A config means the same wherever it comes from: nobody else asks what was typed, or which YAML was named."""
    words = {"overrides", "choices"}
    asking = {path for path, node in nodes() if isinstance(node, ast.Attribute) and node.attr in words}
    assert {path for path in asking if not path.startswith("commandline/")} == set()
    yamls = [path for path in conf_folder().rglob("*.yaml") if "${hydra:" in path.read_text(encoding="utf-8")]
    assert yamls == []


def test_commands_import_no_commands():
    """What two of them need lies in a room below; what one declares is light, so that its help is there at once."""
    for name in commands():
        declared = set(imported(PACKAGE / f"{name}.py")) - {"__future__"}
        assert declared == {"alignkit.commandline"}, f"{name} imports {declared}"
    names = {f"alignkit.{prefix}{name}" for name in commands() for prefix in ("", "commands.")}
    asking = {path.relative_to(PACKAGE).as_posix(): names & set(imported(path)) for path in MODULES}
    assert {path: found for path, found in asking.items() if found} == {}


# values that no run could use, by command; those with a head that must be given name one that is not there
MISTYPED = {
    "build": ["validation=2", "generator=nonesuch", "generator=grammar generator.seeds_folder=x validation=2"],
    "check": ["format=xml", "student.batch_size=many student=openai"],
    "compare": ["nonesuch objective=x", "nonesuch", "time_embedding=x", ""],
    "benchmark": ["rows=x", "tasks=[x] head=nonesuch", "tasks=[x]", ""],
    "choose": ["budget=x", "sentences=nonesuch out=x.txt budget=3", ""],
    "demo": ["samples=-1", "seed=x", "data=nonesuch", "head=nonesuch", ""],
    "distill": ["budget=0", "lora=1.5", "trainer.max_epoch=3", "schedule=x", "student.truncate=maybe student=minilm",
                "resume=nonesuch"],
    "embed": ["which=x", "action=x", "action=lst", "confirm=maybe", "teacher=nonesuch", "sentences=nonesuch", "",
              "which=aligned sentences=."],
    "evaluate": ["search=x", "html=maybe", "resamples=0", "data.validation=few data=demo",
                 "data=beir data.path=x search=x", "codes=in8", "require=x", "head=nonesuch", ""],
    "export": ["role=x head=x format=x out=x", "tolerance=0 head=x format=x out=x", "",
               "head=nonesuch format=onnx out=x"],
    "migrate": ["step=x", "engine=nonesuch", "engine.workers=x", "role=x", "force=maybe", "source=nonesuch", "step=cop",
                "step=plan", ""],
    "serve": ["port=x head=x", "grace_s=-1 head=x", "fallback=x head=x", "head=nonesuch", ""],
    "train": [
        "lr=x", "lr=[1,", "seed=-1", "batch_size=0", "refit=maybe", "select_by=x", "whiten_by=x", "schedule=x",
        "trainer.max_epoch=3", "trainer.max_epochs=x", "trainer.max_steps=0", "trainer.callbacks=x", "trainer=x",
        "trainer.precision=x",
        "model=nonesuch", "loss=nonesuch", "model.hidden=x model=mlp", "loss.in_batch=maybe loss=info_nce",
        "extra=nonesuch", "student=nonesuch",
        # beside a text of each group
        "data=beir data.path=x lr=x", "extra=index extra.role=x lr=x", "model=auto model.target=x lr=x",
        "loss.of=x lr=x", "index=pgvector index.table=x lr=x", "student=distilled student.path=x lr=x",
        "device.name=x lr=x", "resume=nonesuch", "update=nonesuch",
    ],
    "watch": ["budget=x", "html=maybe", "queries=. head=nonesuch", ""],
}  # fmt: skip


def test_help_and_mistakes_are_there_before_anything_heavy(tmp_path):
    """In one process for all commands: nothing heavy is ever loaded in it."""
    heavy = {"torch", "lightning", "scipy", "httpx", "matplotlib", "sentence_transformers", "starlette", "rich"}
    code = f"""
import contextlib, importlib, io, sys
sys.path.append({str(Path(__file__).parent)!r})
import packaged_yamls

def mistake(name, words, heavy):
    sys.argv = [name, *words.split()]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
        try:
            importlib.import_module("alignkit." + name).main()
        except SystemExit as left:
            assert left.code == (0 if words.startswith("--") else 1), (name, words)
    lines = said.getvalue().splitlines()
    assert words.startswith("--") or (len(lines) == 1 and lines[0].startswith("alignkit: ")), (name, words, lines)
    loaded = heavy & set(sys.modules)
    assert not loaded, (name, words, loaded)

for name in {commands()!r}:
    for words in ("--help", "--version"):  # Hydra and its grammar take two thirds of the time that they are given
        mistake(name, words, {heavy!r} | {{"numpy", "hydra", "omegaconf"}})
with packaged_yamls.read_once():
    for name in {commands()!r}:
        for words in ("nonesuch=1", "students.model=x", "nonesuch"):
            mistake(name, words, {heavy!r} | {{"numpy"}})
    for name, several in {MISTYPED!r}.items():
        for words in several:  # of which some need NumPy, a tenth of a second
            mistake(name, words, {heavy!r})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []
