"""When Stash may be asked, what it must be asked next, and what is known from its answers.

Does no I/O. The dispatcher asks and reports the result here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

STATE_IDLE_SECONDS = 60.0  # between questions for the settings while nothing happens
# The same while the owner may be correcting a setting: Stash doesn't report that it was saved.
STATE_TROUBLED_SECONDS = 15.0
RETRY_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)  # between attempts while Stash doesn't answer; the last repeats
NEVER = 1e12

Topic = Literal["scenes", "sweep", "state"]


@dataclass(frozen=True, slots=True)
class Question:
    """One thing to ask Stash."""

    topic: Topic  # "state" is the plugin's settings, and the answers to the others contain them too
    wait: float  # seconds until it is due; 0 or less: now


@dataclass(frozen=True, slots=True)
class Facts:
    """What the questions depend on besides Stash's answers."""

    newest_seq: int  # of the newest event
    scenes_wanted: bool  # claimed deliveries wait for their scenes
    troubled: bool  # the owner may be correcting a setting
    sweep_in: float  # seconds until the sweep has a question
    renewal_in: float | None  # seconds until a question must renew the session; None: there is no session
    new_address: bool = False  # stash.json was written since the last question


class Poller:
    """Knows when Stash is asked. One question is on its way at a time: ``asked``, then ``ended``."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic  # seconds
        self.enabled: bool | None = None  # whether the plugin is enabled in Stash; None: not known yet
        self.known_seq = 0  # the settings were read after all events up to this one
        self.awaiting = False  # a question is on its way
        self._asked_at = 0.0
        self._asked_seq = 0  # newest event at the last question
        self._state_at = -NEVER  # when the settings that are known were asked for
        self._wanted_at: float | None = None  # when newer settings were requested
        self._failures = 0  # in a row
        self._failed_at = -NEVER
        self._retry_at = 0.0
        self._gone_since: float | None = None

    @property
    def available(self) -> bool:
        """Whether the last question was answered, or none was asked so far."""
        return self._gone_since is None

    @property
    def ready(self) -> bool:
        """Whether deliveries may be sent as far as Stash is concerned: it answers, and the plugin is enabled."""
        return bool(self.enabled) and self.available

    @property
    def knows_settings(self) -> bool:
        """Whether the settings in use are Stash's current ones."""
        return self.enabled is not None and self.available

    @property
    def gone_seconds(self) -> float:
        """Seconds since the first question that Stash didn't answer; 0 while it answers."""
        return 0.0 if self._gone_since is None else self._monotonic() - self._gone_since

    def pending(self, facts: Facts) -> list[Question]:
        """The questions to ask, most important first. Empty while an answer is awaited."""
        if self.awaiting:
            return []
        now = self._monotonic()
        pause = self._retry_at - now  # before which nothing is asked
        if facts.newest_seq > self._asked_seq or facts.new_address:
            # An event or a call of the page shows that Stash is running, and brought a fresh session.
            pause = self._failed_at + RETRY_SECONDS[0] - now
        waits: list[tuple[Topic, float]] = [("state", self._state_wait(facts, now))]
        if self.ready and facts.newest_seq <= self.known_seq:
            waits.insert(0, ("sweep", facts.sweep_in))
        if facts.scenes_wanted:
            waits.insert(0, ("scenes", 0.0))
        return [Question(topic, max(wait, pause)) for topic, wait in waits]

    def _state_wait(self, facts: Facts, now: float) -> float:
        outdated = facts.newest_seq > self.known_seq or self._wanted_at is not None
        if outdated or not self.available:
            return 0.0
        troubled = facts.troubled or self.enabled is False
        due_at = self._state_at + (STATE_TROUBLED_SECONDS if troubled else STATE_IDLE_SECONDS)
        return min(due_at - now, NEVER if facts.renewal_in is None else facts.renewal_in)

    def request_state(self) -> bool:
        """Has the settings read again at once; call it until it returns True, when newer ones are known."""
        if self._wanted_at is None:
            self._wanted_at = self._monotonic()
            self._retry_at = 0.0
        if self._state_at < self._wanted_at:
            return False
        self._wanted_at = None
        return True

    def asked(self, newest_seq: int) -> None:
        """A question is on its way; ``newest_seq`` is that of the newest event."""
        self.awaiting = True
        self._asked_at = self._monotonic()
        self._asked_seq = newest_seq

    def ended(self) -> None:
        """The question that was on its way has ended."""
        self.awaiting = False

    def answered(self, *, enabled: bool) -> None:
        """Stash answered, and the settings in its answer are in use."""
        self.enabled = enabled
        self.known_seq = self._asked_seq
        self._state_at = self._asked_at
        self._failures, self._failed_at, self._retry_at, self._gone_since = 0, -NEVER, 0.0, None

    def failed(self) -> None:
        """Stash didn't answer."""
        now = self._monotonic()
        if self._gone_since is None:
            self._gone_since = now
        self._failed_at = now
        self._retry_at = now + RETRY_SECONDS[min(self._failures, len(RETRY_SECONDS) - 1)]
        self._failures += 1
