"""ultralytics' non-maximum suppression without its limit of time, so that results do not depend on the machine's load.

ultralytics stops after 2 s and 50 ms per image, and returns no detections for the other images of the batch. An
untrained network proposes enough boxes for that on a busy machine.
"""

from __future__ import annotations

import functools
import math
from typing import Any

from ultralytics.utils import nms

from src.detector.torchvision_operators import admit_own_operators


def remove_time_limit() -> None:
    """Let ultralytics' validators and predictors, which look the function up in its module, wait for all images."""
    limited = nms.non_max_suppression
    if hasattr(limited, "__wrapped__"):
        return

    @functools.wraps(limited)
    def patient(*arguments: Any, **options: Any) -> Any:
        admit_own_operators()
        return limited(*arguments, **options, max_time_img=math.inf)

    nms.non_max_suppression = patient
