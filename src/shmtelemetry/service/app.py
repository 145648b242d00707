"""The application: joins the service's parts with a reader and instruments of its own."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.staticfiles import StaticFiles

from ..aggregate.snapshot import Snapshot
from ..contrib.asgi import instrument
from ..errors import ShmtelError
from ..exporters.shown import Shown
from ..logs import set_level
from ..reader import Onlooker
from ..recording import Recording
from ..telemetry import Telemetry
from ..version import VERSION
from .access import Access
from .counted import Counted
from .logs import SharedFile
from .problems import add_handlers
from .routes import GROUPS
from .settings import ServiceSettings
from .slots import Slots
from .told import Told
from .watched import Watched

PRODUCER: Final = "service"


def create_app(settings: ServiceSettings | None = None) -> FastAPI:
    """The service as an ASGI application, for any server, also `uvicorn --factory`, and for several workers.

    settings: by default those of the environment and of shmtel.toml, and every worker stands by to read the
    namespace. Raises ValueError for settings that cannot be.
    """
    if settings is None:
        from ..cli.serve import from_environment

        settings = from_environment()
    return Service(settings).app


class Service:
    """One worker's. What is opened is opened when the server starts, and closed when it ends."""

    def __init__(self, settings: ServiceSettings) -> None:
        try:
            settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ShmtelError(
                f"the state folder {settings.state_dir} cannot be made: {error.strerror}; choose another by --state-dir"
            ) from error
        settings.log.begin(SharedFile(settings.file(".log")))
        self.settings = settings
        self.access, self.shown = Access(settings), Shown(*settings.shown)
        self.app = FastAPI(
            title="shmtelemetry",
            description="What the reader of a namespace has aggregated. /ws and /ws/metrics send updates by WebSocket.",
            version=VERSION,
            lifespan=self._lifespan,
            docs_url=None,
            redoc_url=None,
        )
        for group in GROUPS:
            self.app.router.routes.extend(group.routes)
        self.app.mount("/static", StaticFiles(packages=[(__package__, "static")]), "static")
        add_handlers(self.app)
        # From the inside out: what another origin may read, who may ask at all, what the log says, and how many have.
        if settings.cors_origins:
            self.app.add_middleware(
                CORSMiddleware,
                allow_origins=settings.cors_origins,
                allow_credentials=True,
                allow_methods=["GET", "POST"],
                allow_headers=["Authorization", "Content-Type"],
            )
        self.app.add_middleware(self.access.around)
        self.app.add_middleware(Told)
        instrument(self.app, namespace=settings.namespace)
        self.app.state.service = self

    def reload(self, settings: ServiceSettings) -> None:
        """Take over what may change while it runs: token, certificates, what is shown, level of the log.

        Raises ValueError, and changes nothing, for what cannot be used.
        """
        shown = Shown(*settings.shown)
        self.access.read_files()
        self.shown = shown
        set_level(settings.log_level)

    def _expose(self, snapshot: Snapshot) -> Snapshot:
        return self.shown(snapshot)

    @asynccontextmanager
    async def _lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        settings, state = self.settings, app.state
        async with AsyncExitStack() as stack:
            state.slots = Slots(settings.file(".connections"), settings.ws_max_connections)
            stack.callback(state.slots.close)
            if settings.reader is not None:
                stack.enter_context(Recording(settings, standby=True))
            state.counted = Counted(stack.enter_context(Telemetry(PRODUCER, settings.namespace)))
            state.watched = {}
            for namespace in dict.fromkeys((settings.namespace, *settings.attached)):
                watched = Watched(Onlooker(namespace), settings, self._expose, state.counted)
                stack.push_async_callback(watched.close)
                state.watched[namespace] = watched
                watched.start()
            yield
