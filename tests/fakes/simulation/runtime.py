"""Threads, locks and a clock that only a test moves: one thread runs at a time, and a run can be repeated exactly.

Real threads stand behind it, for the operator keeps what it knows of a pass in context variables. Of them only the one
that holds the baton runs; it hands the baton on where it waits, and at each effect on the world. Time stands still
until all wait.
"""

import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

BEGIN: Final = datetime(2026, 5, 1, 12, tzinfo=UTC)
FOREVER: Final = float("inf")
STUCK: Final = 40.0  # real seconds after which a thread that does not give the baton back is a defect of the test


class Killed(BaseException):
    """The process that the thread belongs to is gone; no `except Exception` of it may catch that."""


BUSY: Final = 50_000


class Livelock(AssertionError):
    """Somebody works on and on while no time passes."""


class Deadlock(AssertionError):
    """Every thread waits for another one."""


@dataclass(eq=False)
class Task:
    """A thread. `until` is the time at which a wait ends by itself; `process` is what is killed together."""

    name: str
    process: str
    baton: Any = field(default_factory=threading.Lock)
    until: float | None = None  # None: it can run
    was_woken: bool = False
    is_killed: bool = False
    is_done: bool = False
    thread: threading.Thread | None = None


class Runtime:
    """The one scheduler. The thread that makes it is its first task, `main`; `choose` picks who runs next."""

    def __init__(self, choose: Callable[[list[Task]], Task] = lambda ready: ready[0]) -> None:
        self._choose = choose
        self._seconds = 0.0
        self.current = self.main = Task("main", "test")
        self.main.baton.acquire()
        self.tasks = [self.main]
        self.failure: BaseException | None = None
        self.skipped = 0.0
        self._turns = 0  # since time has passed
        self._handed_on = 0

    # time

    def monotonic(self) -> float:
        """Return the seconds since the beginning."""
        return self._seconds

    def now(self) -> datetime:
        """Return the time in UTC; it implements `ports.Clock`."""
        return BEGIN + timedelta(seconds=self._seconds)

    def sleep(self, seconds: float) -> None:
        """Let so much time pass for this task."""
        self.wait(self._seconds + max(0.0, seconds))

    def skip(self, seconds: float) -> None:
        """Let time jump, as that of a machine that slept."""
        self._seconds += seconds
        self.skipped += seconds

    # tasks

    def spawn(self, work: Callable[[], object], name: str, process: str | None = None) -> Task:
        """Start a task; it belongs to the process of whoever starts it, unless it is named."""
        task = Task(name, process or self.current.process)
        task.baton.acquire()
        task.thread = threading.Thread(target=self._run, args=(task, work), name=name, daemon=True)
        self.tasks.append(task)
        task.thread.start()
        return task

    def _run(self, task: Task, work: Callable[[], object]) -> None:
        task.baton.acquire()
        try:
            if not task.is_killed:
                work()
        except Killed:
            pass
        except BaseException as problem:  # noqa: BLE001 - the test is told, in its own thread
            self.failure = self.failure or problem
            self.wake(self.main)
        task.is_done = True
        self.tasks.remove(task)
        self._hand_on(task)

    def pause(self) -> None:
        """Let another task run, if it is its turn."""
        self._require_life()
        self._hand_on(self.current)
        self._require_life()

    def wait(self, until: float = FOREVER) -> bool:
        """Wait until woken, or until a time; return whether it was woken."""
        self._require_life()
        task = self.current
        task.until, task.was_woken = until, False
        self._hand_on(task)
        self._require_life()
        return task.was_woken

    def wake(self, task: Task) -> None:
        """Let a task go on that waits."""
        if task.until is not None:
            task.until, task.was_woken = None, True

    def kill(self, process: str) -> None:
        """End all tasks of a process where they are; they have no effect any more."""
        for task in self.tasks:
            if task.process == process:
                task.is_killed = True
                self.wake(task)
        self._require_life()

    def end(self) -> None:
        """Kill everything, and wait until the threads are gone."""
        others = [task for task in self.tasks if task is not self.main]
        for task in others:
            task.is_killed = True
            self.wake(task)
        while len(self.tasks) > 1:
            self._hand_on(self.main)
        for task in others:
            if task.thread is not None:
                task.thread.join(STUCK)

    @property
    def is_dying(self) -> bool:
        """Whether the current task was killed."""
        return self.current.is_killed

    def _require_life(self) -> None:
        if self.current.is_killed:
            raise Killed
        if self.current is self.main and self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure

    def _hand_on(self, task: Task) -> None:
        self._turns += 1
        if self._turns > BUSY:
            self.failure = self.failure or Livelock(f"{task.name} and others are busy at {self._seconds}")
            self.wake(self.main)
            self._turns = 0
            self._choose = lambda ready: self.main if self.main in ready else ready[0]
        chosen = self._next()
        if chosen is task:
            return
        self.current, self._handed_on = chosen, self._handed_on + 1
        chosen.baton.release()
        if not task.is_done:
            self._await_baton(task)

    def _await_baton(self, task: Task) -> None:
        """Wait for the task's turn for as long as the baton goes round."""
        handed_on = -1
        while not task.baton.acquire(timeout=STUCK):
            if self._handed_on == handed_on:
                raise Deadlock(f"{task.name} got no baton, {self.current.name} keeps it:\n{_stack(self.current)}")
            handed_on = self._handed_on

    def _next(self) -> Task:
        ready = [task for task in self.tasks if task.until is None]
        while not ready:
            self._pass_time()
            ready = [task for task in self.tasks if task.until is None]
        dying = [task for task in ready if task.is_killed]
        return dying[0] if dying else self._choose(ready)

    def _pass_time(self) -> None:
        next_at = min(task.until for task in self.tasks if task.until is not None)
        if next_at == FOREVER:
            raise Deadlock(", ".join(task.name for task in self.tasks))
        self._seconds, self._turns = max(self._seconds, next_at), 0
        for task in self.tasks:
            if task.until is not None and task.until <= self._seconds:
                task.until = None


def _stack(of: Task) -> str:
    """Where a thread is that waits for something other than the baton: a lock of the standard library, for one."""
    frame = sys._current_frames().get(of.thread.ident or 0) if of.thread is not None else None
    return "".join(traceback.format_stack(frame)) if frame is not None else "it is gone"
