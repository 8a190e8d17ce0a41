"""The photo of an item, for the page."""

import io
from pathlib import Path

import structlog
from PIL import Image

from serving.photo_file import read_photo
from serving.rejected import Rejected

PHOTO_SECONDS = 3600  # a browser keeps an item's photo so long
MEDIA_TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "GIF": "image/gif"}

log = structlog.get_logger()


def read_item_photo(root: Path, location: str) -> tuple[bytes, str]:
    """Bytes and media type; only of a photo. Raises Rejected when there is none any more."""
    try:
        data = read_photo(location, root)
        with Image.open(io.BytesIO(data), formats=tuple(MEDIA_TYPES)) as image:
            kind = image.format or ""
    except Exception as error:  # every file system and every decoder has its own
        log.warning("photo.gone", location=location, error=str(error))
        raise Rejected(404, "image_gone", "The item's photo is not there any more.") from error
    return data, MEDIA_TYPES.get(kind, "image/jpeg")  # an MPO is a JPEG with previews
