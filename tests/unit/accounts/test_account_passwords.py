"""How passwords are kept, and how often they may be tried."""

from __future__ import annotations

import base64
import re

import pytest

from include.accounts.model import NOBODY, hash_password, is_password
from include.accounts.throttle import NAMES_MOST, LoginThrottle
from include.errors import AuthenticationError, InvalidInputError


class TestPasswords:
    def test_only_the_same_password_matches(self):
        stored = hash_password("correct horse 马")
        assert is_password("correct horse 马", stored)
        for other in ("correct horse", "correct horse 馬", "Correct horse 马", "", "\ud800"):
            assert not is_password(other, stored), other

    def test_each_has_a_salt_of_its_own_and_says_its_cost(self):
        one, other = hash_password("correct horse"), hash_password("correct horse")
        assert one != other
        assert re.fullmatch(r"scrypt\$16384\$8\$5\$[A-Za-z0-9+/]{22}==\$[A-Za-z0-9+/]{43}=", one)
        assert "correct" not in one

    def test_a_hash_of_another_cost_can_be_checked(self):
        """RFC 7914, section 12: scrypt of an empty password and salt, N=16, r=1, p=1, its first 32 bytes."""
        expected = "77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442"
        stored = "scrypt$16$1$1$$" + base64.b64encode(bytes.fromhex(expected)).decode()
        assert is_password("", stored)
        assert not is_password("x", stored)

    def test_nobody_costs_as_much_as_anybody_and_has_no_password(self):
        assert NOBODY.split("$")[:4] == hash_password("correct horse").split("$")[:4]
        assert not is_password("", NOBODY)

    @pytest.mark.parametrize("password", ["", "x" * 7, "x" * 1001])
    def test_the_length_is_limited(self, password):
        with pytest.raises(InvalidInputError, match=r"^password: must have 8 to 1000 characters$"):
            hash_password(password)


class TestThrottle:
    def test_ten_failed_tries_a_minute_for_each_name(self):
        moment = [100.0]
        throttle = LoginThrottle(lambda: moment[0])
        for second in range(10):
            moment[0] = 100.0 + second
            throttle.take("anna")
        with pytest.raises(AuthenticationError, match="too many failed tries to log in: wait a minute"):
            throttle.take("anna")
        throttle.take("berta")
        moment[0] = 160.0  # the first one is a minute old
        throttle.take("anna")
        with pytest.raises(AuthenticationError):
            throttle.take("anna")

    def test_a_good_one_starts_the_count_anew(self):
        throttle = LoginThrottle(lambda: 0.0)
        for _ in range(3):
            for _ in range(10):
                throttle.take("anna")
            throttle.succeeded("anna")

    def test_it_does_not_grow_without_end(self):
        throttle = LoginThrottle(lambda: 0.0)
        for _ in range(10):
            throttle.take("anna")
        for number in range(NAMES_MOST):
            throttle.take(str(number))
        throttle.take("anna")
