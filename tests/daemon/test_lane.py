"""The lane of a TPM in every order of what can happen to it, and the supervisor's waiting for one."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor
from itertools import permutations
from typing import Any, cast

import pytest

from vtpm.daemon import lane
from vtpm.daemon.lane import DEFECT, Lane, complete, refuse


class Thread(Executor):
    """Runs nothing until it is told to."""


class Loop:
    """As much of an event loop as a lane uses, which moves only when a test says so."""

    def __init__(self) -> None:
        self.real = asyncio.new_event_loop()
        self.works: list[tuple[Any, Callable[[], Any]]] = []

    def create_future(self) -> "asyncio.Future[Any]":
        """A future, whose callbacks run when the test turns the loop."""
        return self.real.create_future()

    def run_in_executor(self, _executor: Executor, attempt: Callable[..., Any], work: Any) -> Any:
        """Note the work, and give its future."""
        future = self.create_future()
        self.works.append((future, lambda: attempt(work)))
        return future

    def end_work(self) -> bool:
        """Do the oldest piece of work; False if there is none."""
        if not self.works:
            return False
        future, attempt = self.works.pop(0)
        result = attempt()
        if not future.cancelled():
            future.set_result(result)
        self.turn()
        return True

    def cancel_work(self) -> None:
        """Cancel the oldest piece, as an executor does that is shut down."""
        if self.works:
            self.works.pop(0)[0].cancel()
            self.turn()

    def turn(self) -> None:
        """Run the callbacks that are due."""
        self.real.call_soon(self.real.stop)
        self.real.run_forever()


class Case:
    """One lane, and what happened to it."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.failures: list[str] = []
        self.lane = Lane(cast("Any", self.loop), Thread(), self.failures.append)
        self.results: list[Any] = []
        self.steps: list[str] = []
        self.tasks: dict[str, asyncio.Task[Any]] = {}

    def start(self, name: str, waiting: Coroutine[Any, Any, Any]) -> None:
        """Have somebody wait."""
        self.tasks[name] = self.loop.real.create_task(waiting)
        self.loop.turn()

    def cancel(self, name: str) -> None:
        """End somebody's waiting, as a time-out does; in the same turn in which other callbacks are due."""
        if name in self.tasks:
            self.tasks[name].cancel()

    def work(self, name: str, *, fails: bool = False) -> None:
        """Enter a step that begins work on a thread."""

        def do() -> str:
            if fails:
                raise ValueError(name)
            return name

        self.lane.enter(lambda: self.lane.run(do, self.results.append, on_thread=True))

    def step(self, name: str, *, fails: bool = False) -> None:
        """Enter a step that is done at once."""

        def take() -> None:
            self.steps.append(name)
            if fails:
                raise ValueError(name)

        self.lane.enter(take)

    def finish(self) -> None:
        """Let everything come to its end."""
        while self.loop.end_work():
            pass
        self.loop.turn()
        self.loop.turn()

    def close(self) -> None:
        """End."""
        if self.loop.real.is_closed():
            return
        for task in self.tasks.values():
            task.cancel()
        self.loop.turn()
        self.loop.turn()
        self.loop.real.close()


@pytest.fixture
def cases(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Case]]:
    """Makes cases, and closes them; what they log is asserted by other means."""
    monkeypatch.setattr(lane.log, "disabled", True)
    made: list[Case] = []

    def make() -> Case:
        made.append(Case())
        return made[-1]

    yield make
    for case in made:
        case.close()


EVENTS: dict[str, Callable[[Case], object]] = {
    "pause": lambda case: case.start("pause", case.lane.idle()),
    "time-out": lambda case: case.cancel("pause"),
    "work": lambda case: case.work("b"),
    "failing work": lambda case: case.work("c", fails=True),
    "step": lambda case: case.step("s"),
    "failing step": lambda case: case.step("f", fails=True),
    "end": lambda case: case.loop.end_work(),
}


class TestOrders:
    """Every order of pause, time-out, work, steps and its ends, while a command is under way."""

    def test_all(self, cases: Callable[[], Case]) -> None:
        """Whatever the order, all is done once, in order, and the lane is free at the end."""
        for order in permutations(EVENTS):
            case = cases()
            case.work("a")
            for event in order:
                EVENTS[event](case)
            case.finish()
            works = [name for name in order if name in {"work", "failing work"}]
            assert case.results == ["a", *("b" if name == "work" else DEFECT for name in works)], order
            assert case.steps == [name[0] for name in order if name in {"step", "failing step"}], order
            assert case.failures == ["ValueError outside the engine"] * 2, order
            assert not case.lane.is_busy, order
            pause = case.tasks["pause"]
            assert pause.done(), order
            if order.index("time-out") < order.index("pause"):
                assert not pause.cancelled(), order
            case.start("again", case.lane.idle())
            case.loop.turn()
            assert case.tasks["again"].done(), order
            case.close()

    def test_result_that_nobody_takes(self, cases: Callable[[], Case]) -> None:
        """What receives a result fails: the steps after it are taken all the same."""
        case = cases()

        def done(_result: Any) -> None:
            raise asyncio.InvalidStateError

        case.lane.enter(lambda: case.lane.run(lambda: 1, done, on_thread=True))
        case.step("s")
        case.finish()
        assert case.steps == ["s"]
        assert case.failures == ["InvalidStateError outside the engine"]

    def test_canceled_work(self, cases: Callable[[], Case]) -> None:
        """Work that its executor drops is answered as a defect, and the lane goes on."""
        case = cases()
        case.work("a")
        case.step("s")
        case.loop.cancel_work()
        assert case.results == [DEFECT]
        assert case.steps == ["s"]
        assert not case.lane.is_busy

    def test_executor_that_has_ended(
        self, cases: Callable[[], Case], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Work that no thread takes is answered as a defect."""
        case = cases()

        def refuse_work(*_arguments: Any) -> Any:
            raise RuntimeError("cannot schedule new futures after shutdown")

        monkeypatch.setattr(case.loop, "run_in_executor", refuse_work)
        case.work("a")
        case.step("s")
        assert case.results == [DEFECT]
        assert case.steps == ["s"]

    def test_failure_that_fails(self, cases: Callable[[], Case]) -> None:
        """That the TPM cannot be told of a defect drops nothing."""
        case = cases()

        def failed(_reason: str) -> None:
            raise OSError

        case.lane._failed = failed
        case.work("a", fails=True)
        case.step("s")
        case.finish()
        assert case.results == [DEFECT]
        assert case.steps == ["s"]


class Names:
    """An executor that is only compared."""


def test_where_work_goes(cases: Callable[[], Case], monkeypatch: pytest.MonkeyPatch) -> None:
    """The store, what computes, and what may take seconds do not wait for each other."""
    case = cases()
    store, short, long = Names(), Names(), Names()
    used: list[Any] = []

    def note(executor: Any, attempt: Callable[..., Any], work: Any) -> Any:
        used.append(executor)
        return Loop.run_in_executor(case.loop, executor, attempt, work)

    monkeypatch.setattr(case.loop, "run_in_executor", note)
    of_one_tpm = Lane(
        cast("Any", case.loop), cast("Any", store), case.failures.append, cast("Any", (short, long))
    )
    of_one_tpm.enter(lambda: of_one_tpm.run(lambda: 1, case.results.append, on_thread=True))
    of_one_tpm.enter(lambda: of_one_tpm.compute(lambda: 2, case.results.append, is_lengthy=False))
    of_one_tpm.enter(lambda: of_one_tpm.compute(lambda: 3, case.results.append, is_lengthy=True))
    case.finish()
    assert used == [store, short, long]
    assert case.results == [1, 2, 3]


class TestFutures:
    """A result for somebody who does not wait any more."""

    @pytest.mark.parametrize("is_canceled", [False, True])
    def test_complete_and_refuse(self, *, is_canceled: bool) -> None:
        """It is dropped; otherwise it arrives."""
        loop = asyncio.new_event_loop()
        answered, refused = loop.create_future(), loop.create_future()
        if is_canceled:
            answered.cancel()
            refused.cancel()
        complete(answered, 1)
        refuse(refused, ValueError("why"))
        assert answered.cancelled() == refused.cancelled() == is_canceled
        if not is_canceled:
            assert answered.result() == 1
            assert isinstance(refused.exception(), ValueError)
        loop.close()
