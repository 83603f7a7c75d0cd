# What is built goes into .venv/, .tox/ and build/, which git ignores.

PYTHON ?= python3
# Seconds that the demo runs on each backend.
DEMO_SECONDS ?= 10
# Arguments for tox, as in TOXARGS='-e py3 -- tests.unit'. py3 is the Python
# of .venv, so there is one to run the tests, which py311 to py313 need not be.
TOXARGS ?= -e pep8,py3

VENV := .venv
BIN := $(VENV)/bin
DEMO := $(VENV)/demo
SOURCES := pyproject.toml setup.cfg setup.py requirements.txt README.rst \
	$(shell find oslo_periodic -type f ! -path '*/__pycache__/*')

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test clean python

help:
	@echo 'make demo    show what the library is for, and audit this host'
	@echo 'make test    run the tests and the checks (tox)'
	@echo 'make clean   remove what the other two have built'
	@echo
	@echo 'PYTHON=... chooses the Python (3.11 or later); python3 by default.'

demo: $(VENV)/.installed
	@rm -rf $(DEMO)
	@mkdir $(DEMO)
	@unset OS_OSLO_PERIODIC__BACKEND; $(BIN)/python -m examples.demo
	@echo
	@echo 'A service for real: the tasks of examples/host_audit.py, which its'
	@echo 'configuration file makes more frequent.'
	@$(BIN)/oslo-periodic -q list examples.host_audit:HostAudit
	@unset OS_OSLO_PERIODIC__BACKEND; \
	for backend in threading eventlet; do \
		echo; \
		echo "Running it for $(DEMO_SECONDS) s" \
			"with examples/$$backend.conf ..."; \
		$(BIN)/oslo-periodic run examples.host_audit:HostAudit \
			--config-file examples/host_audit.conf \
			--config-file examples/$$backend.conf \
			--for $(DEMO_SECONDS) 2>$(DEMO)/$$backend.log \
			|| { cat $(DEMO)/$$backend.log >&2; exit 1; }; \
		sed -n "/use the backend/s|$$PWD/||p" $(DEMO)/$$backend.log; \
	done
	@echo
	@$(BIN)/python examples/report.py $(DEMO)/host_audit.sqlite \
		--backend threading --backend eventlet --fails backup
	@echo
	@echo 'The records are in $(DEMO)/host_audit.sqlite,'
	@echo 'the logs in $(DEMO)/threading.log and $(DEMO)/eventlet.log.'

test: $(VENV)/.tox
	@$(BIN)/python -m tox $(TOXARGS)

clean:
	rm -rf $(VENV) .tox .stestr build *.egg-info

# Is there a Python that will do? Each case says what to do about it.
python:
	@command -v '$(PYTHON)' >/dev/null || { \
		echo 'There is no $(PYTHON): install Python 3.11 or later, or' \
			'name one, as in: make PYTHON=python3.12 ...' >&2; \
		exit 1; }
	@'$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "$(PYTHON) is $$('$(PYTHON)' --version 2>&1), which is too" \
			'old: Python 3.11 or later is needed. Name one, as in:' \
			'make PYTHON=python3.12 ...' >&2; \
		exit 1; }
	@'$(PYTHON)' -c 'import ensurepip, venv' 2>/dev/null || { \
		version=$$('$(PYTHON)' -c \
			'import sys; print("%d.%d" % sys.version_info[:2])'); \
		echo "$(PYTHON) lacks the modules venv and ensurepip. Debian and" \
			"Ubuntu have them in a package of their own:" \
			"apt install python$$version-venv" >&2; \
		exit 1; }

$(VENV)/.created: | python
	@echo 'Making the virtual environment $(VENV) ...'
	@'$(PYTHON)' -m venv $(VENV)
	@touch $@

$(VENV)/.installed: $(SOURCES) $(VENV)/.created
	@echo 'Installing oslo.periodic and what it needs into $(VENV) ...'
	@rm -rf build
	@$(BIN)/python -m pip install -q '.[eventlet]'
	@touch $@

$(VENV)/.tox: $(VENV)/.created
	@echo 'Installing tox into $(VENV) ...'
	@$(BIN)/python -m pip install -q 'tox>=4.28'
	@touch $@
