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

"""Parallel ticks in processes that are in trouble themselves."""

import os
import signal
import subprocess
import sys
import textwrap
import time

from tests.helpers import ticks

#: A service that is run by a program; {tail} is what the program does.


class TestSignals(ticks.ParentTestCase):
    def tick(self, *functions):
        process = self.start(
            self.program(f'''
                service = make({', '.join(functions)})
                try:
                    service.run_periodic_tasks_in_parallel(None, processes=2)
                except KeyboardInterrupt:
                    print('interrupted', flush=True)
            ''')
        )
        self.await_said(process, len(functions))
        return process, self.workers_of(process)

    def test_the_parent_is_killed(self):
        for function in ('faults.hang', 'faults.hang_in_c'):
            self.path.unlink(missing_ok=True)
            process, workers = self.tick(function)
            process.kill()
            self.assert_gone(workers, 2)

    def test_the_parent_is_killed_between_ticks(self):
        process = self.start(
            self.program('''
                service = make(faults.one, faults.two)
                service.run_periodic_tasks_in_parallel(None, processes=2)
                time.sleep(600)
            ''')
        )
        self.await_said(process, 2)
        workers = self.workers_of(process)
        process.kill()
        self.assert_gone(workers, 2)

    def test_ctrl_c(self):
        process, workers = self.tick('faults.hang', 'faults.hang_in_c')
        start = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=ticks.PROGRAM_BOUND)
        self.assertIn('interrupted', output)
        self.assertLess(time.monotonic() - start, 5)
        self.assert_gone(workers, 1)

    def test_sigterm_to_the_group(self):
        process, workers = self.tick('faults.hang')
        os.killpg(process.pid, signal.SIGTERM)
        process.communicate(timeout=ticks.PROGRAM_BOUND)
        self.assert_gone(workers, 2)

    def test_the_end_of_the_program(self):
        code, output = self.run_to_end(
            self.program('''
                service = make(faults.one, faults.leave_a_thread)
                service.run_periodic_tasks_in_parallel(None, processes=2)
                me = f'/proc/{os.getpid()}/task/{os.getpid()}/children'
                print('children', len(open(me).read().split()))
            ''')
        )
        self.assertEqual((0, True), (code, 'children 2' in output), output)


class TestExit(ticks.ParentTestCase):
    def check(self, code):
        status, output = self.run_to_end(self.program(code))
        self.assertEqual(0, status, output)
        self.assertNotIn('Error', output)

    def test_a_stop_that_was_registered_before_the_start(self):
        """It waits for the task, and the pool ends after it."""
        self.check('''
            import atexit
            from oslo_periodic import periodic_task, runner
            service = make()
            service.add_periodic_task(
                periodic_task.periodic_task(
                    spacing=3600, run_immediately=True, isolation='process'
                )(faults.take_half_a_second)
            )
            started = runner.PeriodicRunner(service)
            atexit.register(lambda: started.stop(timeout=30))
            started.start()
            while not os.path.exists(service.path):
                time.sleep(0.01)
        ''')
        self.assertEqual('begins\nends\n', self.path.read_text())

    def test_a_forked_child_while_locks_are_held(self):
        """It ends, and may run ticks of its own, whoever held the locks."""
        self.check('''
            import threading
            from oslo_periodic import backends
            service = make(faults.one)
            service.run_periodic_tasks_in_parallel(None, processes=1)
            backend = backends.get_backend()
            pool = backend.worker_pool(1)
            pool.submit(int).result()
            held, gate = threading.Event(), threading.Event()
            def hold():
                with (
                    pool._queue.changed,
                    backend._lock,
                    backend._workers._condition,
                    backend._workers.collector._lock,
                ):
                    held.set()
                    gate.wait()
            thread = threading.Thread(target=hold)
            thread.start()
            held.wait()
            for ticks in (False, True):
                child = os.fork()
                if not child:
                    signal.alarm(20)
                    if ticks:
                        service._periodic_last_run['one'] = None
                        service.run_periodic_tasks_in_parallel(None)
                    sys.exit(7)
                assert os.waitpid(child, 0)[1] == 7 << 8
            gate.set()
            thread.join()
        ''')
        self.assertEqual('one\none\n', self.path.read_text())


class TestFreezes(ticks.ParentTestCase):
    """The service and its workers stand still, longer than the timeout."""

    def freeze(self, function):
        process = self.start(
            self.program(f'''
                service = make({function})
                service.run_periodic_tasks_in_parallel(None, timeout=1)
            ''')
        )
        self.await_said(process)
        (worker,) = self.workers_of(process)
        process.send_signal(signal.SIGSTOP)
        signal.pidfd_send_signal(worker, signal.SIGSTOP)
        time.sleep(1.5)  # The freeze itself.
        process.send_signal(signal.SIGCONT)
        time.sleep(0.2)  # The service judges before its worker goes on.
        signal.pidfd_send_signal(worker, signal.SIGCONT)
        output, _ = process.communicate(timeout=ticks.PROGRAM_BOUND)
        self.assertEqual(0, process.returncode)
        return output

    def test_a_task_whose_work_is_done(self):
        output = self.freeze('faults.take_half_a_second')
        self.assertNotIn('Error', output)
        self.assertEqual('begins\nends\n', self.path.read_text())

    def test_a_task_that_hangs(self):
        self.assertIn('TaskTimeout', self.freeze('faults.hang'))


class TestPrograms(ticks.ParentTestCase):
    def test_a_class_in_the_main_program(self):
        path = self.write(
            'guarded.py',
            ticks.SERVICE
            + textwrap.dedent('''
            if __name__ == '__main__':
                print(make().run_periodic_tasks_in_parallel('c', processes=1))
            '''),
        )
        for command in (
            [sys.executable, str(path)],
            [sys.executable, '-m', 'guarded'],
        ):
            code, output = self.run_to_end(command=command)
            self.assertEqual((0, 'ran c'), (code, output[:5]), output)

    def test_after_an_import_of_multiprocessing(self):
        """Which makes __mp_main__ another name of whatever is __main__."""
        self.write(
            'importing.py',
            ticks.SERVICE
            + 'import multiprocessing\nclass Other(Service): pass\n',
        )
        path = self.write(
            'later.py',
            ticks.SERVICE
            + textwrap.dedent('''
            if __name__ == '__main__':
                import importing
                for cls in (importing.Other, Service):
                    made = make(cls)
                    made.run_periodic_tasks_in_parallel('c', processes=1)
            '''),
        )
        code, output = self.run_to_end(command=[sys.executable, str(path)])
        self.assertEqual((0, 'ran c\nran c\n'), (code, output))

    def test_no_guard(self):
        path = self.write(
            'unguarded.py',
            ticks.SERVICE
            + textwrap.dedent('''
            print('starts', flush=True)
            make().run_periodic_tasks_in_parallel('c', processes=2)
            '''),
        )
        code, output = self.run_to_end(command=[sys.executable, str(path)])
        self.assertEqual(1, code)
        self.assertIn("if __name__ == '__main__'", output)
        self.assertIn('WorkerStartError', output.splitlines()[-1])
        # The program itself, and one worker.
        self.assertEqual(2, output.count('starts\n'), output)

    def test_a_program_from_standard_input(self):
        code, output = self.run_to_end(
            command=[sys.executable, '-'],
            stdin=subprocess.PIPE,
            input=ticks.SERVICE
            + "make().run_periodic_tasks_in_parallel('c', processes=2)\n",
        )
        self.assertEqual(1, code)
        self.assertIn('put the class into a module', output)

    def test_a_main_program_that_cannot_be_imported(self):
        path = self.write(
            'broken.py',
            ticks.SERVICE
            + textwrap.dedent('''
            print('starts', flush=True)
            if __name__ != '__main__':
                raise RuntimeError('not here')
            make().run_periodic_tasks_in_parallel('c', processes=2)
            '''),
        )
        code, output = self.run_to_end(command=[sys.executable, str(path)])
        self.assertEqual(1, code)
        self.assertIn('not here', output.splitlines()[-1])
        self.assertEqual(2, output.count('starts\n'), output)

    def test_closed_standard_streams(self):
        self.write('svc.py', ticks.SERVICE)
        for closed in ((0,), (1,), (2,), (0, 1, 2)):
            code, _ = self.run_to_end(
                self.program(f'''
                    for fd in {closed}:
                        os.close(fd)
                    service = make(faults.one, faults.two)
                    service.run_periodic_tasks_in_parallel(None, processes=2)
                    os._exit(17)
                ''')
            )
            self.assertEqual(17, code)
            self.assertEqual(
                ['one', 'two'], sorted(self.path.read_text().split())
            )
            self.path.unlink()

    def test_streams_go_where_the_parents_go(self):
        code, output = self.run_to_end(
            self.program('''
                service = make(faults.print_streams)
                service.run_periodic_tasks_in_parallel(None, processes=1)
            ''')
        )
        for line in ('to stdout', 'to stderr', 'from a child'):
            self.assertIn(line + '\n', output)

    def test_standard_input_is_empty(self):
        self.run_to_end(
            self.program('''
                service = make(faults.read_stdin)
                service.run_periodic_tasks_in_parallel(None, processes=1)
            '''),
            stdin=subprocess.PIPE,
        )
        self.assertEqual("stdin ''\n", self.path.read_text())


class TestSurroundings(ticks.ParentTestCase):
    def check(self, code):
        status, output = self.run_to_end(self.program(code))
        self.assertEqual(0, status, output)
        return output

    def test_the_start_method_is_not_touched(self):
        self.check('''
            import multiprocessing
            service = make(faults.one)
            service.run_periodic_tasks_in_parallel(None, processes=1)
            assert multiprocessing.get_start_method(allow_none=True) is None
            multiprocessing.set_start_method('spawn')
        ''')

    def test_nothing_is_loaded_before_it_is_needed(self):
        self.check('''
            service = make(faults.one)
            service.run_periodic_tasks(None)
            assert 'oslo_periodic.process' not in sys.modules
            service.run_periodic_tasks_in_parallel(None)
            assert 'oslo_periodic.process' in sys.modules
        ''')

    def test_in_a_daemonic_process(self):
        output = self.check('''
            import multiprocessing
            def run():
                service = make(faults.one, faults.two)
                idle = service.run_periodic_tasks_in_parallel(None)
                print('idle', idle)
            context = multiprocessing.get_context('fork')
            process = context.Process(target=run, daemon=True)
            process.start()
            process.join(30)
            assert process.exitcode == 0
        ''')
        self.assertIn('idle', output)
        self.assertEqual(2, len(self.path.read_text().split()))

    def test_after_a_fork(self):
        """The child has no part in the workers of its parent."""
        self.check('''
            service = make(faults.say_pid)
            service.run_periodic_tasks_in_parallel(None, processes=1)
            service._periodic_last_run['say_pid'] = None
            child = os.fork()
            service.run_periodic_tasks_in_parallel(None, processes=1)
            if not child:
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
            assert service._periodic_last_run['say_pid'] is not None
        ''')
        pids = self.path.read_text().split()[1::2]
        self.assertEqual(3, len(pids))
        self.assertEqual(2, len(set(pids)))

    def test_patched_threads(self):
        for patch, text in (
            ('import eventlet; eventlet.monkey_patch()', 'eventlet has'),
            ('from gevent import monkey; monkey.patch_all()', 'gevent has'),
        ):
            output = self.check(f'''
                {patch}
                from oslo_periodic import backends, exceptions
                backends.init_backend('threading')
                service = make(faults.one)
                try:
                    service.run_periodic_tasks_in_parallel(None)
                except exceptions.UnsupportedBackendError as exc:
                    print(exc)
                assert service._periodic_last_run['one'] is None
            ''')
            self.assertIn(text, output)

    def test_backends_without_processes(self):
        for name in ('eventlet', 'gevent'):
            output = self.check(f'''
                from oslo_periodic import backends, exceptions
                backends.init_backend('{name}')
                service = make(faults.one)
                try:
                    service.run_periodic_tasks_in_parallel(None)
                except exceptions.UnsupportedBackendError as exc:
                    print(exc)
                assert service._periodic_last_run['one'] is None
            ''')
            self.assertIn(f"The '{name}' backend has no process pool", output)


class TestSizes(ticks.ParentTestCase):
    """Nothing of unbounded size is in a message or a command line."""

    def check(self, code, *functions):
        status, output = self.run_to_end(
            self.program(
                textwrap.dedent(code)
                + f'service = make({", ".join(functions)})\n'
                'service.run_periodic_tasks_in_parallel(None, processes=1)\n'
            )
        )
        self.assertEqual(0, status, output)
        self.assertNotIn('Error', output)
        return self.path.read_text()

    def test_levels(self):
        said = self.check(
            '''
            for number in range(8000):
                name = f'many.loggers.with.a.long.name.{number}'
                logging.getLogger(name).setLevel(17)
            ''',
            'faults.say_levels',
        )
        self.assertIn('levels 8000 {17}', said)

    def test_import_path(self):
        said = self.check(
            '''
            sys.path += [f'/nonexistent/path/{i:100}' for i in range(20_000)]
            ''',
            'faults.one',
        )
        self.assertEqual('one\n', said)

    def test_environment(self):
        for code in (
            "os.environ['OSLO_PERIODIC_TEST'] = 'x' * 200_000 + '.end'\n",
            "os.environ['OSLO_PERIODIC_TEST'] = 'the.end'\n"
            'for number in range(20_000):\n'
            "    os.environ[f'VARIABLE_{number}'] = 'y' * 200\n",
        ):
            said = self.check(code, 'faults.say_variable')
            self.assertIn('.end\n', said)

    def test_what_warm_workers_follow(self):
        code, output = self.run_to_end(
            self.program('''
                service = make(faults.say_surroundings)
                def tick():
                    service._periodic_last_run['say_surroundings'] = None
                    service.run_periodic_tasks_in_parallel(None, processes=1)
                tick()
                os.chdir('/')
                os.environ['OSLO_PERIODIC_TEST'] = 'set'
                sys.path.append('/nonexistent/tests')
                tick()
                del os.environ['OSLO_PERIODIC_TEST']
                sys.path.remove('/nonexistent/tests')
                import tempfile
                with tempfile.TemporaryDirectory() as directory:
                    os.chdir(directory)
                tick()
                me = f'/proc/{os.getpid()}/task/{os.getpid()}/children'
                print('children', len(open(me).read().split()))
            ''')
        )
        self.assertEqual((0, True), (code, 'children 1\n' in output), output)
        lines = self.path.read_text().splitlines()
        self.assertEqual(
            [
                f'directory {self.directory}',
                'variable ',
                'path False',
                'child ',
                'directory /',
                'variable set',
                'path True',
                'child set',
                'directory /',
                'variable ',
                'path False',
                'child ',
            ],
            [line for line in lines if line],
        )
