"""Updates over WebSocket."""

from http import HTTPStatus

from fastapi import APIRouter, WebSocket

from ..problems import problem

router = APIRouter()


@router.websocket("/ws/metrics")
@router.websocket("/ws")
async def updates(websocket: WebSocket) -> None:
    """Every update of a namespace, `?namespace=NS` or the service's own, as it is made."""
    state = websocket.app.state
    namespace = websocket.query_params.get("namespace", next(iter(state.watched)))
    unknown = websocket.query_params.keys() - {"namespace"}
    if unknown:
        detail = f"query parameter {min(unknown)[:64]!r}: expected namespace"
        await websocket.send_denial_response(problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail))
    elif namespace not in state.watched:
        detail = f"namespace {namespace[:64]!r} is not shown here: expected one of {', '.join(state.watched)}"
        await websocket.send_denial_response(problem(HTTPStatus.NOT_FOUND, detail))
    elif (slot := state.slots.take()) is None:
        detail = "as many WebSockets are open as may be; try again later"
        await websocket.send_denial_response(problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"Retry-After": "5"}))
    else:
        with state.counted.connection(websocket.url.path):
            try:
                await state.watched[namespace].hub.serve(websocket)
            finally:
                state.slots.give_back(slot)
