"""Rollouts: how fast, in which waves and windows a batch task goes out, and when it halts.

Pure: no clock, no database. `model` reads `x_rollout`; `rate`, `waves`, `windows`, `abort` answer one
question each; `predict` puts them together for a dry run.
"""

from include.batch.rollout.abort import Sample, abort_reason
from include.batch.rollout.model import Abort, Every, Rate, Rollout, Wave, Window, as_json, parse
from include.batch.rollout.predict import predicted_end
from include.batch.rollout.rate import Allowance, allowance, paced_until
from include.batch.rollout.waves import hold_reason, wave_sizes
from include.batch.rollout.windows import Opening, Slot, opening_at, slot_of, zone_of

__all__ = [
    "Abort",
    "Allowance",
    "Every",
    "Opening",
    "Rate",
    "Rollout",
    "Sample",
    "Slot",
    "Wave",
    "Window",
    "abort_reason",
    "allowance",
    "as_json",
    "hold_reason",
    "opening_at",
    "paced_until",
    "parse",
    "predicted_end",
    "slot_of",
    "wave_sizes",
    "zone_of",
]
