"""HTTP for operators: items come, change and go while the bundle serves.

A change is on the disk before it is acknowledged, and found by the next search after that.
"""

from collections.abc import Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from model.errors import BadInput
from serving.access import require_operator
from serving.bodies import is_form, parse_json, read_form, read_json
from serving.bundle import Bundle
from serving.champion import Champion
from serving.desk import Desk
from serving.item import Item
from serving.items import UnknownItem
from serving.live_change import Change
from serving.loaded import Loaded
from serving.parameters import check_names
from serving.rejected import Rejected, unavailable
from serving.responses import Json, named, stamp
from serving.turns import Turns


class CatalogueApi:
    """`PUT` and `DELETE` of one item."""

    def __init__(self, champion: Champion, desk: Desk) -> None:
        self._champion, self._desk, self._live = champion, desk, champion.live
        self._turns = Turns(champion)

    async def put(self, request: Request) -> Response:
        """An item, with a photo where it is new or has another one."""
        require_operator(request)
        check_names(request)
        loaded, item_id = self._turns.loaded(), request.path_params["item_id"]
        with self._desk.place():
            data, photo = await read_item(request)
            if data.get("item_id", item_id) != item_id:
                raise Rejected(
                    422,
                    "other_item",
                    f"The item is not that of the path. Expected `item_id` {item_id!r}. "
                    f"Received: {str(data['item_id'])[:80]!r}.",
                )
            item = Item.parse({**data, "item_id": item_id})
            check_category(loaded.engine.bundle, item.category)
            if photo is not None:
                # Before anything is kept: what is no photo is refused.
                vector = await self._desk.embed(loaded.engine, photo)
            elif loaded.engine.items.find(item_id) is None:
                raise BadInput(
                    f"The item {item_id!r} is new. Expected a form with `item` and `image`. "
                    f"Received no image."
                )
            change = await _kept(lambda: self._live.store.put(item, photo))
            if photo is not None and change.photo is not None:
                self._live.remember(change.photo, loaded.engine, vector)
        return await self._changed(loaded, change)

    async def delete(self, request: Request) -> Response:
        require_operator(request)
        check_names(request)
        loaded, item_id = self._turns.loaded(), request.path_params["item_id"]
        if loaded.engine.items.find(item_id) is None:
            raise UnknownItem(
                f"No item {item_id!r} in the catalogue. It may have been deleted before."
            )
        change = await _kept(lambda: self._live.store.delete(item_id))
        return await self._changed(loaded, change)

    async def _changed(self, loaded: Loaded, change: Change) -> Response:
        """Acknowledged once it is found: by whatever engine may answer now."""
        for engine in {each.engine for each in (loaded, *self._champion.loaded())}:
            await run_in_threadpool(self._live.catch_up, engine)
        body = {
            "bundle": named(loaded),
            "item_id": change.item_id,
            "sequence": change.sequence,
            "at": change.at.isoformat(),
            "deleted": change.item is None,
        }
        return Json(body, headers=stamp(loaded))


def check_category(bundle: Bundle, path: str) -> None:
    """Raises BadInput for a category whose items `ingest` does not take in."""
    if bundle.taxonomy.present(path) is None:
        raise BadInput(
            f"Invalid item. `category` was retired (ingest.moved). Expected one that the shop has "
            f"today. Received: {path[:80]!r}."
        )
    if bundle.categories is not None and path not in bundle.categories:
        raise BadInput(
            f"Invalid item. `category` is not in the taxonomy of the bundle that serves. Expected "
            f"a path of the taxonomy file (ingest.taxonomy). Received: {path[:80]!r}. Correct it, "
            f"or add the category there: the next bundle takes it."
        )


async def _kept(write: Callable[[], Change]) -> Change:
    """The change, once it is on the disk. Raises Rejected where it cannot be."""
    try:
        return await run_in_threadpool(write)
    except OSError as error:
        raise unavailable("store_unavailable", str(error)) from error


async def read_item(request: Request) -> tuple[dict[str, Any], bytes | None]:
    """The facts and the photo: a form of both, or JSON of the facts alone. Raises Rejected."""
    if not is_form(request):
        return await read_json(request), None
    form = await read_form(request)
    if form.item is None:
        raise Rejected(422, "no_item", "The form has no item. Expected JSON in the field `item`.")
    return parse_json(form.item), form.image
