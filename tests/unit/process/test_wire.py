# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""What crosses between the parent and a worker, without either."""

import io
import os
import pickle
import signal
import threading
import unittest

import fixtures
from hypothesis import strategies
from oslo_config import cfg

from oslo_periodic import exceptions
from oslo_periodic.process import _wire
import tests
from tests import base


def unpicklable():
    """Make an object that cannot be pickled, patched or not."""
    return (item for item in ())


class TwoArguments(Exception):
    """Cannot be unpickled: its arguments are not what it is made with."""

    def __init__(self, host, port):
        super().__init__(f'{host}:{port}')


class Unreadable(Exception):
    def __str__(self):
        raise ValueError('no text')


class Impostor(Exception):
    def __reduce__(self):
        return ValueError, ('in disguise',)


class Exits(Exception):
    """Ends whoever unpickles it."""

    def __reduce__(self):
        return _exit, ()


def _exit():
    raise SystemExit('by unpickling')


class Light:
    def __init__(self, value):
        self.value = value
        self.other = unpicklable()

    def reduce_for_worker(self):
        return Light, (self.value,)


class TestDump(base.TestCase):
    def test_round_trip(self):
        value = {'a': [1, (2.5, None)], 'b': {b'c'}}
        self.assertEqual(value, _wire.load(_wire.dump(value)))

    def test_an_object_reduces_itself(self):
        loaded = _wire.load(_wire.dump([Light(3)]))
        self.assertEqual(3, loaded[0].value)

    def test_a_configuration(self):
        self.conf.register_opt(cfg.IntOpt('answer', default=42))
        self.conf.set_override('answer', 43)
        self.assertEqual(43, _wire.load(_wire.dump(self.conf)).answer)

    def test_the_main_program_of_a_worker_is_ours(self):
        """A worker has imported it under the name __mp_main__."""
        main = type('Main', (), {})
        self.useFixture(fixtures.MonkeyPatch('__main__.Main', main))
        self.assertIs(main, _wire.load(b'c__mp_main__\nMain\n.'))


class TestReader(base.TestCase):
    @base.property_test(
        strategies.binary(max_size=50),
        strategies.lists(
            strategies.tuples(
                strategies.booleans(), strategies.integers(0, 20)
            )
        ),
    )
    def test_against_a_file(self, data, steps):
        """A step reads so many bytes, into a buffer or not."""
        reader, file = _wire.BufferReader(bytearray(data)), io.BytesIO(data)
        for into, size in steps:
            if into:
                ours, theirs = bytearray(size), bytearray(size)
                self.assertEqual(file.readinto(theirs), reader.readinto(ours))
                self.assertEqual(theirs, ours)
            else:
                self.assertEqual(file.read(size), reader.read(size))

    def test_unpickling(self):
        value = [b'x' * 100_000, 'y' * 100, list(range(1000))]
        data = bytearray(_wire.dump(value))
        reader = _wire.BufferReader(data)
        self.assertEqual(value, pickle.load(reader))
        reader.release()
        data.clear()  # Nothing refers to it any more.

    def test_an_old_protocol(self):
        reader = _wire.BufferReader(pickle.dumps(1.5, 0))
        self.assertRaises(pickle.UnpicklingError, pickle.load, reader)


class TestExceptions(base.TestCase):
    def cross(self, exc):
        """Raise an exception, and return what arrives."""
        try:
            raise exc
        except BaseException as raised:
            packed = _wire.pack_exception(raised)
        # What a message holds is plain data.
        return _wire.unpack_exception(pickle.loads(pickle.dumps(packed)))

    def stand_in(self, exc, *texts):
        arrived = self.cross(exc)
        self.assertIs(exceptions.RemoteError, type(arrived))
        for text in (type(exc).__qualname__, *texts):
            self.assertIn(text, str(arrived))
        self.assertIn('Traceback', str(arrived.__cause__))

    def test_one_that_pickles(self):
        arrived = self.cross(LookupError('no', 'such', 3))
        self.assertIs(LookupError, type(arrived))
        self.assertEqual(('no', 'such', 3), arrived.args)
        cause = arrived.__cause__
        self.assertIsInstance(cause, exceptions.RemoteTraceback)
        self.assertIn('in cross', str(cause))
        self.assertIn("LookupError: ('no', 'such', 3)", str(cause))

    def test_those_that_do_not_pickle(self):
        class Local(Exception):
            pass

        self.stand_in(Local('only here'), 'only here')
        self.stand_in(ValueError(unpicklable()), 'generator')

    def test_those_that_do_not_unpickle(self):
        self.stand_in(TwoArguments('host', 80), 'host:80')
        self.stand_in(Exits('what it does'), 'what it does')

    def test_one_that_unpickles_to_another(self):
        self.stand_in(Impostor('of a kind'), 'of a kind')

    def test_one_without_a_text(self):
        self.assertIsInstance(self.cross(Unreadable()), Unreadable)
        unreadable = Unreadable(unpicklable())
        self.stand_in(unreadable, "ValueError('no text')")

    def test_those_that_would_end_the_parent(self):
        self.stand_in(KeyboardInterrupt('by a task'), 'by a task')
        self.stand_in(SystemExit(3), '3')

    def test_one_that_only_the_worker_knows(self):
        data, *rest = _wire.pack_exception(TwoArguments('host', 80))
        self.assertIsNone(data)
        unknown = pickle.dumps(LookupError()).replace(
            b'LookupError', b'LookupErr0r'
        )
        arrived = _wire.unpack_exception((unknown, *rest))
        self.assertIn('host:80', str(arrived))


MESSAGES = strategies.lists(
    strategies.tuples(strategies.text(), strategies.binary(max_size=300)),
    max_size=6,
)


@unittest.skipIf(tests.MONKEY_PATCHED, 'a patched process has no such pipe')
class TestFrames(base.TestCase):
    def setUp(self):
        super().setUp()
        self.read, self.write = self.pipe()
        self.sender = _wire.Sender(self.write)
        self.receiver = _wire.Receiver(self.read)

    def pipe(self):
        ends = os.pipe()
        os.set_blocking(ends[0], False)
        for end in ends:
            self.addCleanup(self.close, end)
        return ends

    def close(self, descriptor):
        try:
            os.close(descriptor)
        except OSError:
            pass  # The test has closed it.

    def patch_write(self, write):
        """Replace what writes to our pipe."""
        original = os.write

        def patched(descriptor, data):
            if descriptor != self.write:
                return original(descriptor, data)
            return write(original, data)

        self.useFixture(fixtures.MonkeyPatch('os.write', patched))

    def test_nothing_has_come(self):
        self.assertEqual([], self.receiver.receive())
        self.assertFalse(self.receiver.ended)

    @base.property_test(MESSAGES, strategies.integers(1, 200))
    def test_pieces_of_any_size(self, messages, size):
        """However the bytes arrive, each message arrives once and whole."""
        for message in messages:
            self.sender.send(*message)
        sent = b''
        while messages:
            try:
                sent += os.read(self.read, 1 << 16)
            except BlockingIOError:
                break
        receiver = _wire.Receiver(self.read)
        received = []
        for start in range(0, len(sent), size):
            os.write(self.write, sent[start : start + size])
            received += receiver.receive()
        self.assertEqual(messages, received)

    def test_partial_writes(self):
        self.patch_write(
            lambda write, data: write(self.write, bytes(data[:3]))
        )
        self.sender.send('began', 1)
        self.sender.send('ended', b'x' * 100)
        self.assertEqual(
            [('began', 1), ('ended', b'x' * 100)], self.receiver.receive()
        )

    def test_more_than_the_pipe_holds(self):
        data = os.urandom(1 << 20)
        thread = threading.Thread(target=self.sender.send, args=('log', data))
        thread.start()
        received = []
        while not received:
            received = self.receiver.receive()
        thread.join(base.TIMEOUT)
        self.assertEqual([('log', data)], received)

    def test_a_message_from_the_middle_of_a_write(self):
        """As of a signal handler that logs; it must not wait for itself."""
        inner = iter([('inner', 1)])

        def write(original, data):
            written = original(self.write, bytes(data[:5]))
            for message in inner:
                self.sender.send(*message)
            return written

        self.patch_write(write)
        self.sender.send('outer', 2)
        self.assertEqual([('outer', 2), ('inner', 1)], self.receiver.receive())

    def test_threads(self):
        def send(number):
            for i in range(200):
                self.sender.send(number, i)

        threads = [threading.Thread(target=send, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        received = []
        while len(received) < 800:
            received += self.receiver.receive()
        for thread in threads:
            thread.join(base.TIMEOUT)
        for number in range(4):
            self.assertEqual(
                list(range(200)), [i for n, i in received if n == number]
            )

    def test_the_end(self):
        """What was complete is received; half a message is dropped."""
        self.sender.send('ended')
        os.write(self.write, b'\0\0\0')
        os.close(self.write)
        self.assertEqual([('ended',)], self.receiver.receive())
        self.assertEqual([], self.receiver.receive())
        self.assertTrue(self.receiver.ended)

    def test_the_parent_is_gone(self):
        """The signal is ignored, as Python does; the lock is released."""
        self.assertEqual(signal.SIG_IGN, signal.getsignal(signal.SIGPIPE))
        os.close(self.read)
        for _ in range(2):
            self.assertRaises(BrokenPipeError, self.sender.send, 'began')
