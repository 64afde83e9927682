"""Work in the background, one item ahead."""

import threading

import pytest

from crossview.inference.predict import map_ahead


def test_results_come_in_order():
    assert list(map_ahead(lambda item: item * item, range(5))) == [0, 1, 4, 9, 16]
    assert list(map_ahead(str, [])) == []


def test_the_next_item_is_worked_on_before_a_result_is_asked_for_and_no_more():
    started = [threading.Event() for _ in range(4)]
    results = map_ahead(lambda item: started[item].set(), range(4))
    next(results)
    assert started[1].wait(5)
    assert not started[2].is_set()


def test_an_error_comes_up_in_its_place():
    results = map_ahead(lambda item: 1 / item, [1, 0, 2])
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
