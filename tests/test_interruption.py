import io
import os
import signal
import threading

import pytest

from captioner.interruption import Listening, stop_requests


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_a_question_and_no_exception(number):
    with stop_requests() as asked:
        assert not asked()
        os.kill(os.getpid(), number)
        assert asked()


def test_the_second_ctrl_c_stops_at_once():
    with stop_requests() as asked:
        os.kill(os.getpid(), signal.SIGINT)
        assert asked()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_afterwards_signals_do_what_they_did():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with stop_requests():
        pass
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_in_another_thread_the_answer_is_no():
    answers = []

    def work():
        with stop_requests() as asked:
            answers.append(asked())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert answers == [False]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stream_that_falls_silent_ends_when_asked_to_stop(number):
    ours, theirs = os.pipe()
    with os.fdopen(ours, "rb") as stream, os.fdopen(theirs, "wb", buffering=0) as writer, stop_requests() as stop:
        listening = Listening(stream, stop)
        writer.write(b"one\n")
        assert listening.read1(100) == b"one\n"
        threading.Timer(0.2, os.kill, (os.getpid(), number)).start()
        assert listening.read1(100) == b""


def test_a_stream_that_is_no_file_is_read_to_its_end():
    listening = Listening(io.BytesIO(b"one"), stop=lambda: False)
    assert [listening.read1(100), listening.read1(100)] == [b"one", b""]
