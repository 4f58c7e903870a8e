"""A campaign: streams one after the other, and what they found."""

from collections import Counter
from dataclasses import dataclass, field

from tests.differential.coverage import Met, met
from tests.differential.differences import Difference, table
from tests.differential.judge import Judge
from tests.differential.moves import MOVES
from tests.differential.pair import Exchange
from tests.differential.stream import Stream
from vtpm.wire.error import decode

STEPS = 150
"""Commands of one stream, about."""

Key = tuple[str, str, str, str]


class Different(Exception):  # noqa: N818 - what was found
    """Something is different; the stream ends."""


@dataclass
class Result:
    """What a campaign has found."""

    commands: int = 0
    streams: int = 0
    damaged: int = 0
    successes: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    """How often each command was sent."""
    met: Counter[Met] = field(default_factory=Counter)
    """How often both gave the same code to a command."""
    explained: Counter[str] = field(default_factory=Counter)
    """How often each explained difference was met."""
    instances: Counter[tuple[str, Key]] = field(default_factory=Counter)
    """The same, for each command and its codes."""
    unexplained: Counter[Key] = field(default_factory=Counter)
    examples: dict[Key, str] = field(default_factory=dict)
    """The end of the shortest stream that shows it."""
    crashes: Counter[str] = field(default_factory=Counter)
    """The commands at which the other has ended by itself, which ends the stream."""
    crash_examples: dict[str, str] = field(default_factory=dict)
    lengths: dict[Key, int] = field(default_factory=dict)


class JudgedStream(Stream):
    """A stream whose exchanges are looked up in the table of differences."""

    result: Result
    differences: list[Difference]

    def count(self, exchange: Exchange, *, damaged: bool) -> None:
        """One more command."""
        self.result.commands += 1
        self.result.damaged += damaged
        self.result.seen[exchange.request.command.name] += 1
        self.result.successes += self.is_success(exchange)
        if decode(exchange.theirs.rc)[0] == decode(exchange.ours.rc)[0]:
            self.result.met[met(exchange)] += 1

    def judge(self, exchange: Exchange) -> None:
        """Count a difference; end the stream if it has to."""
        for difference in self.differences:
            if difference.explains(exchange, self.pair):
                self.result.explained[difference.name] += 1
                self.result.instances[difference.name, exchange.key] += 1
                if difference.ends:
                    raise Different
                return
        key = exchange.key
        self.result.unexplained[key] += 1
        if self.sent < self.result.lengths.get(key, 1 << 30):
            self.result.lengths[key] = self.sent
            text = "\n".join(f"    {line}" for line in self.log)
            text += f"\n    sent   {exchange.sent.hex()}\n    theirs {exchange.theirs.octets.hex()}"
            text += f"\n    ours   {exchange.ours.octets.hex()}"
            self.result.examples[key] = f"seed {self.seed}, after {self.sent} commands:\n{text}"
        raise Different


def run(first: int, commands: int, judge: Judge, result: Result) -> Result:
    """Streams from the seed `first` on, until there are so many commands."""
    differences = table(judge.table)
    makers, weights = list(MOVES), list(MOVES.values())
    seed = first
    while result.commands < commands:
        stream = JudgedStream(judge, seed)
        stream.result, stream.differences = result, differences
        try:
            while stream.sent < STEPS:
                (maker,) = stream.dice.random.choices(makers, weights)
                request = maker(stream)
                if request is not None:
                    stream.send(request)
        except Different:
            pass
        except ConnectionError:
            result.crashes[stream.pair.command.name] += 1
            result.crash_examples[stream.pair.command.name] = f"seed {seed}: {stream.pair.sent.hex()}"
            judge.restart()
        result.streams += 1
        seed += 1
    return result
