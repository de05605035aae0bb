import pytest

from alignkit.credentials import check_variable_name, from_environment, looks_like_key, redacted, without_secrets
from alignkit.errors import ConfigError

KEYS = [
    "sk-abcdef123456",
    "sk-proj-a1b2c3d4e5f6_g7h8",
    "sk-ant-api03-A1b2C3d4E5f6",
    "sk-or-v1-0123456789abcdef0123456789abcdef",
    "sk_live_51H8abcdefghijk",
    "hf_aBcDeFgHiJkL12345mnop",
    "gsk_abc123def456ghi789",
    "ghp_0123456789abcdefghij0123456789abcdef",
    "AIzaSyA1234567890abcdefghijklmnopqrstuv",
    "AKIAIOSFODNN7EXAMPLE",
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.abc",
    "Bearer abcdef1234567890",
    "http://host/v1?api_key=abcdef123",
    "{Authorization: Bearer x1}",
    "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF",
]
NAMES = [
    "qwen2.5:0.5b", "all-MiniLM-L6-v2", "Qwen/Qwen3-Embedding-0.6B-GGUF", "sk-learn-2024.txt", "data/sk-sentences",
    "hf_models", "text-embedding-3-large", "0123456789abcdef0123456789abcdef", "C:\\Users\\Some Body\\token.txt",
    "search_query: ",
    "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "token: what is that?",
    "http://me:pw@host/v1", "2026-01-31_12-00-00", "DESKTOP-ABC1234",
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS)
def test_a_key_is_known_by_its_shape_and_starred_out(key):
    assert looks_like_key(key)
    assert looks_like_key(f"prefix {key} suffix") or key.startswith("{")
    shown = redacted(f"no model '{key}' there")
    assert key.startswith("{") or (key not in shown and "***" in shown)


@pytest.mark.parametrize("name", NAMES)
def test_names_of_models_files_and_digests_are_no_keys(name):
    assert not looks_like_key(name)


def test_passwords_in_urls_and_given_secrets_are_starred_out():
    assert redacted("http://me:pw@host/v1, not hunter2!", ["hunter2"]) == "http://***@host/v1, not ***!"


def test_settings_lose_secrets_wherever_they_stand():
    settings = {"teacher": {"api_key": "x", "base_url": "https://me:pw@host/v1", "api_key_env": "KEY"},
                "words": ["student.base_url=http://a:b@c", "sk-abcdef123456"], "n": [1], "none": None}  # fmt: skip
    shown = without_secrets(settings)
    assert shown["teacher"] == {"api_key": "***", "base_url": "https://***@host/v1", "api_key_env": "KEY"}
    assert shown["words"] == ["student.base_url=http://***@c", "***"] and shown["n"] == [1] and shown["none"] is None


@pytest.mark.parametrize(
    "variable", [*KEYS, "A1B2C3D4E5F6A7B8C9D0E1F2A3B4C5D6", "sk-short", "hunter2", "my key", "", "a=b", "ünï"]
)
def test_a_key_where_its_variables_name_belongs_is_not_repeated(variable):
    with pytest.raises(ConfigError) as raised:
        check_variable_name("api_key_env", variable)
    assert "give api_key_env=MY_KEY" in str(raised.value)
    assert not variable or variable not in str(raised.value)


def test_the_key_comes_from_its_variable(monkeypatch):
    monkeypatch.setenv("my_key", " abc ")
    assert from_environment("token_env", "my_key") == "abc"
    with pytest.raises(ConfigError, match="token_env=NO_SUCH_KEY: this environment variable is not set"):
        from_environment("token_env", "NO_SUCH_KEY")
