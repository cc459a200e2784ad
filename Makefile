# make report | test | lab | app | video | bench | pretrained | readme-numbers | api | clean
#
# Every target first creates .venv when it is missing, or brings it up to date when pyproject.toml or constraints.txt
# changed. Nothing else has to be installed before, except Python. To choose:
#   make report PYTHON=python3.12
#   make report TORCH="torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu"      (a build without CUDA)

PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV := .venv
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
# Python compiles a module when it is first imported and keeps that, unless it is told not to; of what is installed most never
# is, and compiling it all takes a minute.
unexport PYTHONDONTWRITEBYTECODE
INSTALL := $(BIN)/python -m pip --disable-pip-version-check install --no-compile

# A stamp is written last, so that an environment whose installation was interrupted does not count as made.
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev
INSTALLED_APP := $(VENV)/.installed-app
INSTALLED_VIDEO := $(VENV)/.installed-video
POSE_MODEL := $(VENV)/share/gaitlib/pose.task

.PHONY: help report test lab app video bench pretrained readme-numbers api clean
.DEFAULT_GOAL := help

help:
	@echo "make report   run the four notebooks on a small synthetic data set: reports/quick/index.html"
	@echo "make test     run the tests"
	@echo "make lab      open copies of the notebooks, in work/, in JupyterLab"
	@echo "make app      the explorers of notebook 04 as a page without code (installs voila)"
	@echo "make video    install what turns clips into walks, and make its model; README.md says what then"
	@echo "make bench    run the comparisons in benchmarks/"
	@echo "make pretrained   train the model in gaitlib/pretrained/ again (half an hour)"
	@echo "make readme-numbers   take the numbers of a finished reports/quick into docs/numbers.json and README.md"
	@echo "make api      write docs/api.md from the docstrings"
	@echo "make clean    remove .venv and all caches; reports, data and work/ stay"

report: $(INSTALLED)
	$(BIN)/gaitlib run configs/quick.yaml --name quick --resume

test: $(INSTALLED_DEV)
	$(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

# In copies, which JupyterLab saves by itself as one works.
lab: $(INSTALLED)
	@$(BIN)/python -c "from gaitlib.notebooks import working_copies; from pathlib import Path; \
	  [print(said) for said in working_copies(Path('work'))]"
	$(BIN)/jupyter lab --ServerApp.root_dir=. work/01_data_preparation.ipynb

# A page that trains would stay empty for minutes: that comes first, unless it is done. Voila's page asks a CDN for icons that
# nothing here uses: the policy lets the browser load from this machine only.
app: $(INSTALLED_APP)
	$(BIN)/gaitlib train configs/quick.yaml
	$(BIN)/voila --Voila.ip=127.0.0.1 --Voila.tornado_settings="{'headers': {'Content-Security-Policy': \
	  \"default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:\"}}" notebooks/04_visualization.ipynb

video: $(POSE_MODEL)

bench: $(INSTALLED_DEV)
	@for script in benchmarks/*.py; do \
	  if [ -e "$$script" ]; then echo "== $$script"; $(BIN)/python "$$script" || exit 1; fi; \
	done

pretrained: $(INSTALLED)
	$(BIN)/gaitlib run configs/pretrained.yaml --name pretrained --resume
	$(BIN)/python -c "from gaitlib.model.checkpoint import save_small; from pathlib import Path; \
	  save_small('reports/pretrained', Path('gaitlib/pretrained/model.safetensors'))"

readme-numbers: $(INSTALLED)
	$(BIN)/python docs/readme_numbers.py reports/quick

api: $(INSTALLED)
	$(BIN)/python docs/api.py

clean:
	rm -rf $(VENV) cache build *.egg-info .pytest_cache .ruff_cache .hypothesis
	find gaitlib tests notebooks benchmarks -depth \( -name __pycache__ -o -name .ipynb_checkpoints \) -exec rm -rf {} +

# Torch goes first: with no torch installed, a looser range takes a build with gigabytes of CUDA packages.
define install
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo "gaitlib needs Python 3.11 or\
	 newer and '$(PYTHON)' is not that; name one with: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(BIN)/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	$(INSTALL) $(TORCH)
	$(INSTALL) -c constraints.txt -e ".$(1)"
	@touch $(INSTALLED) $@
endef

$(INSTALLED): pyproject.toml constraints.txt
	$(call install,)

$(INSTALLED_DEV): pyproject.toml constraints.txt
	$(call install,[dev])

$(INSTALLED_APP): pyproject.toml constraints.txt
	$(call install,[app])

$(INSTALLED_VIDEO): pyproject.toml constraints.txt
	$(call install,[video])

$(POSE_MODEL): gaitlib/poses/pose_model.py | $(INSTALLED_VIDEO)
	$(BIN)/python -m gaitlib.poses.pose_model
