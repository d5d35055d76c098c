"""Stash's serial job queue (pkg/job): tasks and scans run one after another, outside of requests."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.standin.stash.cancel import Flag
from tests.standin.stash.library import StashError
from tests.standin.stash.log import LogLine, ServerLog

_REMEMBERED = 10  # finished jobs that can still be queried
_OVER = ("FINISHED", "CANCELLED", "FAILED")


@dataclass(slots=True)
class Job:
    """A job of the queue. As in Stash, its status is FAILED only if it could not be started. If the plugin
    answers with an error, the job is FINISHED and the error is in the log."""

    id: int
    description: str
    add_time: str
    work: Callable[[Job], None]
    cancel: Flag = field(default_factory=Flag)
    status: str = "READY"
    progress: list[float] = field(default_factory=list)  # every value its plugin reported
    start_time: str | None = None
    end_time: str | None = None
    error: str | None = None
    lines: tuple[LogLine, ...] = ()  # what its plugin wrote to the log


class JobQueue:
    """The queue and its thread.

    Args:
        now: gives the time as Stash writes it.
    """

    def __init__(self, log: ServerLog, now: Callable[[], str]) -> None:
        self._log = log
        self._now = now
        self._changed = threading.Condition()
        self._waiting: list[Job] = []
        self._done: list[Job] = []
        self._last = 0
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="stand-in stash jobs", daemon=True)
        self._thread.start()

    def add(self, description: str, work: Callable[[Job], None]) -> Job:
        """Appends a job to the queue."""
        with self._changed:
            self._last += 1
            job = Job(self._last, description, self._now(), work)
            self._waiting.append(job)
            self._changed.notify_all()
            return job

    def queue(self) -> list[Job]:
        """The running job and the waiting ones."""
        with self._changed:
            return list(self._waiting)

    def find(self, job_id: int) -> Job | None:
        """A job of the queue, or one of the recently finished ones."""
        with self._changed:
            return next((j for j in (*self._waiting, *self._done) if j.id == job_id), None)

    def stop(self, job_id: int) -> None:
        """Cancels a job and kills its plugin process. Does nothing for a finished job."""
        with self._changed:
            for job in [j for j in self._waiting if j.id == job_id]:
                self._cancel(job)

    def wait(self, job: Job, seconds: float) -> None:
        """Waits for the end of a job.

        Raises:
            TimeoutError: it has not ended in time.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: job.status in _OVER, seconds):
                raise TimeoutError(f"job {job.id} ({job.description}) is {job.status} after {seconds:g} s")

    def close(self) -> None:
        """Cancels everything and ends the thread."""
        with self._changed:
            self._stopping = True
            for job in list(self._waiting):
                self._cancel(job)
            self._changed.notify_all()
        self._thread.join()

    def _cancel(self, job: Job) -> None:
        job.cancel.set()
        if job.status == "READY":
            self._end(job, "CANCELLED")
        elif job.status == "RUNNING":
            job.status = "STOPPING"

    def _end(self, job: Job, status: str) -> None:
        job.status = status
        job.end_time = self._now()
        job.cancel.close()
        self._waiting.remove(job)
        self._done = [*self._done, job][-_REMEMBERED:]
        self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._stopping)
                if not self._waiting:
                    return
                job = self._waiting[0]
                job.status, job.start_time = "RUNNING", self._now()
            self._run(job)

    def _run(self, job: Job) -> None:
        try:
            job.work(job)
        except StashError as error:
            self._log.add("error", f"task failed due to error: {error}")
            job.error = str(error)
        with self._changed:
            if job.error is not None:
                self._end(job, "FAILED")
            else:
                self._end(job, "CANCELLED" if job.status == "STOPPING" else "FINISHED")
