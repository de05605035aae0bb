"""The benchmark of a GPU runs where there is none, at small size: it is ready when a card is."""

import gpu

SMALL = gpu.Sizes(
    pairs=600, student_dim=8, teacher_dim=12, batch=128, queries=25, corpus=900, features=32, device="cpu",
    commands=False,
)  # fmt: skip


def test_every_part_is_timed_and_agrees_with_the_cpu(tmp_path, capsys):
    seconds = gpu.main(tmp_path, SMALL)
    said = capsys.readouterr().out
    parts = (
        "card",
        "moments",
        "ridge",
        "random features",
        "epoch of a bare loop",
        "epoch of mlp",
        "search",
        "comparison",
    )
    for part in parts:
        assert any(name.startswith(part) for name in seconds), part
    assert all(took > 0 for took in seconds.values())
    assert said.count("from the CPU's in float64") == 2
    assert all(name in said for name in seconds)
    assert len(list(tmp_path.glob("*.npy"))) == 4  # kept for the next run
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.npy")}
    gpu.make(tmp_path, "pairs", SMALL.pairs, SMALL, gpu.torch.device("cpu"))
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.npy")}
