# crossview: set-up, demonstration, tests. Needs GNU make and Python 3.11 or newer; all else goes into .venv.
#
#   make setup    the environment in .venv      make test    every check a change must pass
#   make demo     train on made phantoms        make lock    re-make the two lock files
#   make lint     ruff and mypy                 make docs    the documentation as a site, in build/site
#   make wheel    the wheel, tried alone        make clean   remove what builds and tests leave
#   make matrix   other Pythons, and the oldest and newest versions of what is needed: some GB and minutes each
#
# make setup PYTHON=python3.12          another Python
# make setup TORCH='torch==2.11.0'      another torch; one that is already in .venv is kept otherwise

PYTHON ?= python3
TORCH ?= torch==2.13.0
PYTEST_OPTIONS ?= --verbose --numprocesses auto --maxprocesses 4

python := .venv/bin/python
pip := $(python) -m pip --disable-pip-version-check
installed := .venv/installed

# The targets follow one another also under -j: the cheap checks first, the tests' summary last.
.NOTPARALLEL:
.PHONY: setup demo test lint docs wheel unit matrix lock clean again

setup: $(installed)
	@echo 'crossview is installed: .venv/bin/crossview --help'

demo: setup
	.venv/bin/crossview demo

test: setup lint docs wheel unit

lint: $(installed)
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

# A broken link, a page that no menu holds or a name that the code lacks is an error.
docs: $(installed)
	NO_MKDOCS_2_WARNING=1 $(python) -m mkdocs build --strict --quiet

unit: $(installed)
	OMP_NUM_THREADS=1 $(python) -m pytest $(PYTEST_OPTIONS)

# ---- the environment ----

# torch comes first and stands outside the lock, because its build depends on the machine (CPU, CUDA, ROCm).
# requirements-run.lock brings setuptools: the one package without a wheel is then built with the locked one, not with
# one that pip fetches unchecked. The stamp is written last, so a set-up that was broken off is taken up again.
$(installed): requirements.lock requirements-run.lock pyproject.toml
	@test -x $(python) || $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo 'crossview needs Python 3.11 or newer; $(PYTHON) is' "$$($(PYTHON) --version 2>&1)"; \
	  echo 'name another one: make setup PYTHON=python3.12'; exit 1; }
	@test -x $(python) || $(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }
	@$(pip) --version >/dev/null 2>&1 || $(python) -m ensurepip
	@$(torch_is_wanted) || $(pip) install '$(TORCH)'
	$(pip) install --quiet --quiet --no-deps --require-hashes -r requirements-run.lock
	$(pip) install --quiet --quiet --no-deps --require-hashes --no-build-isolation -r requirements.lock
	$(pip) install --quiet --no-deps --no-build-isolation --editable .
	@touch $(installed)

ifeq ($(origin TORCH),command line)
# A torch named by hand is installed whatever is there, also where nothing else changed.
torch_is_wanted := false
$(installed): again
else
torch_is_wanted := $(python) -c "$$torch_check"
endif

define torch_check
from importlib.metadata import PackageNotFoundError, version
try:
    major, minor = map(int, version('torch').split('.')[:2])
except PackageNotFoundError:
    raise SystemExit(1)
kept = (major, minor) >= (2, 6) and (major, minor) != (2, 9)
print('torch', version('torch'), 'is there and', 'kept' if kept else 'replaced: crossview needs 2.6 or newer, not 2.9')
raise SystemExit(not kept)
endef
export torch_check

# ---- the wheel, as a user gets it ----

# The clean environment sees the packages of .venv through a .pth file; crossview itself it has only from the wheel.
wheel: $(installed)
	rm -rf build/wheel build/clean build/lib build/bdist.*
	$(pip) wheel --quiet --no-deps --no-build-isolation --wheel-dir build/wheel .
	$(python) -m venv --without-pip build/clean
	$(python) -c "$$share_packages" > "$$(build/clean/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/shared.pth"
	$(pip) --python build/clean/bin/python install --quiet --no-deps --no-index build/wheel/crossview-*.whl
	cd build/clean && bin/python -I -c 'import crossview, pathlib; pathlib.Path(crossview.__file__).resolve().relative_to(pathlib.Path.cwd())'
	cd build/clean && bin/python -I -c 'from crossview.reporting.viewer.server import STATIC, shipped; [shipped(name) for name in STATIC.values()]'
	cd build/clean && bin/crossview list recipes
	cd build/clean && bin/crossview recipe la-8 > la-8.toml && test -s la-8.toml

define share_packages
import sys
print(*(path for path in sys.path if path.endswith(('site-packages', 'dist-packages'))), sep='\n')
endef
export share_packages

# ---- other Pythons and versions ----

# make matrix ENVIRONMENTS='lowest 3.13'
matrix: $(installed)
	$(pip) install --quiet 'uv>=0.5'
	PYTHON=$(python) benchmarks/matrix.sh $(ENVIRONMENTS)

# ---- upkeep ----

# torch is overridden by nothing, so neither it nor the CUDA packages it asks for enter a lock. requirements.lock has all
# that development needs; requirements-run.lock has its subset that crossview imports, with every extra for users.
lock_for := --universal --python-version 3.11 --fork-strategy fewest --override .venv/no-torch.txt --generate-hashes \
  --no-annotate --custom-compile-command 'make lock' --quiet
lock:
	test -x $(python) || $(PYTHON) -m venv .venv
	$(pip) install --quiet 'uv>=0.5'
	printf 'torch ; python_version < "0"\n' > .venv/no-torch.txt
	$(python) -m uv pip compile pyproject.toml --extra dev $(lock_for) --output-file requirements.lock $(LOCK_OPTIONS)
	$(python) -m uv pip compile pyproject.toml --extra formats --extra dicom --extra onnx --extra tensorboard \
	  --extra mlflow $(lock_for) --constraint requirements.lock --output-file requirements-run.lock

clean:
	rm -rf build dist src/crossview.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
