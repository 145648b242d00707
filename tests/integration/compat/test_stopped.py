"""A look while the process that drains is stopped: it is brief, and an event loop goes on."""

from __future__ import annotations

from tests.processes import run_python

STOPPED = """
import os, signal
from tests.processes import is_stopped, wait_until
from shmtelemetry.compat.prometheus_client import Counter, generate_latest, make_asgi_app
def look(parent):
    wait_until(lambda: is_stopped(parent), "the draining process is stopped")
LOOK
counter = Counter("c", "x")
counter.inc()  # this process drains
told, tell = os.pipe()
looker = os.fork()
if looker == 0:
    parent, status = os.getppid(), 1
    try:
        os.read(told, 1)
        counter.inc()
        look(parent)
        status = 0
    finally:
        os.kill(parent, signal.SIGCONT)
        os._exit(status)
os.write(tell, b"x")
os.kill(os.getpid(), signal.SIGSTOP)
_, status = os.waitpid(looker, 0)
assert status == 0, status
assert b"c_total 2.0" in generate_latest()
"""

BRIEF = """
    from shmtelemetry.compat.prometheus_client.store import BRIEF, PATIENCE, store
    generate_latest()
    asked = []
    reader = store()._reader
    catch_up = type(reader).catch_up
    type(reader).catch_up = lambda self, timeout: asked.append(timeout) or catch_up(self, timeout)
    generate_latest()
    os.kill(parent, signal.SIGCONT)
    wait_until(lambda: b"c_total 2.0" in generate_latest() and asked[-1] == PATIENCE, "it goes on")
    assert asked[0] == BRIEF
"""

LOOP = """
    import asyncio
    async def receive(): return {"type": "http.request"}
    async def look():
        sent = []
        async def send(message): sent.append(message)
        scope = {"type": "http", "headers": [], "query_string": b""}
        task = asyncio.create_task(make_asgi_app()(scope, receive, send))
        for _ in range(10):
            await asyncio.sleep(0.001)
        assert not sent, "the loop stood still while the look waited"
        await task
        assert b"c_total" in sent[1]["body"]
    asyncio.run(look())
"""


def test_after_one_look_in_vain_the_next_ones_are_brief_until_the_draining_process_goes_on() -> None:
    run_python(STOPPED.replace("LOOK", BRIEF))


def test_an_event_loop_goes_on_while_a_scrape_waits() -> None:
    run_python(STOPPED.replace("LOOK", LOOP))
