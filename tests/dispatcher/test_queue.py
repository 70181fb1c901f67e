"""The admission queue by itself: order after a return, deadlines that outlive many others."""

from sovits_serve.config import QueueConfig
from sovits_serve.dispatcher.peers import Ticket
from sovits_serve.dispatcher.queue import AdmissionQueue


def _ticket(name: str, deadline_s: float = 100.0) -> Ticket:
    return Ticket(
        request_id=name,
        worker=None,
        payload=b"payload",
        recordings=(),
        model="base",
        priority="interactive",
        key="",
        cost=1,
        arrival_s=0.0,
        deadline_s=deadline_s,
    )


def test_returned_requests_keep_their_order() -> None:
    """What comes back from engines stands before what came later, as it was admitted."""
    queue = AdmissionQueue(QueueConfig())
    tickets = [_ticket(name) for name in "abcd"]
    for ticket in tickets:
        queue.admit(ticket)
    for ticket in tickets[:3]:
        queue.take(ticket)

    queue.put_back([tickets[2], tickets[0]])

    assert [ticket.request_id for ticket in queue.waiting()] == ["a", "c", "d"]
    assert queue.heads() == [tickets[0]]
    queue.check_integrity()


def test_deadlines_of_ended_requests_do_not_pile_up() -> None:
    """Thousands of requests come and go within one timeout: memory stays, deadlines hold."""
    queue = AdmissionQueue(QueueConfig())
    queue.admit(_ticket("patient", 50.0))
    for index in range(10_000):
        ticket = _ticket(f"{index}", 600.0)
        queue.admit(ticket)
        queue.end(ticket)

    assert len(queue._deadlines) < 2000
    queue.check_integrity()
    assert [ticket.request_id for ticket in queue.take_expired(50.0)] == ["patient"]
    assert queue.take_expired(50.0) == []


def test_expired_request_is_returned_once() -> None:
    """Whoever is told of an expiry has to end the request; it is not told again."""
    queue = AdmissionQueue(QueueConfig())
    for deadline_s in (3.0, 1.0, 2.0):
        queue.admit(_ticket(f"{deadline_s}", deadline_s))

    first = [ticket.request_id for ticket in queue.take_expired(2.0)]

    assert first == ["1.0", "2.0"]
    assert [ticket.request_id for ticket in queue.take_expired(9.0)] == ["3.0"]
