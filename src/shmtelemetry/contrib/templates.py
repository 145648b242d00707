"""The template of the route that a request took, such as `/items/{id}`, in Starlette and FastAPI.

Neither is imported: the routers leave what they chose in the scope, and routes tell whether they match.
"""

from collections.abc import Iterable, Mapping
from typing import Any

Scope = Mapping[str, Any]


class Templates:
    """Finds templates, after the application was called with the scope.

    A router says which route it took, but not through which mounts. Where their paths have parameters, which come from
    outside, and where an older router says nothing, the routes are matched once more.
    """

    def __init__(self) -> None:
        self._literal: set[str] = set()  # templates below mounts without parameters

    def find(self, scope: Scope, routed: object, root: str, path: str) -> str | None:
        """None without a route. routed: the outermost application; root, path: of the scope before the call."""
        route = scope.get("route")
        if route is None and "endpoint" not in scope:
            return None
        if "fastapi" in scope:
            route = _included(scope["fastapi"], route)
        template: str = getattr(route, "path", "")
        mount = scope.get("root_path", "")[len(root) :]
        if not mount and template:
            return template
        if template and (template := mount + template) in self._literal:
            return template
        matched = _match(getattr(routed, "routes", ()), {**scope, "path": path, "root_path": root, "path_params": {}})
        if matched is not None and matched == template:
            self._literal.add(template)
        return matched


def _included(found: Mapping[str, Any], route: Any) -> Any:
    """What has the whole path of a route that FastAPI (0.116 and later) took from an included router."""
    context = found.get("effective_route_context")
    return context if context is not None and context.original_route is route else route


def _match(routes: Iterable[Any], scope: dict[str, Any]) -> str | None:
    """The template of the first route that matches fully, else of the first whose method alone does not match."""
    partial = None
    scope.pop("fastapi", None)
    for route in _effective(routes):
        match, child = route.matches(scope)
        if not match.value:  # starlette.routing.Match: NONE 0, PARTIAL 1, FULL 2
            continue
        path = getattr(route, "path", "")
        inner = getattr(route, "routes", None)
        if inner:
            below = _match(inner, {**scope, **child})
            if below is None:
                return None  # the router looks no further than the mount
            path += below
        if match.value == 2:
            return path or "/"
        partial = partial or path
    return partial


def _effective(routes: Iterable[Any]) -> Iterable[Any]:
    for route in routes:
        if hasattr(route, "effective_route_contexts"):  # FastAPI's included router
            for context in route.effective_route_contexts():
                yield context.starlette_route or context
        else:
            yield route
