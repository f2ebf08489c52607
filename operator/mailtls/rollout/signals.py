"""Signals to a server by its process' name, sent by the shell of a container that sees the process.

An image without a shell or `kill` cannot signal itself; where the pod's containers share their processes
(`shareProcessNamespace`), another container of the pod does it.
"""

import re
from typing import Final

from mailtls.api.workload import Daemon, Signal
from mailtls.kube.interface import Executed, printable
from mailtls.kube.workload import ProcessScope

NOT_FOUND: Final = 3
"""Exit code of the script where no process has the name; its standard error lists the names that there are."""
_LONGEST_NAME: Final = 15  # of a process in Linux: proc(5), comm
# Only builtins of a POSIX shell. A server's workers have its name too, so the process whose parent has another one is
# meant, and the oldest of these: a worker that lost its parent is younger. The fields are those of proc(5), stat; the
# name stands in parentheses, and may hold spaces.
_SCRIPT: Final = r"""
signal=$1 wanted=$2 found= oldest= seen=
look() {
  read -r line 2>/dev/null <"/proc/$1/stat" || return 1
  name=${line#*\(}; name=${name%\)*}
  set -- ${line##*\)}
  state=$1 parent=$2 started=${20}
}
for folder in /proc/[0-9]*; do
  id=${folder#/proc/}
  look "$id" || continue
  [ "$state" != Z ] || continue
  case "$seen " in *" $name "*) ;; *) seen="$seen $name" ;; esac
  [ "$name" = "$wanted" ] || continue
  since=$started
  if look "$parent" && [ "$name" = "$wanted" ]; then continue; fi
  if [ -z "$found" ] || [ "$since" -lt "$oldest" ]; then found=$id oldest=$since; fi
done
if [ -z "$found" ]; then echo "$seen" >&2; exit 3; fi
kill -s "$signal" "$found"
"""


def sending(signal: Signal) -> tuple[str, ...]:
    """Return the command that sends it; exit code `NOT_FOUND` where there is no such process."""
    return ("sh", "-c", _SCRIPT, "sh", str(signal.name), signal.process[:_LONGEST_NAME])


def obstacle(daemon: Daemon, scope: ProcessScope) -> str:
    """Say why a reload would reach another process than the server; empty: it does not."""
    if daemon.signal and scope is ProcessScope.NODE:
        return (
            "the pod sees all processes of its node (hostPID), among them those of other pods that have the same name; "
            "give a command instead of a signal."
        )
    if scope is not ProcessScope.CONTAINER and _TO_FIRST.fullmatch(" ".join(daemon.command)):
        return (
            "it reaches no server, as process 1 is another one where a pod's containers share their processes; give "
            "signal and process instead of the command."
        )
    return ""


_TO_FIRST: Final = re.compile(r"(sh -c )?kill -\w+ 1")


def not_sent(executed: Executed, container: str, scope: ProcessScope) -> str:
    """Say what to do where the signal was not sent; empty where what the command said is all that is known."""
    if executed.exit_code == NOT_FOUND:
        seen = f"no process of this name is there, but {printable(executed.stderr).strip()}"
        if scope is ProcessScope.CONTAINER:
            return (
                f"{seen}; the pod's containers do not share their processes, so set shareProcessNamespace: true in the "
                "pod template where it runs in another container, or correct the name."
            )
        return f"{seen}; correct the name."
    if executed.exit_code in _NO_SHELL:
        return (
            f"{container} has no shell; name another container of the pod that has one, and set "
            "shareProcessNamespace: true in the pod template."
        )
    if "not permitted" in executed.stderr:
        return f"{container} runs as a user who may not signal it; run both as the same user, or this one as root."
    return ""


_NO_SHELL: Final = frozenset({126, 127})
