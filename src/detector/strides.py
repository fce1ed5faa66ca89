"""The size of images that an architecture can take."""

from __future__ import annotations

from ultralytics.nn.tasks import DetectionModel

from src.foundation.errors import SettingError
from src.foundation.image_size import ImageSize, as_setting, height_width


def expect_multiple_of_stride(imgsz: ImageSize, network: DetectionModel) -> None:
    """Check that both sides of `imgsz` are divided evenly by the coarsest stride of a network: 32, or 64 for P6.

    ultralytics would train on and export for the next larger size that is, and other stages would use `imgsz`.

    Raises:
        SettingError: it is not.
    """
    stride = int(network.stride.max())
    if any(side % stride for side in height_width(imgsz)):
        raise SettingError(
            "imgsz", f"must be a multiple of {stride}, the coarsest stride of this network, got {as_setting(imgsz)}"
        )
