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

"""Tasks that do what tasks must not do, importable in worker processes."""

import contextvars
import ctypes
import logging
import multiprocessing
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time

from oslo_config import cfg

from oslo_periodic import periodic_task

LOG = logging.getLogger('tests.faults')


class Service(periodic_task.PeriodicTasks):
    """Has no tasks of its own, and a file to say what ran."""

    def __init__(self, conf, path=None):
        super().__init__(conf)
        self.path = path

    def say(self, *words):
        """Add a line to the file, in one write."""
        line = ' '.join(map(str, words)) + '\n'
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(fd, line.encode())
        finally:
            os.close(fd)


def make(conf, path, *functions, spacing=3600):
    """Make a service of functions of this module, all due at once."""
    service = Service(conf, str(path))
    for function in functions:
        decorate = periodic_task.periodic_task(
            spacing=spacing, run_immediately=True
        )
        service.add_periodic_task(decorate(function))
    return service


def say_pid(self, context):
    self.say('pid', os.getpid())


def say_context(self, context):
    self.say('context', context)


def one(self, context):
    self.say('one')


def two(self, context):
    self.say('two')


def three(self, context):
    self.say('three')


def note_one(self, context):
    self.say('note_one', context)


def note_two(self, context):
    self.say('note_two', context)


def note_three(self, context):
    self.say('note_three', context)


def count_up(self, context):
    self.count = getattr(self, 'count', 0) + 1
    self.say('count', self.count)


def change(self, context):
    self.path = self.path + 'x'
    self.fresh = 1


def kill_itself(self, context):
    os.kill(os.getpid(), signal.SIGKILL)


def crash(self, context):
    ctypes.string_at(0)


def exit_at_once(self, context):
    os._exit(7)


def raise_system_exit(self, context):
    sys.exit(3)


def raise_interrupt(self, context):
    raise KeyboardInterrupt('by a task')


def fail(self, context):
    raise ValueError('on purpose')


class Awkward(Exception):
    """Pickles, and does not unpickle."""

    def __init__(self, one, two):
        super().__init__(f'{one} {two}')


def raise_awkward(self, context):
    raise Awkward('cannot', 'travel')


def raise_unpicklable(self, context):
    exc = ValueError('has a lock')
    exc.lock = threading.Lock()
    raise exc


def raise_local(self, context):
    class Local(Exception):
        pass

    raise Local('only here')


def hang(self, context):
    self.say('hangs')
    while True:
        time.sleep(60)


def hang_in_c(self, context):
    """Hold the GIL, so that no thread and no handler runs."""
    self.say('hangs')
    sum(range(10**13))


def hang_stubbornly(self, context):
    for number in (signal.SIGTERM, signal.SIGTSTP):
        signal.signal(number, signal.SIG_IGN)
    self.say('hangs')
    while True:
        time.sleep(60)


def close_descriptors(self, context):
    os.closerange(3, 256)
    time.sleep(60)


def leave_a_thread(self, context):
    threading.Thread(target=time.sleep, args=(600,)).start()


def leave_a_child(self, context):
    """Fork a child that holds the pipes, and outlives the worker."""
    child = os.fork()
    if not child:
        time.sleep(30)
        os._exit(0)
    self.say('child', child)
    os._exit(9)


def _in_child(connection):
    connection.send('from a child')


def use_multiprocessing(self, context):
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=_in_child, args=(theirs,))
    process.start()
    self.say(ours.recv())
    process.join()


def log_records(self, context):
    LOG.debug('not wanted')
    LOG.info('hello %s', 'parent', extra={'colour': 'red'})
    try:
        raise ValueError('with a traceback')
    except ValueError:
        LOG.exception('failed')
    LOG.info('object %s', object, extra={'lock': threading.Lock()})
    logging.getLogger('tests.quiet').info('below its level')


def log_a_lot(self, context):
    for number in range(2000):
        LOG.info('%d %s', number, 'x' * 1000)


def print_streams(self, context):
    print('to stdout', flush=True)
    print('to stderr', file=sys.stderr, flush=True)
    subprocess.run(['sh', '-c', 'echo from a child'], check=True)


def read_option(self, context):
    self.say('own', self.conf.tests.value, 'global', cfg.CONF.tests.value)


def read_stdin(self, context):
    self.say('stdin', repr(sys.stdin.read()))


def work(self, context):
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass


def note_schedule(self, context):
    self.say('schedule', sorted(self._periodic_last_run))


def log_awkward(self, context):
    """Log an attribute that pickles, and does not unpickle."""
    LOG.error('awkward', extra={'error': Awkward('x', 'y')})
    LOG.error('after it')


def _log_in_child():
    for number in range(50):
        LOG.info('child %d %s', number, 'x' * 20000)


def log_beside_a_child(self, context):
    process = multiprocessing.get_context('fork').Process(target=_log_in_child)
    process.start()
    for number in range(50):
        LOG.info('task %d %s', number, 'y' * 20000)
    process.join()
    self.say('children', process.exitcode)


def log_in_a_signal_handler(self, context):
    def handle(number, frame):
        LOG.info('from the handler')

    signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        for number in range(3000):
            LOG.info('%d %s', number, 'x' * 100)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    self.say('handled')


def print_plainly(self, context):
    print('not flushed')


def fail_to_execute(self, context):
    """Fork a child that cannot become another program."""
    child = os.fork()
    if not child:
        os.execv('/nonexistent/program', ['program'])
    self.say('child', os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def forget_to_exit(self, context):
    """Fork a child that returns from the task, as its parent does."""
    child = os.fork()
    if child:
        self.say('child', os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    else:
        self.say('forked')


def exit_in_a_fork(self, context):
    child = os.fork()
    if not child:
        sys.exit(5)
    self.say('child', os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def fork_and_fail(self, context):
    child = os.fork()
    if child:
        self.say('child', os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    raise ValueError('in both')


def limit_memory(self, context):
    """Leave no memory for another copy of a large instance."""
    with open('/proc/self/statm') as file:
        pages = int(file.read().split()[0])
    limit = pages * resource.getpagesize() - len(self.blob) // 2
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def break_the_loop(self, context):
    """Leave a thread behind, and have the loop of the worker fail."""
    leave_a_thread(self, context)
    socket.recv_fds = None


#: Starts a program, which says its pid, in the background and in a session of
#: its own; what has started it ends.
DETACH = (
    'setsid sh -c '
    '"echo program detached \\$\\$ >> {path}; exec sleep {time}" &'
)


def _say_program(self, kind, **kwargs):
    program = subprocess.Popen(['sleep', '3600'], **kwargs)
    self.say('program', kind, program.pid)
    return program


def start_programs(self, context):
    """Start a program in the group, one in a session, and a detached one."""
    subprocess.run(DETACH.format(path=self.path, time=3600), shell=True)
    _say_program(self, 'session', start_new_session=True)
    _say_program(self, 'group').wait()


def leave_programs(self, context):
    """Leave a program in the group, and a detached one."""
    subprocess.run(DETACH.format(path=self.path, time=3600), shell=True)
    _say_program(self, 'group')


def leave_programs_and_hang(self, context):
    leave_programs(self, context)
    hang_stubbornly(self, context)


def detach(self, context):
    """Leave a detached program alone."""
    subprocess.run(DETACH.format(path=self.path, time=3600), shell=True)


def leave_an_orphan(self, context):
    """Leave a program that ends soon, and that no code waits for."""
    subprocess.run(DETACH.format(path='/dev/null', time=0), shell=True)
    self.say('pid', os.getpid())


def wait_for_gate(self, context):
    """Wait until the context, a path, exists."""
    self.say('waits')
    while not os.path.exists(context):
        time.sleep(0.01)
    self.say('passed', os.getpid())


def terminate_children(self, context):
    """End children by signals, as multiprocessing and services do."""
    fork = multiprocessing.get_context('fork')
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        process = fork.Process(target=time.sleep, args=(3600,))
        process.start()
        os.kill(process.pid, number)
        process.join()
        self.say('fork', process.exitcode)
        program = subprocess.Popen(['sleep', '3600'])
        program.send_signal(number)
        self.say('program', program.wait())


def say_surroundings(self, context):
    self.say('directory', os.getcwd())
    say_variable(self, context)
    self.say('path', '/nonexistent/tests' in sys.path)
    echo = ['sh', '-c', 'echo $OSLO_PERIODIC_TEST']
    self.say('child', subprocess.check_output(echo, text=True).strip())


def say_variable(self, context):
    self.say('variable', os.environ.get('OSLO_PERIODIC_TEST', '')[-20:])


def say_levels(self, context):
    levels = [
        logger.level
        for name, logger in logging.root.manager.loggerDict.items()
        if name.startswith('many.') and isinstance(logger, logging.Logger)
    ]
    self.say('levels', len(levels), set(levels))


def take_half_a_second(self, context):
    self.say('begins')
    time.sleep(0.5)
    self.say('ends')


def read_odd_option(self, context):
    self.say('odd', self.conf.tests.odd)


def register_odd_option(self, context):
    """Register it as a module does that only the task imports."""
    opt = cfg.Opt('odd', type=lambda value: f'<{value}>', default='other')
    cfg.CONF.register_opt(opt, group='tests')
    self.say('odd', cfg.CONF.tests.odd)


VARIABLE = contextvars.ContextVar('VARIABLE', default='unset')


def set_contexts(self, context):
    from oslo_context import context as oslo_context

    VARIABLE.set('set')
    oslo_context.RequestContext(request_id='req-of-another-task')


def say_contexts(self, context):
    from oslo_context import context as oslo_context

    self.say('contexts', VARIABLE.get(), oslo_context.get_current())
