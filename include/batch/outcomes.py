"""What the answer of the gateway makes of a sub-task. Pure but for the setting of how much is kept.

Source of the codes: research `iot.md` A8 and A12; those of our own are marked in `codes.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

from include.batch import codes
from include.batch.model import Step
from include.gateway.model import Outcome, Reply
from include.kit.texts import storable
from include.settings import get_settings

MESSAGE_CHARACTERS = 500

#: Code and words of what failed, where the gateway has no better.
_FAILURES: Mapping[Outcome, tuple[str, str]] = {
    "refused": (codes.DEVICE_REFUSED, "the device refused it"),
    "offline": (codes.DEVICE_OFFLINE, "the device is offline"),
    "timeout": (codes.COMMAND_TIMEOUT, "the device did not answer in time"),
    "unreachable": (codes.GATEWAY_UNREACHABLE, "the device gateway cannot be reached"),
    "garbage": (codes.GATEWAY_UNREADABLE, "the answer of the device gateway cannot be read"),
}


def step_of(subtask_id: int, reply: Reply) -> Step:
    """Return what became of a sub-task that was sent.

    All but a refusal by the gateway may be tried again: a device that answered with a bad result code may
    answer otherwise to the next attempt, which is another request to it.
    """
    output = None if reply.response is None else storable(reply.response, _kept())
    if reply.ok:
        return Step(subtask_id, "Success", output=output)
    code, words = _FAILURES[reply.outcome]
    by_gateway = reply.outcome == "refused" and reply.response is None
    if by_gateway:
        code = codes.GATEWAY_REFUSED
    return Step(
        subtask_id,
        "Fail",
        output=output,
        error_code=reply.error_code or code,
        error_msg=storable(reply.error or words, MESSAGE_CHARACTERS),
        retryable=not by_gateway,
    )


def failed(subtask_id: int, code: str, words: str, *, retryable: bool = False) -> Step:
    """Return a failure without an answer."""
    return Step(subtask_id, "Fail", error_code=code, error_msg=words, retryable=retryable)


def _kept() -> int:
    return get_settings().response_kept_characters
