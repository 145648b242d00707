"""python -m shmtelemetry.cli"""

from . import main

main(prog_name="shmtel")
