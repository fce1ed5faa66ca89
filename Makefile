# What people, hooks and CI call. Everything runs in .venv, which is made on first use.
PYTHON ?= python3
BIN := .venv/bin
BCCD ?= BCCD_Dataset/BCCD
CARDS ?= cards
IMAGES ?= data/prepared/images/train
# dvc.yaml says `python`: the one that has the packages.
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help repro test test-fast check ui demo evidence evidence-latency evidence-page bench-budget bench-first-run bench-growth bench-precision bench-saturation bench-searching bench-steps bench-speed bench-start bench-targets torture

help: ## what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-20s %s\n", $$1, $$2 }' Makefile

repro: .venv/ready ## the whole pipeline on the dataset that params.yaml names
	$(BIN)/dvc repro

test: .venv/ready ## the whole test suite
	$(BIN)/pytest -n auto --dist loadfile

test-fast: .venv/ready ## the tests that take seconds: what one touches most
	$(BIN)/pytest -n auto --dist loadfile -m 'not slow'

check: .venv/ready ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

ui: .venv/ready ## the runs, at the address that it prints
	@echo 'http://127.0.0.1:5000/#/experiments/1/runs?viewStateShareKey=shrink&workflowType=machine_learning'
	MLFLOW_DISABLE_TELEMETRY=true $(BIN)/mlflow ui --host 127.0.0.1 --port 5000 --workers 1 \
		--backend-store-uri 'sqlite:///$(CURDIR)/mlflow.db'

demo: .venv/ready demo/node_modules ## images, videos and the camera in the browser, on http://127.0.0.1:8000
	$(BIN)/python -m demo.serve

demo/node_modules: demo/package-lock.json # needs node; the browser's onnxruntime
	cd demo && npm ci --ignore-scripts
	touch $@

evidence: .venv/ready ## what is missing or stale of the evidence, most important first: HOURS=8 ends it, ONLY='student@bccd-*' takes a part
	@for data in bccd:$(BCCD) cards:$(CARDS); do \
		test -e benchmarks/evidence/data/$${data%%:*} || test ! -d $${data#*:} || \
			ln -sn "$$(realpath $${data#*:})" benchmarks/evidence/data/$${data%%:*}; done
	$(BIN)/python -m benchmarks.evidence.everything $(if $(HOURS),--hours $(HOURS)) $(if $(ONLY),--only '$(ONLY)')

evidence-latency: .venv/ready ## latencies of the evidence's chains that are there, in five processes each: minutes, idle
	cd benchmarks/evidence && $(CURDIR)/$(BIN)/dvc repro plan && $(CURDIR)/$(BIN)/dvc repro --single-item latency

evidence-page: .venv/ready ## the page of the evidence, from the results that are there
	cd benchmarks/evidence && $(CURDIR)/$(BIN)/dvc repro --single-item page

bench-budget: .venv/ready ## a search within a budget against the default chain, three seeds: an hour on 2 cores; goes on where it stopped
	$(BIN)/python -m benchmarks.budget $(DATA) $(ROOT) $(IMGSZ)

bench-first-run: .venv/ready ## how long the first run takes, and how soon the commands answer: about 20 minutes on 2 cores, all idle
	$(BIN)/python -m benchmarks.first_run

bench-growth: .venv/ready ## costs of more and more images, runs and jobs: about an hour on 2 cores; goes on where it stopped
	$(BIN)/python -m benchmarks.growth

bench-steps: .venv/ready ## time of a step, a training and a sweep: about 40 minutes on 2 cores, all idle
	$(BIN)/python -m benchmarks.steps $(BCCD)

bench-precision: .venv/ready ## accuracy in bfloat16 and in float32, three seeds: about an hour on 2 cores; goes on where it stopped
	$(BIN)/python -m benchmarks.precision $(BCCD)

bench-saturation: .venv/ready ## accuracy of INT8 with the instructions of AVX2 alone, on the models of this checkout: minutes
	$(BIN)/python -m benchmarks.saturation

bench-searching: .venv/ready ## a search with optuna against a grid: about 40 minutes on 2 cores; goes on where it stopped
	$(BIN)/python -m benchmarks.searching

bench-start: .venv/ready ## starts of a student on your data against a plain fine-tuning, three seeds: 22 trainings; goes on where it stopped
	$(BIN)/python -m benchmarks.start $(DATA) $(ROOT) $(IMGSZ) $(TEACHER_WEIGHTS) $(STUDENT_WEIGHTS)

bench-targets: .venv/ready ## every target of src.deploy with every family of students: 20 minutes on 2 cores; DATA=bccd: an hour; goes on where it stopped
	$(BIN)/python -m benchmarks.targets $(if $(filter bccd,$(DATA)),--data bccd --bccd $(BCCD))

torture: .venv/ready ## faults injected into a small project: about an hour on 2 cores; goes on where it stopped
	$(BIN)/python -m benchmarks.reliability

bench-speed: .venv/ready ## INT8 variants of yolov8n, interleaved: about 10 minutes on 4 cores, all idle
	$(BIN)/pip install -q -c constraints.txt -e ".[bench]"
	$(BIN)/python -m benchmarks.speed $(IMAGES)

.venv/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; (3, 11) <= sys.version_info[:2] <= (3, 13) or sys.exit("Python 3.11, 3.12 or 3.13 is needed, this is %d.%d: make $(or $(MAKECMDGOALS),repro) PYTHON=python3.13" % sys.version_info[:2])'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -c constraints.txt -e ".[dev]"
	touch $@
