"""Ctrl-C and SIGTERM in a training: finish the step, write a checkpoint, then stop. So too when the parent is gone."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self


class TrainingInterrupted(KeyboardInterrupt):
    """The training was stopped by a signal; `folder` is its run's, where it can be resumed."""

    def __init__(self, folder: str) -> None:
        super().__init__(f"The training can be resumed in {folder}")
        self.folder = folder


class Interruption:
    """Inside the block the first SIGINT or SIGTERM only sets `asked`; a second one acts as it always did.

    Signals reach only the main thread; in another thread the block changes nothing.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()


def end_with_parent() -> None:
    """Watch standard input, a pipe that closes with the parent, however that dies: then send ourselves SIGTERM."""

    def watch() -> None:
        while os.read(0, 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
