"""`./carillon token jwt`, called as the shell calls it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest

from include.cli.home import Home
from include.cli.main import main
from include.kit.clock import system_clock
from include.settings import Settings, get_settings
from include.tokens.jwt_tokens import JwtVerifier


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Home:
    monkeypatch.setenv("CARILLON_HOME", str(tmp_path))
    get_settings.cache_clear()
    return Home(tmp_path)


def run(capsys, *words: str) -> tuple[int, str, str]:
    code = main(["token", "jwt", *words])
    out, err = capsys.readouterr()
    return code, out, err


async def test_it_prints_the_token_alone_on_standard_output(capsys):
    code, out, err = run(capsys, "--user", "alice")
    assert (code, err) == (0, "It goes into a header: Authorization: jwt …\n")
    user = await JwtVerifier(get_settings()).verify(out.strip())
    assert user.name == "alice"
    left = user.claims["exp"] - system_clock().timestamp()
    assert 86_300 < left <= 86_400


async def test_json_is_all_there_is_on_standard_output(capsys):
    code, out, err = run(capsys, "--user", "爱丽丝", "--expires", "2h", "--json")
    made = json.loads(out)
    assert (code, err, made["user"]) == (0, "", "爱丽丝")
    ends = datetime.fromisoformat(made["expires_at"])
    assert abs(ends - system_clock() - timedelta(hours=2)) < timedelta(minutes=1)
    assert (await JwtVerifier(get_settings()).verify(made["jwt"])).name == "爱丽丝"


async def test_the_instance_of_the_home_accepts_it(capsys, home):
    key = home.secrets().secret_key
    _, out, _ = run(capsys, "--user", "alice")
    assert (await JwtVerifier(Settings(secret_key=key)).verify(out.strip())).name == "alice"


async def test_the_secret_of_the_setting_wins(capsys, home, monkeypatch):
    home.secrets()
    monkeypatch.setenv("CARILLON_JWT_SECRET", "a secret of at least thirty-two bytes")
    get_settings.cache_clear()
    _, out, _ = run(capsys, "--user", "alice")
    assert (await JwtVerifier(get_settings()).verify(out.strip())).name == "alice"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--user", ""], "carillon: user: must have 1 to 200 printable characters\n"),
        (
            ["--user", "a", "--expires", "soon"],
            "carillon: expires: 'soon' is neither like 90d nor ISO 8601\n",
        ),
    ],
)
def test_a_wrong_argument_is_one_sentence(capsys, words, message):
    assert run(capsys, *words) == (2, "", message)


def test_without_a_secret_of_ours_it_says_so(capsys, monkeypatch):
    monkeypatch.setenv("CARILLON_JWT_JWKS", "https://id.example.com/jwks")
    get_settings.cache_clear()
    code, out, err = run(capsys, "--user", "a")
    assert (code, out) == (1, "")
    assert "CARILLON_JWT_SECRET" in err
