"""Trace: a leaked sample in, the copies that fed it out. The sample's digest is logged before it is scored.

`marks.trace` scores copies under the theorem of docs/marks.md; this verb adds what only the ledger knows: who had any
access (the prior), and in which sessions an implicated copy's leaked records were handed over. It implicates copies,
never persons; nothing happens to anybody by itself.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from limen.core.errors import Invalid
from limen.marks import trace as marks_trace
from limen.response import served

if TYPE_CHECKING:
    from pathlib import Path

    from limen.core.types import Recipient
    from limen.custody import Custody
    from limen.response.exposure import Records

SCHEMA = "limen/trace/v1"
MAX_SAMPLE = 4 << 30
