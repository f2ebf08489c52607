"""What the standard library gives to threads, on a `Runtime`; put in its place in the operator's modules for a while.

The operator's own code runs as it is. Only the names that its modules have taken from `threading`, `time` and
`concurrent.futures` lead to these for as long as `installed` lasts.
"""

import concurrent.futures
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any

from fakes.simulation.runtime import FOREVER, Runtime, Task


class Lock:
    """`threading.Lock`, held across a wait or not."""

    runtime: Runtime

    def __init__(self) -> None:
        self._holder: Task | None = None
        self._waiting: list[Task] = []

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take it, or wait for it."""
        runtime = self.runtime
        until = FOREVER if timeout < 0 else runtime.monotonic() + timeout
        while self._holder is not None:
            if not blocking or runtime.monotonic() >= until:
                return False
            self._waiting.append(runtime.current)
            runtime.wait(until)
        self._holder = runtime.current
        return True

    def release(self) -> None:
        """Give it back."""
        self._holder = None
        waiting, self._waiting = self._waiting, []
        for task in waiting:
            self.runtime.wake(task)

    def locked(self) -> bool:
        """Whether somebody holds it."""
        return self._holder is not None

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class Condition:
    """`threading.Condition`."""

    runtime: Runtime

    def __init__(self, lock: Lock | None = None) -> None:
        self._lock = lock or Lock()
        self._waiting: list[Task] = []
        self.acquire, self.release = self._lock.acquire, self._lock.release

    def __enter__(self) -> bool:
        return self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def wait(self, timeout: float | None = None) -> bool:
        """Let go of the lock, wait to be notified, and take it again."""
        runtime, task = self.runtime, self.runtime.current
        self._waiting.append(task)
        self._lock.release()
        try:
            return runtime.wait(FOREVER if timeout is None else runtime.monotonic() + max(0.0, timeout))
        finally:
            if task in self._waiting:
                self._waiting.remove(task)
            if not task.is_killed:
                self._lock.acquire()

    def notify(self, n: int = 1) -> None:
        """Wake some that wait."""
        for task in self._waiting[:n]:
            self._waiting.remove(task)
            self.runtime.wake(task)

    def notify_all(self) -> None:
        """Wake all that wait."""
        self.notify(len(self._waiting))


class Event:
    """`threading.Event`."""

    def __init__(self) -> None:
        self._condition, self._is_set = Condition(), False

    def is_set(self) -> bool:
        """Whether it was set."""
        return self._is_set

    def set(self) -> None:
        """Let all go on that wait."""
        self._is_set = True
        self._condition.notify_all()

    def clear(self) -> None:
        """Let all wait again."""
        self._is_set = False

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set."""
        if not self._is_set:
            with self._condition:
                self._condition.wait(timeout)
        return self._is_set


class Future(concurrent.futures.Future[Any]):
    """`concurrent.futures.Future`, which waits by a condition of its own."""

    def __init__(self) -> None:
        super().__init__()
        self._condition: Any = Condition()


class Thread:
    """`threading.Thread`."""

    runtime: Runtime

    def __init__(
        self, target: Callable[..., object], args: tuple[Any, ...] = (), name: str = "thread", daemon: bool = True
    ) -> None:
        assert daemon
        self.name, self._work = name, (lambda: target(*args))
        self._task: Task | None = None

    @property
    def ident(self) -> int | None:
        """Something, once it has started."""
        return None if self._task is None else id(self._task)

    def start(self) -> None:
        """Begin."""
        self._task = self.runtime.spawn(self._work, self.name)

    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._task is not None and not self._task.is_done

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end, looking now and then."""
        until = FOREVER if timeout is None else self.runtime.monotonic() + timeout
        while self.is_alive() and self.runtime.monotonic() < until:
            self.runtime.sleep(0.1)


@contextmanager
def installed(runtime: Runtime, package: str = "mailtls") -> Iterator[None]:
    """Give every module of the package these primitives instead of the standard library's."""
    for kind in (Lock, Condition, Thread):
        kind.runtime = runtime
    lies = SimpleNamespace(
        monotonic=runtime.monotonic, time=lambda: runtime.now().timestamp(), sleep=runtime.sleep, gmtime=time.gmtime
    )
    threads = SimpleNamespace(**{name: getattr(threading, name) for name in threading.__all__})
    instead: dict[int, Any] = {
        id(threading.Lock): Lock,
        id(threading.Condition): Condition,
        id(threading.Event): Event,
        id(threading.Thread): Thread,
        id(concurrent.futures.Future): Future,
        id(time.monotonic): runtime.monotonic,
        id(time.sleep): runtime.sleep,
        id(time): lies,
        id(threading): threads,
    }
    for name, ours in (("Lock", Lock), ("Condition", Condition), ("Event", Event), ("Thread", Thread)):
        setattr(threads, name, ours)
    undo: list[Callable[[], None]] = []
    for name, module in list(sys.modules.items()):
        if name == package or name.startswith(f"{package}."):
            _replace_in(module, instead, undo)
    try:
        yield
    finally:
        for each in undo:
            each()


def _replace_in(module: ModuleType, instead: dict[int, Any], undo: list[Callable[[], None]]) -> None:
    """Replace what the module's own names lead to, and the defaults of its functions' parameters."""
    names = vars(module)
    for name, value in list(names.items()):
        if id(value) in instead:
            names[name] = instead[id(value)]
            undo.append(partial(names.__setitem__, name, value))
        elif isinstance(value, type) and value.__module__ == module.__name__:
            for function in vars(value).values():
                _replace_defaults(function, instead, undo)


def _replace_defaults(function: object, instead: dict[int, Any], undo: list[Callable[[], None]]) -> None:
    if not isinstance(function, FunctionType):
        return
    before = function.__defaults__
    if before and any(id(each) in instead for each in before):
        function.__defaults__ = tuple(instead.get(id(each), each) for each in before)
        undo.append(lambda: setattr(function, "__defaults__", before))
