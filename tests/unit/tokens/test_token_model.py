"""How tokens are written, and when they hold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from include.errors import InvalidInputError
from include.tokens.cache import KEPT_MOST, VerifiedTokens
from include.tokens.model import (
    Credential,
    Token,
    check_apis,
    check_name,
    check_projects,
    draw_secret,
    hash_secret,
    parse_credential,
)

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SECRET = "0123456789abcdef0123456789abcdef01234567"


def token(**changes: object) -> Token:
    values = {
        "id": 1,
        "name": "t",
        "apis": None,
        "projects": None,
        "created_at": NOW,
        "expires_at": None,
        "revoked_at": None,
    }
    return Token(**{**values, **changes})


def test_a_credential_is_read_back_as_it_is_written():
    written = str(Credential(42, SECRET))
    assert written == f"42:{SECRET}"
    assert parse_credential(written) == Credential(42, SECRET)


def test_a_credential_never_shows_its_secret_in_a_log():
    assert SECRET not in repr(Credential(42, SECRET))


@pytest.mark.parametrize(
    "text",
    [
        "",
        SECRET,
        f":{SECRET}",
        f"1:{SECRET[:-1]}",
        f"1:{SECRET}0",
        f"1:{SECRET.upper()}",
        f" 1:{SECRET}",
        f"1:{SECRET}\n",
        f"-1:{SECRET}",
        f"1234567890123456789:{SECRET}",
        f"١:{SECRET}",
        f"1:{'g' * 40}",
    ],
)
def test_what_has_another_form_is_no_credential(text: str):
    assert parse_credential(text) is None


def test_secrets_are_forty_hexadecimal_digits_and_differ():
    drawn = {draw_secret() for _ in range(50)}
    assert len(drawn) == 50
    assert all(len(secret) == 40 and int(secret, 16) >= 0 for secret in drawn)


def test_only_a_sha256_is_stored():
    assert hash_secret(SECRET).hex() == "deb87fabd17715bb31ad4cf4ffb9494eeb15f8d33d85b031a301c64ab3417eaa"


@pytest.mark.parametrize(
    ("changes", "valid"),
    [
        ({}, True),
        ({"expires_at": NOW + timedelta(seconds=1)}, True),
        ({"expires_at": NOW}, False),
        ({"revoked_at": NOW - timedelta(days=1)}, False),
    ],
)
def test_validity(changes: dict[str, object], valid: bool):
    assert token(**changes).is_valid(NOW) is valid


def test_a_token_opens_the_apis_it_names_or_all():
    assert token().opens("crontab")
    assert token(apis=("crontab",)).opens("crontab")
    assert not token(apis=("crontab",)).opens("management")


def test_apis_are_kept_in_one_order_each_once():
    assert check_apis(("management", "crontab", "crontab")) == ("crontab", "management")
    assert check_apis(None) is None


@pytest.mark.parametrize("apis", [(), ("nope",), ("crontab", "")])
def test_unknown_or_no_apis_are_refused(apis: tuple[str, ...]):
    with pytest.raises(InvalidInputError) as caught:
        check_apis(apis)
    assert caught.value.field == "apis"


def test_projects_keep_their_order_each_once():
    assert check_projects(("49", "42", "49")) == ("49", "42")
    assert check_projects(None) is None


@pytest.mark.parametrize("projects", [(), ("",), ("x" * 65,), ("a\0b",)])
def test_projects_that_cannot_be_are_refused(projects: tuple[str, ...]):
    with pytest.raises(InvalidInputError) as caught:
        check_projects(projects)
    assert caught.value.field == "projects"


@pytest.mark.parametrize("name", ["", "x" * 201, "a\nb"])
def test_names_that_cannot_be_are_refused(name: str):
    with pytest.raises(InvalidInputError) as caught:
        check_name(name)
    assert caught.value.field == "name"


class TestVerifiedTokens:
    def test_a_credential_is_remembered_for_three_seconds(self):
        moment = [100.0]
        cache = VerifiedTokens(lambda: moment[0])
        cache.put("1:a", token())
        moment[0] = 102.9
        assert cache.get("1:a", NOW) == token()
        moment[0] = 103.0
        assert cache.get("1:a", NOW) is None

    def test_another_secret_of_the_same_token_is_not_known(self):
        cache = VerifiedTokens()
        cache.put("1:a", token())
        assert cache.get("1:b", NOW) is None

    def test_what_expires_meanwhile_is_not_returned(self):
        cache = VerifiedTokens()
        cache.put("1:a", token(expires_at=NOW + timedelta(seconds=1)))
        assert cache.get("1:a", NOW) is not None
        assert cache.get("1:a", NOW + timedelta(seconds=1)) is None

    def test_what_ended_is_forgotten_and_not_remembered_again(self):
        cache = VerifiedTokens()
        other = token(id=7)
        cache.put("1:a", token())
        cache.put("7:a", other)
        cache.forget(token())
        cache.put("1:a", token())  # it was being verified while it ended
        assert cache.get("1:a", NOW) is None
        assert cache.get("7:a", NOW) == other

    def test_it_remembers_only_so_many_that_ended(self):
        cache = VerifiedTokens()
        for number in range(KEPT_MOST + 1):
            cache.forget(token(id=number))
        cache.put("0:a", token(id=0))
        cache.put("1:a", token(id=1))
        assert (cache.get("0:a", NOW), cache.get("1:a", NOW)) == (token(id=0), None)

    def test_it_does_not_grow_without_end(self):
        cache = VerifiedTokens()
        for number in range(KEPT_MOST + 1):
            cache.put(f"{number}:a", token())
        assert cache.get("0:a", NOW) is None
        assert cache.get(f"{KEPT_MOST}:a", NOW) is not None
