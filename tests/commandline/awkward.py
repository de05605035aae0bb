"""Texts that a grammar, a shell or YAML would take for something else; each stands for names that people have."""

NUMBERS = ["2024", "2024_05", "20250101_1", "1e3", "007", "3.10", "-1", ".5", "0x10", "1_000", "nan", "inf"]
WORDS = ["true", "False", "none", "nulls", "yes", "off", "~"]
WINDOWS = [
    "C:\\data\\my vectors (2)\\x.npy",
    "C:\\data (1)\\",
    "\\\\server\\share\\s.txt",
    "\\\\?\\C:\\long\\",
    "D:",
    "%USERPROFILE%\\x",
]
QUOTES = ["it's here.npy", 'say "hi"', "'quoted'", '"quoted"', "back\\'slash", "\\", "\\\\", "'", '"', '\\"', "`x`"]
BRACKETS = ["[draft] one.npy", "100% {final}.npy", "(1)", "[1,2]", "{a: b}", "[", "}", "choice(a,b)", "range(1,3)"]
SIGNS = ["a,b.npy", "$HOME/x", "${x}", "\\${x}", "$", "${", "#1.txt", "# no comment", "a=b", "=",
         "epoch=3-step=10.ckpt", "a@b", "~/vectors.npy", "+x", "--flag", "-", "*?", "a&b|c;d", "<a>", "!", "key: value",
         "a:b", "qwen2.5:0.5b", "http://127.0.0.1:11434"]  # fmt: skip
SPACES = [" passage: ", "trailing ", "  ", "tab\there", "line\nbreak", "短句 (1).npy", "名：字", "😀.txt", "e\u0301"]
AWKWARD = [*NUMBERS, *WORDS, *WINDOWS, *QUOTES, *BRACKETS, *SIGNS, *SPACES]
