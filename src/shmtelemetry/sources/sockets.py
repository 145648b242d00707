"""Files of sockets, of which only those may be replaced that a dead process left."""

import os
import socket
import stat


def check_path(path: str, kind: int) -> None:
    """Whether a socket may be bound to a path: there is nothing, or a socket to which nobody listens.

    kind: as socket.SOCK_STREAM. Raises ValueError for a file of another kind, OSError for a socket that is in use.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}; expected a path for a socket") from error
    if not stat.S_ISSOCK(mode):
        raise ValueError(f"{path} is a file that is no socket: expected a path of its own")
    with socket.socket(socket.AF_UNIX, kind) as caller:
        caller.setblocking(False)
        try:
            caller.connect(path)
        except ConnectionRefusedError:
            return
        except OSError as error:
            raise OSError(f"{path} is in use, or not ours: {error.strerror}; take another address") from error
    raise OSError(f"{path} is in use: stop who has it, or take another address")
